"""The control API's client, against answers of every kind."""

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.fake_control import fake_at_a_url
from tests.support.server import DEADLINE, ServerProcess
from tests.support.status import DRAIN, FACTS
from wsctl.client.control import (
    ConflictError,
    Control,
    DegradedError,
    UnconfirmedError,
    drain_progress,
    handover_progress,
    read_status,
)
from wsctl.client.target import Target
from wsctl.drain.phases import Phase
from wsctl.drain.progress import ConnectedClient, HandoverState
from wsctl.errors import HungUp, Refused, Silent, Unreachable, UsageError, WsctlError

Answering = Callable[[int, bytes], str]

PROGRESS = DRAIN | {
    "reason": "requested",
    "cancellable": True,
    "elapsed_s": 1.5,
    "remaining_s": 28.5,
    "eta_s": 3.5,
    "longest": [{"client_id": "bob", "connected_s": 4.5, "waiting_bytes": 6}],
}


@pytest.fixture
def answering() -> Iterator[Answering]:
    """Start an HTTP server that gives every request one answer; returns its URL."""
    with ExitStack() as stack:

        def start(status: int, body: bytes) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    self.send_response(status)
                    self.send_header("content-length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

                def log_message(self, *_: object) -> None:
                    pass

            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(thread.join, DEADLINE)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}"

        yield start


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock


def _url(sock: socket.socket, scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{sock.getsockname()[1]}"


def _error(message: str) -> bytes:
    return json.dumps({"error": {"code": "some", "message": message}}).encode()


def _local(server: ServerProcess) -> Control:
    path = Path(server.environ["WSCTL_RUNTIME_DIR"]) / f"{server.pid}.sock"
    return Control(Target(server.url, control=str(path)))


def test_a_server_of_this_machine_is_asked_through_its_control_socket(start_server: StartServer) -> None:
    server = start_server()
    control = _local(server)
    assert control.name == server.url
    facts = control.status()
    assert (facts["status"], facts["connections"], facts["pid"]) == ("serving", 0, server.pid)
    assert "clients" not in facts
    assert control.status(clients=True)["clients"] == []
    sent = control.broadcast({"any": ["json", None]}, ["bob"])
    assert sent == {"id": control.status()["newest_id"], "recipients": 0}


def test_a_server_elsewhere_is_asked_at_its_url_with_the_token(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_TOKEN": "right"})
    assert Control(Target(server.url, token="right")).status()["pid"] == server.pid
    with pytest.raises(Refused, match="has another token than WSCTL_TOKEN"):
        Control(Target(server.url, token="wrong")).status()
    with pytest.raises(Refused, match="wants its token: set WSCTL_TOKEN_FILE"):
        Control(Target(server.url)).status()


def test_a_server_without_a_token_is_not_commanded_at_its_url(start_server: StartServer) -> None:
    with pytest.raises(Refused, match=r"has no token: start it with WSCTL_TOKEN_FILE"):
        Control(Target(start_server().url, token="any")).drain()


def test_a_drain_of_nobody_has_ended_at_once(start_server: StartServer) -> None:
    server = start_server()
    assert _local(server).drain(5)["drain"]["phase"] == "stopped"
    assert server.wait() == 0


def test_cancelling_no_drain_is_a_conflict_in_the_servers_words(start_server: StartServer) -> None:
    control = _local(start_server())
    with pytest.raises(ConflictError, match="there is no drain to cancel"):
        control.cancel()


def test_a_message_too_big_is_refused_however_big(start_server: StartServer) -> None:
    control = _local(start_server())
    for size in (70_000, 5_000_000):
        with pytest.raises(UsageError, match=r"may have \d+ bytes"):
            control.broadcast("x" * size)


def test_a_name_that_is_not_the_servers_is_told_with_the_flag(answering: Answering) -> None:
    text = "me.example is no name of this server: --allow-host me.example lets it in"
    url = answering(403, json.dumps({"error": {"code": "host_not_allowed", "message": text}}).encode())
    with pytest.raises(Refused, match=r"refuses: .*--allow-host me.example") as error:
        Control(Target(url)).status()
    assert error.value.exit_code == 6


def test_a_degraded_server_that_publishes_nothing_is_an_error_to_try_again(answering: Answering) -> None:
    url = answering(503, json.dumps({"error": {"code": "degraded", "message": "Redis is away"}}).encode())
    with pytest.raises(
        DegradedError, match="degraded and did not publish it: Redis is away; try again"
    ) as error:
        Control(Target(url)).status()
    assert error.value.exit_code == 1


def test_a_server_that_does_not_know_whether_it_published_is_told_from_one_that_did_not(
    answering: Answering,
) -> None:
    url = answering(504, json.dumps({"error": {"code": "unconfirmed", "message": "it may be"}}).encode())
    with pytest.raises(UnconfirmedError, match="does not know whether it was published: it may be") as error:
        Control(Target(url)).status()
    assert error.value.exit_code == 1


@pytest.mark.parametrize(
    ("status", "kind", "exit_code"),
    [
        (400, UsageError, 2),
        (413, UsageError, 2),
        (401, Refused, 6),
        (403, Refused, 6),
        (503, Refused, 6),
        (409, ConflictError, 1),
        (500, WsctlError, 1),
        (404, Unreachable, 5),
    ],
)
def test_an_error_answer_becomes_the_right_exit_code(
    answering: Answering, status: int, kind: type[WsctlError], exit_code: int
) -> None:
    with pytest.raises(kind) as error:
        Control(Target(answering(status, _error("not so")))).status()
    assert type(error.value) is kind
    assert error.value.exit_code == exit_code


def test_without_a_token_it_is_told_what_works_where_the_server_runs_and_under_uvicorn(
    answering: Answering,
) -> None:
    with pytest.raises(
        Refused, match=r"WSCTL_TOKEN_FILE.* without --url, and under plain uvicorn not at all"
    ):
        Control(Target(answering(403, _error("control only")))).status()


@pytest.mark.parametrize("status", [400, 409, 413, 500, 503])
def test_the_servers_words_are_repeated(answering: Answering, status: int) -> None:
    with pytest.raises(WsctlError, match="not so"):
        Control(Target(answering(status, _error("not so")))).status()


def test_the_servers_words_cannot_move_the_cursor(answering: Answering) -> None:
    with pytest.raises(ConflictError) as error:
        Control(Target(answering(409, _error("\x1b[2J" + "x" * 10_000)))).status()
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 400


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b"[1]"),
        (200, b'{"status": "ok"}'),
        (200, b"\xff"),
        (200, b"[" * 100_000),
        (401, b"Unauthorized"),
        (404, b'{"detail": "Not Found"}'),
        (502, b"<html>"),
        (503, b'{"error": "busy"}'),
    ],
)
def test_what_is_no_wsctl_server_is_unreachable(answering: Answering, status: int, body: bytes) -> None:
    with pytest.raises(Unreachable, match=f"is no wsctl server: it answered {status}"):
        Control(Target(answering(status, body))).status()


