"""Connections that are no clients: they end by themselves, harm only themselves, and shut out nobody."""

import contextlib
import json
import re
import resource
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.conftest import StartServer
from tests.e2e.ways import Way, embedded, module
from tests.support.hostile import status_of
from tests.support.raw import RawClient, handshake
from tests.support.server import DEADLINE, ServerProcess, wsctl
from wsctl.server.http.deadlines import BODY_TIMEOUT

TOKEN = {"WSCTL_TOKEN": "s3cret"}
HEAD = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n"


def hung_up(peers: list[RawClient], deadline: float) -> None:
    """Wait until the server has ended all of them; nothing is read."""
    poll = select.poll()
    left = {peer.socket.fileno() for peer in peers}
    for fd in left:
        poll.register(fd, select.POLLRDHUP)
    until = time.monotonic() + deadline
    while left:
        assert time.monotonic() < until, f"{len(left)} connections are still open"
        for fd, _ in poll.poll(100):
            poll.unregister(fd)
            left.discard(fd)


def no_traceback(server: ServerProcess) -> None:
    assert server.stop() == 0
    assert server.faults == []


# Deadlines


def answered_then_silent(peer: RawClient) -> None:
    peer.send(f"{HEAD}Content-Length: 1000000\r\n\r\n".encode())
    assert status_of(peer.read_head()) == 200
    peer.send(b"x")


def answered_in_the_middle_and_ended(peer: RawClient) -> None:
    peer.send(f"{HEAD}Content-Length: 2\r\n\r\n".encode())
    assert status_of(peer.read_head()) == 200
    peer.send(b"xx")


def pipelined_and_never_read(peer: RawClient) -> None:
    peer.socket.setblocking(False)
    with contextlib.suppress(OSError):
        while True:
            peer.send(b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)


def half_a_second_head(peer: RawClient) -> None:
    peer.send(f"{HEAD}\r\n".encode())
    assert status_of(peer.read_head()) == 200
    peer.send(b"GET / HT")


def a_body_of_an_operator_that_does_not_come(peer: RawClient) -> None:
    head = "POST /api/broadcast HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"
    peer.send(f"{head}Content-Length: 100\r\n\r\n{{".encode())


HOLDING: list[Callable[[RawClient], None]] = [
    answered_then_silent,
    answered_in_the_middle_and_ended,
    pipelined_and_never_read,
    half_a_second_head,
    a_body_of_an_operator_that_does_not_come,
]


def test_every_state_of_a_connection_ends(start_server: StartServer) -> None:
    server = start_server(env=TOKEN)
    with contextlib.ExitStack() as stack:
        peers = []
        for hold in HOLDING:
            peers.append(stack.enter_context(RawClient(server.port, receive_buffer=4096)))
            hold(peers[-1])
        hung_up(peers, BODY_TIMEOUT + DEADLINE)
        assert b" 408 " in peers[-1].read_to_end()
    no_traceback(server)


# Room


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))


