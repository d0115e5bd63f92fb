"""Stress runs for tests: a report, and a server without sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from wsctl.client.events import Closed, Event, Opened, Received
from wsctl.client.session import NotConnected
from wsctl.stress.report import StressReport
from wsctl.stress.timing import Quantiles

COUNTS = (
    "missed",
    "duplicated",
    "out_of_order",
    "not_subscribed",
    "unconfirmed",
    "reconnects",
    "resumed",
    "unrecovered",
    "degraded",
    "planned",
    "replayed",
    "failures",
)
"""What is 0 in a clean run."""


def report(**facts: Any) -> StressReport:
    """A clean run of two clients, except for `facts`."""
    clean: dict[str, Any] = {
        "clients": 2,
        "connected": 2,
        "servers": {"http://a": 2},
        "duration_s": 1.0,
        "sent": 10,
        "delivered": 20,
        "delivered_per_s": 20.0,
        "expected": 20,
        "latency": Quantiles(0.001, 0.002, 0.003, 0.004),
        "silence_s": 0.1,
        "lag_s": 0.0,
    }
    none = dict.fromkeys(COUNTS, 0) | {name: {} for name in ("close_codes", "refused", "errors")}
    return StressReport(**(clean | none | facts))


class Hub:
    """Sessions in one process: what one sends, all get.

    Attributes:
        servers: on which of them each session is, in turn.
        deliver: called with a session and a frame; the default hands it over at once.
        sent: who sent, in order.
        subscribers: the names of those of each topic.
    """

    def __init__(self, *servers: str) -> None:
        self.servers = servers or ("http://a",)
        self.sessions: dict[str, FakeSession] = {}
        self.sent: list[str] = []
        self.subscribers: dict[str, set[str]] = {}
        self.deliver: Callable[[FakeSession, dict[str, Any]], None] = lambda s, frame: s.tell(Received(frame))

    def session(self, name: str) -> "FakeSession":
        """A session which opens as soon as it is asked for events."""
        server = self.servers[len(self.sessions) % len(self.servers)]
        self.sessions[name] = FakeSession(self, name, server)
        return self.sessions[name]

    def publish(self, sender: str, text: str, topic: str | None = None) -> None:
        self.sent.append(sender)
        for session in self.sessions.values():
            frame = {"type": "message", "id": f"{len(self.sent)}-0", "from": sender, "data": text}
            if topic is None or session.name in self.subscribers[topic]:
                self.deliver(session, frame if topic is None else frame | {"topic": topic})


class FakeSession:
    """One client.

    Attributes:
        server: the one that it is on.
        first: what happens to it at the start.
        connected: whether it can send.
        closed: whether it was closed.
        idle: set once what happened at the start was taken.
    """

    def __init__(self, hub: Hub, name: str, server: str) -> None:
        self.name = name
        self.server = server
        self.first: Event | Exception = Opened({}, server=server)
        self.connected = True
        self.closed = False
        self.idle = asyncio.Event()
        self._hub = hub
        self._queue: asyncio.Queue[Event | Exception | None] = asyncio.Queue()

    def tell(self, event: Event | Exception | None) -> None:
        self._queue.put_nowait(event)

    async def events(self) -> AsyncIterator[Event]:
        event: Event | Exception | None = self.first
        while event is not None:
            if isinstance(event, Exception):
                raise event
            yield event
            self.idle.set()
            event = await self._queue.get()

    async def send(self, text: str) -> None:
        if not self.connected:
            raise NotConnected("there is no connection")
        self._hub.publish(self.name, text)

    async def post(self, kind: str, ref: str | None = None, **fields: Any) -> None:
        if not self.connected:
            raise NotConnected("there is no connection")
        assert kind == "publish"
        self._hub.publish(self.name, fields["data"], fields["topic"])
        self.tell(Received({"type": "ok", "ref": ref, "id": f"{len(self._hub.sent)}-0"}))

    async def close(self) -> None:
        self.closed = True
        self.tell(Closed(1000, ""))
        self.tell(None)