def test_a_port_where_nothing_listens_is_unreachable(listener: socket.socket) -> None:
    url = _url(listener)
    listener.close()
    with pytest.raises(Unreachable, match="nothing listens at"):
        Control(Target(url)).status()


def test_a_server_that_does_not_answer_is_not_waited_for(listener: socket.socket) -> None:
    with pytest.raises(Unreachable, match="did not answer in time"):
        Control(Target(_url(listener)), patience=0.05).status()


def test_who_waits_for_long_is_told_before_the_answer_comes(listener: socket.socket) -> None:
    told: list[str] = []
    answering = _answer_once(
        listener, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", after=(said := threading.Event())
    )

    def waiting(text: str) -> None:
        told.append(text)
        said.set()

    with pytest.raises(Unreachable, match="is no wsctl server"):
        Control(Target(_url(listener)), waiting=waiting).status()
    answering.join(DEADLINE)
    assert told == [f"{_url(listener)} has not answered yet: waiting"]


def test_a_server_of_this_machine_that_hangs_is_named(listener: socket.socket, runtime_dir: Path) -> None:
    path = runtime_dir / f"{os.getpid()}.sock"
    with socket.socket(socket.AF_UNIX) as control:
        control.bind(str(path))
        control.listen()
        target = Target("http://127.0.0.1:1", control=str(path))
        with pytest.raises(Silent, match=rf"pid {os.getpid()}\) does not answer: it hangs"):
            Control(target, patience=0.05).status()


def _answer_once(
    listener: socket.socket, answer: bytes, after: threading.Event | None = None
) -> threading.Thread:
    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            if after:
                after.wait(DEADLINE)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("scheme", "answer", "text"),
    [
        ("http", b"SSH-2.0-OpenSSH\r\n", "does not speak HTTP"),
        ("http", b"", "hung up without an answer"),
        ("http", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", "hung up amid its answer"),
        ("https", b"HTTP/1.1 400 Bad Request\r\n\r\n", r"no TLS with .*: is it http://"),
    ],
)
def test_another_protocol_is_named_as_the_trouble(
    listener: socket.socket, scheme: str, answer: bytes, text: str
) -> None:
    thread = _answer_once(listener, answer)
    with pytest.raises(Unreachable, match=text) as raised:
        Control(Target(_url(listener, scheme))).status()
    assert isinstance(raised.value, HungUp) == ("hung up" in text)
    thread.join(DEADLINE)


def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(Unreachable, match=r"http://nowhere\.invalid"):
        Control(Target("http://nowhere.invalid")).status()