@contextlib.contextmanager
def crowd(port: int, size: int, say: bytes) -> Iterator[list[RawClient]]:
    """So many who say something and no more."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(RawClient(port)) for _ in range(size)]
        for peer in peers:
            with contextlib.suppress(OSError):
                peer.send(say)
        yield peers


@pytest.mark.parametrize(
    "say",
    [b"", b"GET / HT", f"{HEAD}Content-Length: 100000\r\n\r\nx".encode()],
    ids=["nothing", "half a head", "half a body"],
)
def test_whoever_holds_many_connections_shuts_out_no_client(start_server: StartServer, say: bytes) -> None:
    server = start_server(preexec_fn=few_files)
    with crowd(server.port, 300, say), RawClient(server.port) as bob:
        bob.join("bob")
        assert server.status()["connections"] == 1
        assert wsctl("status", environ=server.environ).returncode == 0
    server.wait_for_line(r"full: the oldest connections .* address=127\.0\.0\.1 count=\d+")
    assert len(server.lines) < 20
    no_traceback(server)


def test_a_request_in_hand_is_not_given_up_for_a_crowd(start_server: StartServer) -> None:
    server = start_server(env=TOKEN, preexec_fn=few_files)
    with RawClient(server.port) as operator:
        head = "POST /api/broadcast HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer s3cret\r\n"
        operator.send(f"{head}Content-Length: 11\r\n\r\n{{".encode())
        with crowd(server.port, 300, b""):
            server.wait_for_line("full: the oldest connections")
            operator.send(b'"data": 1}')
            assert status_of(operator.read_head()) == 200
    no_traceback(server)


def test_so_it_is_before_tls(start_server: StartServer, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    server = start_server("--ssl-certfile", cert, "--ssl-keyfile", key, preexec_fn=few_files)
    trusting = ssl.create_default_context(cafile=cert)
    with crowd(server.port, 300, b""):
        assert server.status()["connections"] == 0
        assert wsctl("status", environ=server.environ).returncode == 0
        with (
            socket.create_connection(("127.0.0.1", server.port), DEADLINE) as plain,
            trusting.wrap_socket(plain, server_hostname="127.0.0.1") as bob,
        ):
            bob.sendall(handshake("/ws/bob"))
            assert b" 101 " in bob.recv(65536)
            assert server.status()["connections"] == 1
    server.wait_for_line(r"full: the oldest connections")
    no_traceback(server)


def test_so_it_is_behind_tls(start_server: StartServer, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    server = start_server("--ssl-certfile", cert, "--ssl-keyfile", key, preexec_fn=few_files)
    trusting = ssl.create_default_context(cafile=cert)
    with contextlib.ExitStack() as held:
        for _ in range(300):  # none of which says goodbye to TLS
            plain = held.enter_context(socket.create_connection(("127.0.0.1", server.port), DEADLINE))
            bob = held.enter_context(trusting.wrap_socket(plain, server_hostname="127.0.0.1"))
        bob.sendall(handshake("/ws/bob"))
        assert b" 101 " in bob.recv(65536)
        assert wsctl("status", environ=server.environ).returncode == 0
    no_traceback(server)


def test_a_tls_handshake_has_a_deadline_and_leaves_nothing(
    start_server: StartServer, certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    server = start_server("--ssl-certfile", cert, "--ssl-keyfile", key)
    held = descriptors(server.pid)
    with crowd(server.port, 20, b"") as silent, crowd(server.port, 20, b"no TLS at all\r\n\r\n") as others:
        hung_up([*silent, *others], DEADLINE)
    until = time.monotonic() + DEADLINE
    while descriptors(server.pid) > held:
        assert time.monotonic() < until
        select.select([], [], [], 0.05)
    no_traceback(server)


def descriptors(pid: int) -> int:
    folder = Path(f"/proc/{pid}/fd")
    return len(list(folder.iterdir())) if folder.exists() else 0


# What is refused


def test_bad_requests_are_told_once_a_second_and_answered_once(start_server: StartServer) -> None:
    server = start_server()
    bad = f"{HEAD}Transfer-Encoding: chunked\r\n\r\nZZ\r\n".encode()
    began = time.monotonic()
    for _ in range(100):
        with RawClient(server.port) as peer:
            peer.send(bad)
            assert peer.read_to_end().count(b"HTTP/1.1 4") == 1
    server.wait_for_line(r"refused reason=bad_request address=127\.0\.0\.1 count=\d+")
    until = time.monotonic() + DEADLINE
    while sum(told := counts(server, "bad_request")) < 100:
        assert time.monotonic() < until
        select.select([], [], [], 0.05)
    assert len(told) <= time.monotonic() - began + 2
    no_traceback(server)
    assert len(server.lines) < len(told) + 10


def counts(server: ServerProcess, reason: str) -> list[int]:
    """What the log's lines of a reason count."""
    found = (re.search(f"reason={reason} .*count=([0-9]+)", line) for line in list(server.lines))
    return [int(each[1]) for each in found if each]


