"""What holds for the requests of every route, on every road to a server."""

import asyncio
import http.client
import json
import os
import re
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.conftest import StartServer, environ_of
from tests.e2e.ways import TOKEN, Way, embedded, module
from tests.support.clients import join
from tests.support.raw import RawClient, handshake
from tests.support.server import DEADLINE, ServerProcess


def has_version_6() -> bool:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            return False
    return True


needs_version_6 = pytest.mark.skipif(not has_version_6(), reason="the machine has no address of version 6")

BEARER = {"authorization": f"Bearer {TOKEN}"}

ROUTES = {
    "/": "GET",
    "/wsctl.js": "GET",
    "/wsctl.d.ts": "GET",
    "/health": "GET",
    "/health/live": "GET",
    "/health/ready": "GET",
    "/docs": "GET",
    "/openapi.json": "GET",
    "/asyncapi.json": "GET",
    "/metrics": "GET",
    "/api/status": "GET",
    "/api/broadcast": "POST",
    "/api/drain": "DELETE, GET, POST",
    "/api/upgrade": "GET, POST",
    "/api/clients/bob": "DELETE",
    "/api/history": "GET",
    "/ws/bob": "GET",
}
"""Methods of each route, beside those that come with them."""

WAITING = ("/api/drain", "/api/upgrade")
"""Their GET waits for an end, and so does their HEAD."""

OF_THE_PARENT = (
    "/metrics",
    "/api/status",
    "/api/broadcast",
    "/api/drain",
    "/api/upgrade",
    "/api/clients/bob",
    "/api/history",
)
"""What the commands ask of a parent of workers."""

Answer = tuple[int, Mapping[str, str], bytes]


def workers(start: StartServer, *flags: str) -> ServerProcess:
    return module(start, "--workers", "2", *flags)