def test_a_control_socket_that_has_just_gone_is_unreachable(runtime_dir: Path) -> None:
    with pytest.raises(Unreachable, match="cannot reach http://127"):
        Control(Target("http://127.0.0.1:1", control=str(runtime_dir / "1.sock"))).status()


def _heard(listening: socket.socket, control: Control) -> bytes:
    """What the control sends to a server that hangs up."""
    heard = bytearray()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            heard.extend(connection.recv(65536))

    thread = threading.Thread(target=serve)
    thread.start()
    with pytest.raises(Unreachable):
        control.status()
    thread.join(DEADLINE)
    return bytes(heard)


def test_the_path_of_a_url_goes_in_front(listener: socket.socket) -> None:
    heard = _heard(listener, Control(Target(f"{_url(listener)}/below", token="secret")))
    assert heard.startswith(b"GET /below/api/status HTTP/1.1\r\n")
    assert b"authorization: Bearer secret\r\n" in heard


def test_the_control_socket_is_told_no_secret(runtime_dir: Path) -> None:
    path = str(runtime_dir / "1.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        heard = _heard(sock, Control(Target("http://h/below", control=path, token="secret")))
    assert heard.startswith(b"GET /api/status HTTP/1.1\r\n")
    assert b"secret" not in heard


def test_an_account_of_a_drain_becomes_the_record_it_was_made_from() -> None:
    progress = drain_progress(PROGRESS | {"later_field": 1})
    assert progress.phase is Phase.DRAINING
    assert (progress.active, progress.started_with, progress.oldest) == (2, 3, "bob")
    assert (progress.eta_s, progress.longest) == (3.5, (ConnectedClient("bob", 4.5, 6),))


def test_an_older_servers_drain_lacks_what_came_later_and_is_understood() -> None:
    later = {"handed_over", "eta_s", "longest", "waiting_for"}
    progress = drain_progress({name: value for name, value in PROGRESS.items() if name not in later})
    assert (progress.handed_over, progress.eta_s, progress.longest, progress.waiting_for) == (0, None, (), 0)
    assert drain_progress(PROGRESS | {"waiting_for": 2}).waiting_for == 2


@pytest.mark.parametrize("odd", [{"phase": "dancing"}, {"longest": [{"name": "bob"}]}, {"longest": None}, {}])
def test_an_account_of_another_version_is_said_to_be_one(odd: dict[str, object]) -> None:
    told = PROGRESS | odd
    if not odd:
        told.pop("active")
    with pytest.raises(WsctlError, match="the server runs another version"):
        drain_progress(told)


UPGRADE = {
    "state": "moving",
    "successor": 7,
    "total": 10,
    "moved": 3,
    "staying": 1,
    "elapsed_s": 1.5,
    "silence_s": 0.02,
    "error": None,
}


def test_an_upgrade_is_begun_and_its_end_waited_for() -> None:
    done = UPGRADE | {"state": "done"}
    with fake_at_a_url() as (server, url):
        server.course, server.end, server.awaited = [UPGRADE], done, False
        control = Control(Target(url))
        assert control.upgrade() == {"upgrade": UPGRADE}
        assert control.wait_upgraded(server.conclude) == {"upgrade": done}


def test_an_upgrade_that_cannot_be_is_a_conflict_in_the_servers_words() -> None:
    with fake_at_a_url() as (server, url):
        server.refusal, server.awaited = (409, "this is process 1"), False
        with pytest.raises(ConflictError, match="this is process 1"):
            Control(Target(url)).upgrade()


def test_an_account_of_an_upgrade_becomes_the_record_it_was_made_from() -> None:
    progress = handover_progress(UPGRADE | {"later_field": 1})
    assert progress.state is HandoverState.MOVING
    assert (progress.successor, progress.total, progress.moved, progress.staying) == (7, 10, 3, 1)


@pytest.mark.parametrize("odd", [UPGRADE | {"state": "dancing"}, {"state": "done"}, [], "x"])
def test_an_account_of_an_upgrade_by_another_version_is_said_to_be_one(odd: Any) -> None:
    with pytest.raises(WsctlError, match="the server runs another version"):
        handover_progress(odd)


@pytest.mark.parametrize(
    ("odd", "what"),
    [
        ({"drain": {"phase": "dreaming"}}, "drain"),
        ({"upgrade": {"state": "dancing"}}, "upgrade"),
        ({"redis": "away"}, "status"),
    ],
)
def test_a_status_of_another_version_says_what_cannot_be_shown(odd: Any, what: str) -> None:
    assert read_status(FACTS).connections == FACTS["connections"]
    with pytest.raises(WsctlError, match=f"the server runs another version, whose {what} cannot be shown"):
        read_status(FACTS | odd)
