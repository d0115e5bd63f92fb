"""A server's control API in the test's own process, whose upgrade goes as a test says."""

import contextlib
import json
import socket
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer, ThreadingMixIn
from typing import Any

from tests.support.server import DEADLINE
from wsctl.process.registry import ServerRecord, announced, control_socket

Upgrade = dict[str, Any]

URL = "http://127.0.0.1:8000"
"""The address that announced fakes claim."""

FACTS: dict[str, Any] = {
    "status": "serving",
    "connections": 0,
    "uptime_s": 1.0,
    "version": "0.1.0",
    "capacity": 1000,
    "closing": 0,
    "newest_id": "1-0",
    "messages": {},
    "rates": {},
    "drain": None,
    "upgrade": None,
}


class FakeControl(ThreadingMixIn, TCPServer):
    """Answers on a listening socket.

    Attributes:
        facts: what the status tells.
        course: how an upgrade goes: what beginning it answers, then what each look at the status tells
            of it. Behind that it ends: with `end`, or where there is none the server vanishes.
        refusal: how beginning it, or a broadcast, is answered instead: a status and a message.
        code: of that refusal.
        absent: the body for a route that it does not have.
        hangs_up: nobody's question for the end is answered.
        awaited: the end must be asked before the beginning.
        asked: the end was asked.
    """

    def __init__(self, listening: socket.socket, **facts: Any) -> None:
        super().__init__(("", 0), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening
        self.facts = FACTS | facts
        self.course: Iterable[Upgrade | None] = ()
        self.end: Upgrade | None = None
        self.refusal: tuple[int, str] | None = None
        self.code = "some"
        self.absent: Any = {}
        self.hangs_up = False
        self.awaited = True
        self.asked = threading.Event()
        self._ended = threading.Event()
        self._steps: Iterator[Upgrade | None] = iter(())
        self._connections: list[socket.socket] = []

    @contextmanager
    def answering(self) -> Iterator["FakeControl"]:
        thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self.shutdown()
            thread.join(DEADLINE)
            self._ended.set()
            self.vanish()
            self.server_close()

    def vanish(self) -> None:
        """End without a word to anybody."""
        for sock in (self.socket, *self._connections):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def conclude(self) -> None:
        """Tell the end to whoever waits for it."""
        self._ended.set()

    def answer(self, request: str) -> tuple[int, Any] | None:
        """A status and a body, or nothing at all."""
        match request:
            case "GET /api/status" | "GET /api/status?clients=true":
                return self._status()
            case "POST /api/upgrade":
                return self._begin()
            case "POST /api/broadcast":
                return self._refused() if self.refusal else (200, {"id": "1-0", "recipients": 0})
            case "GET /api/upgrade":
                return self._wait()
        return 404, self.absent

    def _status(self) -> tuple[int, Any] | None:
        if self.course:
            try:
                self.facts["upgrade"] = next(self._steps)
            except StopIteration:
                self.conclude()
                if self.end is None:
                    self.vanish()
                    return None
        return 200, self.facts

    def _begin(self) -> tuple[int, Any]:
        if self.awaited:
            assert self.asked.wait(DEADLINE), "the end was not asked first"
        if self.refusal:
            return self._refused()
        self._steps = iter(self.course)
        self.facts["upgrade"] = next(self._steps)
        return 202, {"upgrade": self.facts["upgrade"]}

    def _refused(self) -> tuple[int, Any]:
        assert self.refusal
        status, message = self.refusal
        return status, {"error": {"code": self.code, "message": message}}

    def _wait(self) -> tuple[int, Any] | None:
        self.asked.set()
        if self.hangs_up:
            return None
        self._ended.wait(DEADLINE)
        return (200, {"upgrade": self.end}) if self.end else None

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.append(request)
        super().process_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked has hung up."""


class _Handler(BaseHTTPRequestHandler):
    server: FakeControl

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", "0")))
        answer = self.server.answer(f"{self.command} {self.path}")
        if answer is None:
            return
        status, facts = answer
        body = json.dumps(facts).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def fake_at_a_url(**facts: Any) -> Iterator[tuple[FakeControl, str]]:
    """One that is reached by its URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        with FakeControl(sock, pid=1, generation=1, **facts).answering() as fake:
            yield fake, url


@contextmanager
def announced_fake(
    folder: Path, pid: int, generation: int = 1, url: str = URL, **facts: Any
) -> Iterator[FakeControl]:
    """One that the commands find by its record, until it is left."""
    with ExitStack() as stack:
        sock = stack.enter_context(control_socket(folder, pid))
        sock.listen()
        path = str(sock.getsockname())
        fake = FakeControl(sock, pid=pid, generation=generation, **facts)
        stack.enter_context(fake.answering())
        record = ServerRecord(pid, url, None, path, float(pid), generation=generation)
        stack.enter_context(announced(record))
        yield fake