@pytest.fixture(scope="module", params=[module, embedded, workers])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server for the tests that only ask what there is."""
    way: Way = request.param
    with TemporaryDirectory(prefix="ws") as folder:

        def start(*flags: str, env: Mapping[str, str], **how: Any) -> ServerProcess:
            return ServerProcess.start(*flags, environ=environ_of(Path(folder)) | env, **how)

        started = way(start)
        try:
            yield started
        finally:
            started.kill()


def to_port(server: ServerProcess) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)


def to_control(server: ServerProcess) -> http.client.HTTPConnection:
    connection = http.client.HTTPConnection("localhost", timeout=DEADLINE)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(DEADLINE)
    connection.sock.connect(os.path.join(server.environ["WSCTL_RUNTIME_DIR"], f"{server.pid}.sock"))
    return connection


def ask(connection: http.client.HTTPConnection, method: str, target: str) -> Answer:
    """Status, headers and body, up to the end of the connection: a HEAD with a body shows."""
    sock = connection.sock
    if sock is None:
        connection.connect()
        sock = connection.sock
    lines = [
        f"{method} {target} HTTP/1.1",
        "host: 127.0.0.1",
        "connection: close",
        *map(": ".join, BEARER.items()),
    ]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    data = b"".join(iter(lambda: sock.recv(65536), b""))
    connection.close()
    head, _, body = data.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in rest)}
    return int(first.split(" ")[1]), headers, body


def allowed(methods: str) -> set[str]:
    return {*methods.split(", "), "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())


def check(server: ServerProcess, connect: object, path: str) -> None:
    assert callable(connect)
    methods = allowed(ROUTES[path])
    status, headers, body = ask(connect(server), "OPTIONS", path)
    assert (status, body) == (204, b""), path
    assert set(headers["allow"].split(", ")) == methods
    wrong = "PATCH" if "GET" in methods else "GET"
    for method in (wrong, "TRACE", *(["HEAD"] if "HEAD" not in methods else [])):
        status, headers, body = ask(connect(server), method, path)
        assert status == 405, (method, path)
        assert set(headers["allow"].split(", ")) == methods
        assert (b"method_not_allowed" in body) == (method != "HEAD")
    if "GET" in methods and path not in WAITING:
        status, headers, body = ask(connect(server), "GET", path)
        of_head = ask(connect(server), "HEAD", path)
        assert of_head[0] == status
        assert of_head[2] == b""
        assert body
        assert of_head[1]["content-type"] == headers["content-type"]
        assert int(of_head[1]["content-length"]) > 0


def test_every_get_has_its_head_and_every_route_says_what_is_allowed(server: ServerProcess) -> None:
    for path in ROUTES:
        check(server, to_port, path)
    assert ask(to_port(server), "HEAD", "/nothing")[0::2] == (404, b"")
    assert ask(to_port(server), "OPTIONS", "/nothing")[0] == 404
    status, headers, _ = ask(to_port(server), "OPTIONS", "*")
    assert (status, headers["allow"]) == (204, "DELETE, GET, HEAD, OPTIONS, POST")


@pytest.mark.parametrize("server", [module, workers], indirect=True)
def test_so_it_is_on_the_control_socket(server: ServerProcess, request: pytest.FixtureRequest) -> None:
    for path in OF_THE_PARENT if request.node.callspec.params["server"] is workers else ROUTES:
        check(server, to_control, path)
    assert ask(to_control(server), "HEAD", "/nothing")[0::2] == (404, b"")
    assert ask(to_control(server), "OPTIONS", "*")[1]["allow"] == "DELETE, GET, HEAD, OPTIONS, POST"
    assert ask(to_control(server), "GET", "http://localhost/api/status")[0] == 200


@pytest.mark.parametrize("way", [module, embedded])
@pytest.mark.parametrize("root", ["", "/live"])
def test_an_absolute_target_is_that_of_its_path_and_host(
    start_server: StartServer, way: Way, root: str
) -> None:
    flags = ("--allow-host", "elsewhere.example", *(("--root-path", root) if root else ()))
    server = way(start_server, *flags)
    for target, status in (
        ("http://127.0.0.1/health", 200),
        ("HTTP://127.0.0.1:1234/health", 200),
        ("https://elsewhere.example/health?x=http://y/", 200),
        ("http://127.0.0.1", 200),
        ("http://127.0.0.1/nothing", 404),
        ("http://127.0.0.1/ws/bob", 426),
    ):
        assert ask(to_port(server), "GET", target)[0] == status, target
    for target in ("http://127.0.0.1", "*"):
        assert ask(to_port(server), "OPTIONS", target)[0] == 204
    for target in ("http:///health", "http://user@127.0.0.1/health", "http://"):
        assert ask(to_port(server), "GET", target)[0] in (400, 404), target
    host = b"elsewhere.example"
    asyncapi = ask(to_port(server), "GET", "http://elsewhere.example/asyncapi.json")[2]
    assert host in asyncapi
    # The host of a handshake's target is the one that an origin is compared with.
    for target, origin, status in (
        ("http://elsewhere.example/ws/bob", "http://elsewhere.example", b"101"),
        ("http://elsewhere.example/ws/bob?since=1-0", "https://elsewhere.example", b"101"),
        ("http://elsewhere.example/ws/bob", "http://127.0.0.1", b"403"),
        ("http://elsewhere.example/ws/a/b", "http://elsewhere.example", b"404"),
    ):
        whole = handshake(target, f"Origin: {origin}")
        for pieces in ([whole], [whole[:30], whole[30:]]):
            with RawClient(server.port) as client:
                for piece in pieces:
                    client.send(piece)
                assert client.read_head().split(b" ")[1].startswith(status), (target, origin)
    assert not [line for line in server.lines if "Traceback" in line]


@needs_version_6
@pytest.mark.anyio
@pytest.mark.parametrize("way", [module, embedded])
async def test_addresses_of_version_6_stand_in_brackets_wherever_they_are_shown(
    start_server: StartServer, way: Way
) -> None:
    if way is module:
        server = way(start_server, "--host", "::1", "--access-log")
    else:
        command = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0", "--host", "::1")
        server = start_server(command=command, env={"WSCTL_TOKEN": TOKEN}, serving=r"running on (\S+)")
    assert server.url == f"http://[::1]:{server.port}"
    client = http.client.HTTPConnection("::1", server.port, timeout=DEADLINE)
    assert (await asyncio.to_thread(ask, client, "GET", "/health"))[0] == 200
    forwarded = {"x-forwarded-for": "[2001:db8::1]:443"}
    async with (
        await join(server.ws_url, "bob"),
        await join(server.ws_url, "eve", additional_headers=forwarded),
    ):
        asked = "GET /health" if way is module else "WebSocket /ws/bob"  # the rest is on stdout there
        server.wait_for_line(rf'\[::1\]:\d+ - .?"{asked}')
        server.wait_for_line(r"connected client_id=bob address=\[::1\]:\d+")
        server.wait_for_line(r"connected client_id=eve address=\[2001:db8::1\]:443")
        client = http.client.HTTPConnection("::1", server.port, timeout=DEADLINE)
        status = json.loads((await asyncio.to_thread(ask, client, "GET", "/api/status?clients=true"))[2])
        addresses = {facts["client_id"]: facts["address"] for facts in status["clients"]}
        assert addresses["eve"] == "[2001:db8::1]:443"
        assert re.fullmatch(r"\[::1\]:\d+", addresses["bob"])
