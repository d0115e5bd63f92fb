"""A server that takes over from another one, of which a test says what it says."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.support import frames
from tests.support.other_end import OtherEnd
from tests.support.server import DEADLINE
from tests.support.wires import Server
from wsctl import messages
from wsctl.hub.frame import Batch
from wsctl.hub.history import Entry
from wsctl.server.handover.carried import packed
from wsctl.server.handover.departure import Departure
from wsctl.server.handover.successor import Successor

WRITER = "the predecessor's log"


class Takeover:
    """The clients of `old` are to go on in `new`. To be made on a running loop.

    Attributes:
        predecessor: where the old process's words come from.
        heard: what was said through doors.
    """

    def __init__(self, **options: Any) -> None:
        self.old = Server(**({"history": 1000} | options))
        self.new = Server(**({"history": 1000} | options))
        self.log = self.new.node.log
        self.published = 0
        self.heard: asyncio.Queue[bytes] = asyncio.Queue()
        ours, theirs = socket.socketpair()
        self.predecessor = OtherEnd(theirs)
        self.successor = Successor(self.new.node, ours, lambda: _Listener(self.heard))

    async def begin(self, *here: str) -> None:
        """Tell all that the successor must know to give ids, with others there than those of `old`."""
        log = self.old.node.log
        entries = log.history.entries()
        for some in (entries[:1], entries[1:]):
            self.remember(some)
        there = [*self.old.node.manager.active_connections, *here]
        self.predecessor.say("begin", position=log.position, floor=log.history.floor, here=there)
        async with asyncio.timeout(DEADLINE):
            await self.successor.begun.wait()

    def remember(self, entries: Sequence[Entry]) -> None:
        """Tell what was said before."""
        rows = [[*entry.id, entry.to] for entry in entries]
        self.predecessor.say("history", [entry.batch.wire for entry in entries], entries=rows)

    async def depart(self, *names: str) -> list[Departure]:
        """Clients of `old` depart."""
        wires: list[Any] = [self.old.node.manager.active_connections[name] for name in names]
        self.old.node.manager.flush()
        departures: list[Departure] = [wire.depart() for wire in wires]
        for departure in departures:
            await departure.ended
        return departures

    def send(self, departures: Sequence[Departure], replaced: Sequence[str] = ()) -> None:
        """Send on their way who has departed; of some ids a newer connection is there already."""
        rows, blobs = packed([departure.carried for departure in departures])
        fds = [departure.fd for departure in departures]
        self.predecessor.say("move", blobs, fds, rows=rows, at=self.old.now, replaced=list(replaced))

    async def move(self, *names: str) -> dict[str, Any]:
        """Clients of `old` depart and arrive; what the predecessor is told of it."""
        self.send(await self.depart(*names))
        return (await self.predecessor.hear("moved")).fields

    def publish(self, data: object, to: list[str] | None = None, sender: str = "server") -> None:
        """Something is published at the predecessor."""
        self.published += 1
        key = [WRITER, self.published]
        self.predecessor.say("publish", [messages.encode({"data": data})], key=key, sender=sender, to=to)

    async def message(self) -> tuple[Any, int, int | None]:
        """What the predecessor is told next: the data of a message, for how many it is, and which of
        its own, if it is one."""
        parcel = await self.predecessor.hear("message")
        (payload,) = Batch.read(parcel.blobs[0]).payloads
        frame = frames.read(payload)
        key = parcel.fields["key"]
        assert key is None or key[0] == WRITER
        assert parcel.fields["entry"] == [*map(int, frame["id"].split("-")), frame.get("to")]
        return frame["data"], parcel.fields["recipients"], key and key[1]

    def dispose(self) -> None:
        for connection in list(self.new.node.manager.active_connections.values()):
            connection.abort("the test is over")
        self.new.node.manager.abort_closing()
        self.predecessor.dispose()
        self.old.dispose()
        self.new.dispose()


MakeTakeover = Callable[..., Takeover]


@asynccontextmanager
async def takeovers() -> AsyncIterator[MakeTakeover]:
    """Make such pairs, of which nothing is left at the end."""
    made: list[Takeover] = []

    def make(**options: Any) -> Takeover:
        made.append(Takeover(**options))
        return made[-1]

    yield make
    for pair in made:
        pair.dispose()
    for _ in range(5):  # the loop closes sockets a turn later
        await asyncio.sleep(0)


class _Listener(asyncio.Protocol):
    """Takes what is said through a door, once, and closes it."""

    def __init__(self, heard: "asyncio.Queue[bytes]") -> None:
        self._heard = heard
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._heard.put_nowait(data)
        self._transport.close()
