"""Nodes and wires for tests, on transports whose events are given by hand."""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from tests.support.frames import read
from tests.support.transport import HandTransport
from wsctl.frame import CLOSE, Encoding
from wsctl.hub.replays import Replays, Resuming
from wsctl.server.credentials.permissions import Claimed
from wsctl.server.event_stream.stream import KEEPALIVE, EventStream
from wsctl.server.node import Node
from wsctl.server.websocket.hooks import Hooks
from wsctl.server.websocket.wire import Wire
from wsctl.settings import Rate, Settings

ANSWER = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"

STREAM_ANSWER = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class AtOnce(Replays):
    """Every connection has its turn whenever its socket takes something."""

    def __init__(self, history_bytes: int, clock: Callable[[], float]) -> None:
        super().__init__(history_bytes, clock, lambda call: None, lambda wait, call: None)

    def want(self, who: Resuming) -> None:
        who.feed()


class Server:
    """A node whose clock is moved by hand, and its connections. To be made on a running loop."""

    def __init__(
        self, hooks: Hooks | None = None, *, wall: Callable[[], float] = time.time, **options: Any
    ) -> None:
        self.now = 1000.0
        settings = Settings(**({"rate": Rate(0, 1)} | options))
        self.node = node = Node(settings, [], lambda: self.now, hooks=hooks, wall=wall)
        replays = AtOnce(node.settings.history_bytes, lambda: self.now)
        self.services = node.services = replace(node.services, replays=replays)
        node.acceptor_services = replace(node.acceptor_services, connections=self.services)
        self.transports: list[HandTransport] = []
        self._own_observers = self._count_observers()

    @property
    def observers(self) -> int:
        """How many are told of connections that come and go, beside the server's own parts."""
        return self._count_observers() - self._own_observers

    def _count_observers(self) -> int:
        manager = self.node.manager
        return len(manager.joined) + len(manager.left) + len(manager.subscribed)

    def join(
        self,
        name: str,
        *,
        since: str | None = None,
        early: bytes = b"",
        deflate: bool = False,
        keepalive: int = 0,
        topics: Sequence[str] = (),
        commands: bool = False,
        claimed: Claimed | None = None,
        **transport: Any,
    ) -> tuple[Wire, HandTransport]:
        made = HandTransport(**transport)
        self.transports.append(made)
        wire = Wire(self.services, made, name, "192.0.2.1:5", Encoding(deflate))
        wire.keepalive, wire.commands = keepalive, commands
        wire.subscriptions = dict.fromkeys(topics, False)
        self.services.permissions.set(wire, claimed)
        wire.begin(ANSWER, since, early)
        return wire, made

    def join_stream(
        self,
        name: str,
        *,
        since: str | None = None,
        early: bytes = b"",
        encoding: Encoding = Encoding.EVENTS,
        topics: Sequence[str] = (),
        **transport: Any,
    ) -> tuple[EventStream, HandTransport]:
        made = HandTransport(**transport)
        self.transports.append(made)
        stream = EventStream(self.services, made, name, "192.0.2.1:5", encoding)
        stream.keepalive = KEEPALIVE
        stream.subscriptions = dict.fromkeys(topics, False)
        stream.begin(STREAM_ANSWER, since, early)
        return stream, made

    def publish(self, data: object, to: tuple[str, ...] | None = None, topic: str | None = None) -> None:
        self.node.log.append("server", data, to, topic=topic)

    def later(self, seconds: float) -> None:
        """So much later, with the look once a second that the node takes."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(self.now + 1, until)
            self.node.manager.check(self.now)

    def dispose(self) -> None:
        """Close the sockets."""
        for transport in self.transports:
            transport.dispose()


MakeServer = Callable[..., Server]


@contextmanager
def servers() -> Iterator[MakeServer]:
    """Make servers whose sockets are closed at the end."""
    with ExitStack() as stack:

        def make(**options: Any) -> Server:
            server = Server(**options)
            stack.callback(server.dispose)
            return server

        yield make


async def turn() -> None:
    """Let what was called soon run."""
    for _ in range(3):
        await asyncio.sleep(0)


def frames(received: bytes) -> tuple[list[Frame], bytes]:
    """The frames after the 101, and what is left of an unfinished one."""
    assert received.startswith(ANSWER)
    rest, found = received[len(ANSWER) :], []
    while rest:
        stream = StreamReader()
        stream.feed_data(rest)
        parser = Frame.parse(
            stream.read_exact, mask=False, extensions=[PerMessageDeflate(True, True, 12, 15)]
        )
        try:
            next(parser)
        except StopIteration as done:
            found.append(done.value)
            rest = bytes(stream.buffer)
        else:
            break
    return found, rest


def data_of(found: list[Frame]) -> list[Any]:
    """The data of the messages among them, the first frame being the welcome."""
    decoded = [read(bytes(f.data)) for f in found if f.opcode is Opcode.TEXT]
    assert decoded[0]["type"] == "welcome"
    return [f["data"] for f in decoded[1:] if f["type"] == "message"]


def close_of(found: list[Frame]) -> tuple[int, str]:
    """Code and reason of the close frame that is the last one."""
    assert found[-1].opcode is Opcode.CLOSE, found
    return int.from_bytes(found[-1].data[:2]), bytes(found[-1].data[2:]).decode()


def client(opcode: int, payload: bytes = b"") -> bytes:
    """A frame as clients send it."""
    return Frame(Opcode(opcode), payload).serialize(mask=True)


def closing(code: int = 1000, reason: str = "") -> bytes:
    """A client's close frame."""
    return client(CLOSE, code.to_bytes(2) + reason.encode())
