"""The HTTP routes from outside: who may do what, and how a no looks."""

import os
import stat
from contextlib import ExitStack

import pytest

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.raw import RawClient
from tests.support.server import ServerProcess
from tests.support.store import wait_until

CONTROL = [
    ("GET", "/api/status"),
    ("POST", "/api/broadcast"),
    ("POST", "/api/drain"),
    ("DELETE", "/api/drain"),
    ("GET", "/api/drain"),
]


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_without_a_token_control_is_for_the_control_socket_alone(
    server: ServerProcess, method: str, path: str
) -> None:
    status, answer = server.http(method, path, headers=bearer("guess"))
    assert (status, answer["error"]["code"]) == (403, "control_only")


@pytest.mark.parametrize(("method", "path"), CONTROL)
def test_with_a_token_control_is_for_who_has_it(start_server: StartServer, method: str, path: str) -> None:
    server = start_server(env={"WSCTL_TOKEN": "s3cret"})
    for headers in ({}, bearer("wrong"), bearer("s3cre\u00e9"), {"authorization": "Basic s3cret"}):
        status, answer = server.http(method, path, headers=headers)
        assert (status, answer["error"]["code"]) == (401, "bad_token")
    if (method, path) == ("GET", "/api/drain"):
        return  # it would wait for one
    status, _ = server.http(method, path, {"data": 1} if "broadcast" in path else None, bearer("s3cret"))
    assert status in (200, 409)
    assert not [line for line in server.lines if "s3cret" in line]


def test_the_control_socket_is_for_its_owner_alone(server: ServerProcess) -> None:
    folder = server.environ["WSCTL_RUNTIME_DIR"]
    assert stat.S_IMODE(_mode(folder)) == 0o700
    assert stat.S_IMODE(_mode(f"{folder}/{server.pid}.sock")) == 0o600


def _mode(path: str) -> int:

    return os.stat(path).st_mode


@pytest.mark.anyio
async def test_a_broadcast_reaches_everyone_or_its_addressees(start_server: StartServer) -> None:
    server = start_server()
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    status, answer = server.api("POST", "/api/broadcast", {"data": {"n": [1, None, "\u00fc"]}})
    assert (status, answer["recipients"]) == (200, 2)
    for client in (bob, eve):
        frame = await receive_type(client, "message")
        assert (frame["id"], frame["from"], frame["data"]) == (
            answer["id"],
            "server",
            {"n": [1, None, "\u00fc"]},
        )
        assert "to" not in frame

    status, answer = server.api("POST", "/api/broadcast", {"data": "psst", "to": ["eve", "eve", "nobody"]})
    assert (status, answer["recipients"]) == (200, 1)
    frame = await receive_type(eve, "message")
    assert (frame["data"], frame["to"]) == ("psst", ["eve"])
    server.api("POST", "/api/broadcast", {"data": "last"})
    assert (await receive_type(bob, "message"))["data"] == "last"
    await bob.close()
    await eve.close()


def test_what_is_not_there_is_said_in_json(server: ServerProcess) -> None:
    for method, path, expected in (
        ("GET", "/nowhere", 404),
        ("DELETE", "/health", 405),
        ("GET", "/ws/bob", 426),
        ("GET", "/api/status?clients=perhaps", 403),
    ):
        status, answer = server.http(method, path)
        assert status == expected
        assert set(answer["error"]) == {"code", "message"}
        if status == 426:
            assert answer["error"]["message"].endswith(" over plain HTTP at /events/bob")
    status, answer = server.api("GET", "/api/status?clients=perhaps")
    assert (status, answer["error"]["code"]) == (400, "bad_request")


def test_everyone_may_see_the_page_the_documentation_and_the_health(server: ServerProcess) -> None:
    assert _page(server, "/").lstrip().startswith(b"<!doctype html>")
    assert b"/api/broadcast" in _page(server, "/docs")
    status, schema = server.http("GET", "/openapi.json")
    assert status == 200
    assert {"/health", "/api/broadcast", "/api/drain", "/api/status"} <= set(schema["paths"])
    status, health = server.http("GET", "/health")
    assert (status, set(health)) == (200, {"status", "connections", "uptime_s", "version", "degraded"})


def _page(server: ServerProcess, path: str) -> bytes:
    status, body = server.http("GET", path)
    assert status == 200
    return bytes(body)


@pytest.mark.anyio
async def test_status_has_the_facts_of_the_clients(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    facts = server.status()
    assert (facts["status"], facts["connections"], facts["pid"], facts["drain"]) == (
        "serving",
        1,
        server.pid,
        None,
    )
    assert [(c["client_id"], c["waiting_bytes"]) for c in facts["clients"]] == [("bob", 0)]
    assert "clients" not in server.api("GET", "/api/status")[1]
    await bob.close()


def test_status_tells_how_many_tasks_the_process_has(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_TOKEN": "secret"})
    before = server.status()["tasks"]
    head = b"POST /api/drain HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Authorization: Bearer secret\r\nContent-Length: 9\r\n\r\n"
    with ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(RawClient(server.port)).send(head)
        wait_until(lambda: server.status()["tasks"] == before + 5, lambda: str(server.status()))
    wait_until(lambda: server.status()["tasks"] == before, lambda: str(server.status()))