def test_refused_clients_leave_a_line_a_reason(start_server: StartServer) -> None:
    flags = ("--auth", "token", "--max-connections", "1")
    server = start_server(*flags, env=TOKEN | {"WSCTL_CLIENT_TOKEN": "cl1ent"})
    good = "Authorization: Bearer cl1ent"
    with RawClient(server.port) as bob:
        bob.send(handshake("/ws/bob", good))
        assert status_of(bob.read_head()) == 101
        for n in range(30):
            for head, status in (
                (handshake(f"/ws/a{n}"), 401),
                (handshake(f"/ws/a{n}", good, "Origin: http://evil.example"), 403),
                (handshake(f"/ws/a{n}", good), 503),
            ):
                with RawClient(server.port) as peer:
                    peer.send(head)
                    assert status_of(peer.read_to_end()) == status
        assert server.http("GET", "/api/status", headers={"authorization": "Bearer wr0ng"})[0] == 401
        for line in (
            "refused reason=bad_credentials",
            "refused reason=origin_not_allowed",
            "full: new clients are refused reason=full capacity=1",
            "refused reason=bad_token",
        ):
            server.wait_for_line(f"{line} address=127.0.0.1 count=1$")
        # Each was judged once, on whichever road it came.
        metrics = server.api("GET", "/metrics")[1].decode()
        for reason in ("bad_credentials", "origin_not_allowed", "full"):
            assert f'wsctl_connections_refused_total{{code="{reason}"}} 30.0' in metrics
    assert len([line for line in server.lines if "reason=" in line]) < 30
    no_traceback(server)


def test_a_client_that_comes_back_to_a_full_server_takes_its_own_place(start_server: StartServer) -> None:
    server = start_server("--max-connections", "2")
    with contextlib.ExitStack() as stack:
        dead, ann, again, eve = [stack.enter_context(RawClient(server.port)) for _ in range(4)]
        dead.join("bob")  # and answers nothing from here on
        ann.join("ann")
        again.join("bob")
        status = server.status()
        assert (status["connections"], status["closing"]) == (2, 0)
        assert b"replaced by a newer connection" in dead.read_to_end()
        eve.send(handshake("/ws/eve"))
        assert status_of(eve.read_to_end()) == 503
    no_traceback(server)


@pytest.mark.parametrize("way", [module, embedded])
def test_an_id_that_takes_long_to_read_is_read_for_clients_alone(start_server: StartServer, way: Way) -> None:
    environ = {"WSCTL_CLIENT_TOKEN": "cl1ent"}
    server = way(lambda *flags, env, **how: start_server(*flags, env=env | environ, **how), "--auth", "token")
    marks = quote("a" + "\u0300\u0316" * 250)
    with RawClient(server.port) as peer:
        peer.send(handshake(f"/ws/{marks}"))
        assert status_of(peer.read_head()) == 401
    with RawClient(server.port) as peer:
        peer.send(handshake(f"/ws/{marks}", "Authorization: Bearer cl1ent"))
        assert status_of(peer.read_head()) == 400
    with RawClient(server.port) as peer:
        peer.send(handshake(f"/ws/{marks}{quote(chr(0x300) * 20)}"))
        assert status_of(peer.read_head()) == 400


def test_behind_a_refused_head_no_more_is_read_than_behind_an_answer(start_server: StartServer) -> None:
    server = start_server()
    for head in (handshake("/elsewhere"), b"no request\r\n\r\n"):
        with RawClient(server.port) as peer:
            peer.send(head)
            assert status_of(peer.read_head()) in (400, 404)
            # What the kernel takes for a server that reads nothing is a few mebibytes.
            assert taken(peer) < 16 << 20
    no_traceback(server)


def taken(peer: RawClient) -> int:
    """Bytes that are taken until the connection is ended."""
    sent = 0
    with contextlib.suppress(ConnectionError):
        while sent < 1 << 30:
            sent += peer.socket.send(bytes(1 << 20))
    return sent


def test_the_head_that_was_refused_is_an_error_for_programs(start_server: StartServer) -> None:
    server = start_server()
    with RawClient(server.port) as peer:
        peer.send(handshake("/ws/-x"))
        body = peer.read_to_end().partition(b"\r\n\r\n")[2]
    assert json.loads(body)["error"]["code"] == "bad_client_id"
    no_traceback(server)
