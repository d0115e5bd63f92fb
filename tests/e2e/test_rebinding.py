"""A page whose name points to this machine gets nothing from a server on loopback."""

import json
import socket
import sys
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.e2e.ways import Way, embedded, module
from tests.support.hostile import status_of
from tests.support.raw import RawClient, handshake
from tests.support.server import DEADLINE, ServerProcess

EMBEDDED = (sys.executable, "-m", "uvicorn", "wsctl.main:app")
EVIL = ("Origin: http://evil.example",)
PROXY = "X-Forwarded-For: 192.0.2.7"


def joined(server: ServerProcess, host: str, *lines: str) -> tuple[int, bytes]:
    """The status of a handshake, and the answer's body."""
    with RawClient(server.port) as peer:
        peer.send(handshake("/ws/bob", *lines, host=host))
        head = peer.read_head()
        return status_of(head), b"" if b" 101 " in head else peer.read_to_end()


def asked(server: ServerProcess, path: str, host: str, **headers: str) -> int:
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.http("GET", path, headers={"host": host, **more})[0]


@pytest.mark.parametrize("way", [module, embedded])
def test_a_foreign_name_is_refused_and_told_of_the_flag(start_server: StartServer, way: Way) -> None:
    server = way(start_server, "--allow-host", "chat.example")
    for host in ("evil.example", f"evil.example:{server.port}"):
        status, body = joined(server, host, f"Origin: http://{host}")
        error = json.loads(body)["error"]
        assert (status, error["code"]) == (403, "host_not_allowed")
        assert "--allow-host evil.example" in error["message"]
        for path in ("/health", "/", "/metrics", "/api/status", "/wsctl.js", "/nowhere"):
            assert asked(server, path, host) == 403
        for path in ("/health/live", "/health/ready"):
            assert asked(server, path, host) == 200
    server.wait_for_line("refused reason=host_not_allowed address=127.0.0.1 count=1$")


@pytest.mark.parametrize("way", [module, embedded])
def test_nothing_else_changes(start_server: StartServer, way: Way) -> None:
    server = way(start_server, "--allow-host", "chat.example")
    own = [f"{name}:{server.port}" for name in ("localhost", "127.0.0.1", "[::1]", "app.localhost")]
    for host in (*own, "localhost", "192.0.2.1", "chat.example", "chat.example:443"):
        assert joined(server, host)[0] == 101, host
        assert joined(server, host, f"Origin: http://{host}")[0] == 101, host
        assert asked(server, "/health", host) == 200
    # A proxy on the same machine passes on the name that it was asked for.
    assert joined(server, "evil.example", PROXY)[0] == 101
    assert asked(server, "/health", "evil.example", x_forwarded_for="192.0.2.7") == 200


def test_a_proxy_that_is_not_trusted_changes_nothing(start_server: StartServer) -> None:
    server = start_server("--no-proxy-headers")
    assert joined(server, "evil.example", PROXY)[0] == 403
    assert asked(server, "/health", "evil.example", x_forwarded_for="127.0.0.1") == 403


@pytest.mark.parametrize("way", [module, embedded])
def test_beyond_loopback_there_is_no_rule(start_server: StartServer, way: Way) -> None:
    if way is module:
        server = start_server("--host", "0.0.0.0", "--allow-host", "ours.example")
        server.wait_for_line("WARNING --allow-host has no effect")
    else:
        server = start_server(
            command=(*EMBEDDED, "--host", "0.0.0.0", "--port", "0"), serving=r"running on (\S+)"
        )
    assert joined(server, "chat.example")[0] == 101
    assert asked(server, "/health", "chat.example") == 200


def test_nor_on_a_unix_socket(start_server: StartServer, runtime_dir: Path) -> None:
    path = str(runtime_dir / "public")
    start_server("--uds", path)
    for say, status in (
        (handshake("/ws/bob", host="chat.example"), b" 101 "),
        (b"GET /health HTTP/1.1\r\nHost: chat.example\r\n\r\n", b" 200 "),
    ):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(DEADLINE)
            peer.connect(path)
            peer.sendall(say)
            assert status in peer.recv(65536).split(b"\r\n")[0]


def test_workers_hold_to_it_too(start_server: StartServer) -> None:
    server = start_server("--workers", "2")
    assert joined(server, "evil.example", *EVIL)[0] == 403
    assert joined(server, "localhost")[0] == 101
