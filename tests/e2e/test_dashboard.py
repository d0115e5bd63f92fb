"""The dashboard as a server has it: links, sessions, events."""

import http.client
import json
import re
import tempfile
from collections.abc import Generator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conftest import StartServer, environ_of, running_workers
from tests.support.application import write_application
from tests.support.server import DEADLINE, ServerProcess, ask, wsctl

DASHBOARD = re.compile(r"(http://127\.0\.0\.1:\d+)/dashboard#([\w-]{43})\n")


@pytest.fixture(scope="module")
def server() -> Generator[ServerProcess]:
    """A server with a token and an admin address, which is only asked something."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder:
        environ = environ_of(Path(folder)) | {"WSCTL_TOKEN": "secret"}
        shared = ServerProcess.start("--admin-port", "0", environ=environ)
        try:
            yield shared
        finally:
            shared.kill()


def new_link(server: ServerProcess, *flags: str) -> tuple[str, str]:
    """What the command prints: the address, and what is good once."""
    done = wsctl("dashboard", "--no-browser", *flags, environ=server.environ)
    assert done.returncode == 0, done.stderr
    found = DASHBOARD.fullmatch(done.stdout)
    assert found, done.stdout
    return found[1], found[2]


def request(at: str, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    connection = http.client.HTTPConnection(urlsplit(at).netloc, timeout=DEADLINE)
    return ask(connection, method, path, body, headers)


def opened(at: str, link: str) -> dict[str, str]:
    """The header of a session."""
    code, told = request(at, "POST", "/dashboard/session", {"link": link})
    assert code == 200, told
    return {"authorization": f"Bearer {told['session']}"}


def events(at: str, session: dict[str, str]) -> Generator[dict[str, Any]]:
    """The events as they come; the connection ends with the generator."""
    connection = http.client.HTTPConnection(urlsplit(at).netloc, timeout=DEADLINE)
    with closing(connection):
        connection.request("GET", "/dashboard/events", None, session)
        answer = connection.getresponse()
        assert (answer.status, answer.headers.get_content_type()) == (200, "text/event-stream")
        while kind := answer.readline():
            told = json.loads(answer.readline().removeprefix(b"data: "))
            assert (kind.decode(), answer.readline()) == (f"event: {told['type']}\n", b"\n")
            yield told


def first_events(at: str, session: dict[str, str]) -> dict[str, Any]:
    """The events that come at once, by their types."""
    with closing(events(at, session)) as coming:
        return {told["type"]: told for told in islice(coming, 3)}


def test_a_link_opens_the_dashboard_once(server: ServerProcess) -> None:
    at, link = new_link(server)
    assert at == server.wait_for_line(r"admin address.* url=(\S+)").group(1)
    events = first_events(at, opened(at, link))
    assert events["status"]["status"]["pid"] == server.pid
    assert (events["load"]["interval_s"], events["topics"]["topics"]) == (10.0, [])
    code, told = request(at, "POST", "/dashboard/session", {"link": link})
    assert (code, told["error"]["code"]) == (401, "bad_link")
    server.wait_for_line("refused reason=bad_link")


def test_a_session_does_what_has_a_button_and_nothing_else(server: ServerProcess) -> None:
    at, link = new_link(server)
    session = opened(at, link)
    asked = {
        ("DELETE", "/api/drain"): 409,  # nothing drains
        ("DELETE", "/api/clients/nobody"): 404,
        ("POST", "/dashboard/session"): 200,
        ("GET", "/api/status"): 401,
        ("GET", "/api/topics"): 401,
        ("POST", "/api/broadcast"): 401,
        ("POST", "/api/dashboard"): 401,
    }
    assert {each: request(at, *each, **session)[0] for each in asked} == asked


def test_the_servers_token_opens_it_too_and_nothing_else_does(server: ServerProcess) -> None:
    at, _ = new_link(server)
    code, told = request(at, "POST", "/dashboard/session", authorization="Bearer secret")
    assert code == 200
    assert first_events(at, {"authorization": f"Bearer {told['session']}"})
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer dashboard.link.9.0"}):
        assert request(at, "POST", "/dashboard/session", **headers)[0] == 401
        assert request(at, "GET", "/dashboard/events", **headers)[0] == 401
    assert request(at, "POST", "/dashboard/session", {"link": 7})[0] == 400
    assert request(at, "POST", "/dashboard/session", b"x" * 2000)[0] == 413


def test_nothing_of_it_is_a_cookie_or_for_pages_of_other_origins(server: ServerProcess) -> None:
    at, link = new_link(server)
    connection = http.client.HTTPConnection(urlsplit(at).netloc, timeout=DEADLINE)
    for method, path in (("GET", "/dashboard"), ("POST", "/dashboard/session"), ("OPTIONS", "/api/drain")):
        body = json.dumps({"link": link}) if method == "POST" else None
        connection.request(method, path, body, {"origin": "http://evil.example"})
        answer = connection.getresponse()
        assert answer.read() or method == "OPTIONS"
        assert "set-cookie" not in answer.headers
        assert not [name for name in answer.headers if name.startswith("access-control-")]
    connection.close()


def test_the_address_of_clients_has_no_dashboard_beside_an_admin_address(server: ServerProcess) -> None:
    assert server.http("GET", "/dashboard")[0] == 404
    assert server.http("POST", "/dashboard/session")[0] == 404


def test_a_browser_is_led_by_a_file_of_this_user_alone(server: ServerProcess, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n')
    browser.chmod(0o700)
    done = wsctl("dashboard", environ={**server.environ, "BROWSER": str(browser)})
    link = DASHBOARD.fullmatch(done.stdout)
    assert link
    asked = (tmp_path / "asked").read_text().strip()
    assert asked.startswith("file://")
    assert link[2] not in asked
    file = Path(urlsplit(asked).path)
    assert file.stat().st_mode & 0o777 == 0o600
    assert f'url={link[0].strip()}"' in file.read_text()


def test_where_no_browser_is_found_it_says_so(server: ServerProcess) -> None:
    environ = {
        name: value for name, value in server.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")
    }
    done = wsctl("dashboard", "--json", environ={**environ, "BROWSER": ""})
    assert json.loads(done.stdout)["expires_in_s"] == 120
    assert "no browser was found" in done.stderr


def test_a_session_and_the_load_go_on_in_a_successor_and_the_session_in_a_server_that_comes_later(
    start_server: StartServer,
) -> None:
    server = start_server()
    at, link = new_link(server)
    assert at == server.url
    session = opened(at, link)
    while not (before := server.api("GET", "/api/load")[1]["samples"]):
        next(events(at, session))  # the first sample is taken in the first second
    assert wsctl("upgrade", environ=server.environ).returncode == 0
    after = first_events(at, session)
    assert after["status"]["status"]["generation"] == 2
    assert after["load"]["samples"][: len(before)] == before
    assert wsctl("drain", environ=server.environ).returncode == 0
    later = start_server("--host", "0.0.0.0")
    assert first_events(new_link(later)[0], session)["status"]["status"]["generation"] == 1


def test_workers_are_shown_as_one_server_by_whichever_is_asked() -> None:
    with running_workers(2, token="dashboard") as server:
        at, link = new_link(server)
        session = opened(at, link)
        seen = [first_events(at, session)["status"]["status"] for _ in range(4)]
        assert {facts["pid"] for facts in seen} == {server.pid}
        assert {len(facts["workers"]) for facts in seen} == {2}
        assert request(at, "POST", "/dashboard/session", {"link": link})[0] == 401


def test_an_application_of_ones_own_needs_an_admin_address(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*write_application(tmp_path))
    done = wsctl("dashboard", "--no-browser", environ=server.environ)
    assert done.returncode == 1
    assert "start it with --admin-port" in done.stderr
