"""The admin address: a listener of its own for probes, scrapers and operators."""

import http.client
import json
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import StartServer
from tests.support.application import write_application
from tests.support.clients import closed, join
from tests.support.generations import Generations
from tests.support.scrapes import Scrape
from tests.support.server import DEADLINE, ServerProcess, ask, wsctl
from wsctl.server.listening.listeners import MAX_ADMIN_CONNECTIONS

pytestmark = pytest.mark.anyio

TOKEN = {"authorization": "Bearer secret"}

AT_BOTH = {"/health": 200, "/health/live": 200, "/health/ready": 200, "/docs": 200, "/openapi.json": 200}
OF_OPERATORS = {"/metrics": 200, "/api/status": 401, "/api/metrics": 401}
OF_CLIENTS = {"/": 200, "/wsctl.js": 200, "/asyncapi.json": 200, "/ws/bob": 426}


def admin_port(server: ServerProcess) -> int:
    return int(server.wait_for_line(r"admin address.* url=\S+:(\d+)").group(1))


def admin(server: ServerProcess, method: str, path: str, headers: dict[str, str] | None = None) -> Any:
    """Status and answer of a request to the admin address."""
    connection = http.client.HTTPConnection("127.0.0.1", admin_port(server), timeout=DEADLINE)
    return ask(connection, method, path, None, headers or {})


def test_commands_find_the_server_by_its_admin_port_and_are_led_there_by_a_url(
    start_server: StartServer,
) -> None:
    server = start_server("--admin-port", "0", env={"WSCTL_TOKEN": "secret"})
    at = admin_port(server)
    for place in (("--port", str(at)), ("--url", f"http://127.0.0.1:{at}")):
        assert (
            json.loads(wsctl("status", "--json", *place, environ=server.environ).stdout)["pid"] == server.pid
        )
    rows = wsctl("status", environ=server.environ).stdout.splitlines()
    assert f"  admin        http://127.0.0.1:{at}" in [row.rstrip() for row in rows]
    led = wsctl("status", "--url", server.url, environ=server.environ)
    assert led.returncode == 5
    assert "if it has --admin-port, name that address" in led.stderr


def test_metrics_and_the_api_move_there_from_the_address_of_clients(start_server: StartServer) -> None:
    server = start_server("--admin-port", "0", env={"WSCTL_TOKEN": "secret"})
    here = AT_BOTH | OF_OPERATORS | dict.fromkeys(OF_CLIENTS, 404)
    there = AT_BOTH | OF_CLIENTS | dict.fromkeys(OF_OPERATORS, 404)
    assert {path: admin(server, "GET", path)[0] for path in here} == here
    assert {path: server.http("GET", path, None, TOKEN)[0] for path in there} == there
    assert admin(server, "GET", "/api/status", TOKEN)[1]["status"] == "serving"
    described = {path for path in admin(server, "GET", "/openapi.json")[1]["paths"] if "health" not in path}
    assert "/metrics" in described
    assert not described & set(server.http("GET", "/openapi.json")[1]["paths"])
    assert server.api("GET", "/api/status")[0] == server.api("GET", "/metrics")[0] == 200  # as ever


def test_without_a_token_probes_and_scrapers_are_answered_and_operators_refused(
    start_server: StartServer,
) -> None:
    server = start_server("--admin-port", "0")
    assert admin(server, "GET", "/metrics")[0] == admin(server, "GET", "/health")[0] == 200
    assert admin(server, "POST", "/api/drain")[1]["error"]["code"] == "control_only"


def test_a_foreign_host_is_refused_whatever_a_proxy_is_said_to_be(start_server: StartServer) -> None:
    server = start_server("--admin-port", "0", "--host", "0.0.0.0")
    foreign = {"host": "evil.example.org", "x-forwarded-for": "192.0.2.1"}
    assert admin(server, "GET", "/metrics", foreign)[1]["error"]["code"] == "host_not_allowed"
    assert admin(server, "GET", "/health/ready", foreign)[0] == 200
    assert server.http("GET", "/health", None, foreign)[0] == 200  # that one is not for this machine alone


async def test_it_has_no_websockets(start_server: StartServer) -> None:
    server = start_server("--admin-port", "0")
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{admin_port(server)}/ws/bob", open_timeout=DEADLINE)
    assert refused.value.response.status_code == 404
    assert b"the one for clients" in refused.value.response.body


async def test_an_application_has_all_paths_but_there(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*write_application(tmp_path), "--admin-port", "0")
    for path in ("/health", "/metrics", "/docs"):
        assert server.http("GET", path) == (200, b"hello")
    client = await connect(f"{server.ws_url}/ws/a", open_timeout=DEADLINE)
    await client.send("hello")
    assert await client.recv() == "heard"
    assert admin(server, "GET", "/health")[1]["connections"] == 1
    assert b'wsctl_application_connections{kind="websocket"} 1.0' in admin(server, "GET", "/metrics")[1]
    server.signal()
    server.wait_for_line("draining")
    assert admin(server, "GET", "/health/ready") == (503, {"status": "draining"})
    await client.close()
    assert server.wait() == 0


class Probe:
    """Asks again and again until it is told to stop, on a connection each or on one that is kept.

    Attributes:
        answers: status, and whether the text had what is `expected`; each once.
    """

    def __init__(self, port: int, path: str, expected: bytes, *, kept: bool) -> None:
        self.answers: list[Any] = []
        self._port, self._path, self._expected, self._kept = port, path, expected, kept
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> list[Any]:
        self._over.set()
        self._thread.join(DEADLINE)
        return self.answers

    def _run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=DEADLINE)
        while not self._over.wait(0.002):
            try:
                connection.request("GET", self._path)
                answer = connection.getresponse()
                found = (answer.status, self._expected in answer.read())
            except (OSError, http.client.HTTPException) as error:
                found = repr(error)
            if found not in self.answers:
                self.answers.append(found)
            if not self._kept:
                connection.close()
        connection.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_probe_fails_while_the_server_is_upgraded(
    start_server: StartServer, tmp_path: Path, workers: int
) -> None:
    first = start_server(*write_application(tmp_path), "--admin-port", "0", "--workers", str(workers))
    server = Generations(first)
    staying = await connect(f"{first.ws_url}/ws/a", open_timeout=DEADLINE)  # holds the old process
    ready = Probe(admin_port(first), "/health/ready", b"status", kept=False)
    scraper = Probe(admin_port(first), "/metrics", b"wsctl_phase", kept=True)
    try:
        if workers == 1:
            assert server.upgrade()["state"] == "done"
        else:
            assert wsctl("upgrade", environ=first.environ).returncode == 0
        assert admin(first, "GET", "/health/ready")[0] == 200
        generation = "wsctl_generation" + ('{worker="1"}' if workers > 1 else "") + " 2.0"
        assert generation.encode() in admin(first, "GET", "/metrics")[1]
    finally:
        seen = [answer for probe in (ready, scraper) for answer in probe.stop()]
        await staying.close()
        server.kill()
    assert set(seen) == {(200, True)}


async def test_any_worker_tells_of_all(start_server: StartServer) -> None:
    server = start_server("--workers", "2", "--admin-port", "0")
    clients = [await join(server.ws_url, f"c{n}") for n in range(4)]
    connection = http.client.HTTPConnection("127.0.0.1", admin_port(server), timeout=DEADLINE)
    headers = {"accept": "application/openmetrics-text"}
    scrape = Scrape(ask(connection, "GET", "/metrics", None, headers)[1].decode())
    assert [scrape("wsctl_worker_up", worker=number) for number in ("1", "2")] == [1, 1]
    assert sum(scrape("wsctl_connections", worker=number) or 0 for number in ("1", "2")) == 4
    assert server.status()["admin"] == f"http://127.0.0.1:{admin_port(server)}"
    server.signal()
    for client in clients:
        await client.close()
        await closed(client)
    assert server.wait() == 0


def test_a_crowd_that_says_nothing_shuts_out_no_probe(start_server: StartServer) -> None:
    server = start_server("--admin-port", "0")
    crowd = [
        socket.create_connection(("127.0.0.1", admin_port(server)), DEADLINE)
        for _ in range(MAX_ADMIN_CONNECTIONS + 5)
    ]
    try:
        assert admin(server, "GET", "/health/ready")[0] == 200
        assert b"503" in crowd[0].recv(4096)  # the oldest had to go
        crowd[-1].sendall(b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert b"200 OK" in crowd[-1].recv(4096)
    finally:
        for sock in crowd:
            sock.close()


def test_port_zero_is_printed_after_the_address_of_clients(environ: dict[str, str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "wsctl", "serve", "--port", "0", "--admin-port", "0"],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        public, at = (process.stdout.readline().strip() for _ in range(2))
        assert public != at
        (record,) = Path(environ["WSCTL_RUNTIME_DIR"]).glob("*.json")
        assert json.loads(record.read_text())["admin"] == at
        connection = http.client.HTTPConnection(at.removeprefix("http://"), timeout=DEADLINE)
        assert ask(connection, "GET", "/metrics", None, {})[0] == 200
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_taken_port_is_told_in_one_line_with_its_flag(environ: dict[str, str], workers: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        flags = ("--port", "0", "--workers", workers, "--admin-port", port)
        ended = wsctl("serve", *flags, environ=environ)
    assert ended.returncode == 3
    assert f"cannot listen on 127.0.0.1 port {port}: " in ended.stderr
    assert "--admin-port 0 picks a free one" in ended.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--admin-port", "http"], "'http' is not a port"),
        (["--admin-host", "0.0.0.0"], "--admin-host needs --admin-port"),
        (["--admin-port", "8010", "--port", "8010"], "--admin-port 8010 is --port too"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_usage_error(
    environ: dict[str, str], flags: list[str], says: str
) -> None:
    ended = wsctl("serve", *flags, environ=environ)
    assert ended.returncode == 2
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr
