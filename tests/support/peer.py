"""One process, or one node of several, without its server: a log, its home, and what they are told."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from tests.support.entries import as_message
from tests.support.server import DEADLINE
from wsctl.log.history import Entry
from wsctl.log.home import Refusal, RemoteConnection
from wsctl.log.message_log import MessageLog
from wsctl.log.redis.client import RedisClient
from wsctl.log.redis.session import create_session
from wsctl.messages import Message
from wsctl.topics import matches

_serials = itertools.count(1 << 50)
"""Of connections: unique over all processes, and as large as they get."""

_prefixes = (f"t{n}" for n in itertools.count())


def new_prefix() -> str:
    """One that no other test of this process has."""
    return next(_prefixes)


class Speaker:
    """A process with a log whose home is its memory. Its clients are `clients`; a broadcast goes to all of
    them, a direct message to those it names.

    Attributes:
        told: the data of each message that was delivered, and "away", "back" or "lost", in order.
        got: each message that was delivered.
        receipts, refusals: of what was published here, by data.
    """

    def __init__(self, *, history: int = 100, history_bytes: int = 1 << 20, ttl: float = 0.0) -> None:
        self.told: list[Any] = []
        self.got: list[Message] = []
        self.clients: set[str] = set()
        self.receipts: dict[Any, tuple[str, int]] = {}
        self.refusals: dict[Any, Refusal] = {}
        self.reasons: list[str] = []
        self.log = MessageLog(self._deliver, history, history_bytes, ttl=ttl)
        self.log.observers.append(self)
        self._news = asyncio.Event()

    def say(self, data: Any, to: tuple[str, ...] | None = None, topic: str | None = None) -> None:
        def receipt(message_id: str, count: int) -> None:
            assert data not in self.receipts
            assert self.got[-1].id == message_id
            self.receipts[data] = message_id, count
            self._news.set()

        def refused(why: Refusal) -> None:
            assert data not in self.receipts
            assert data not in self.refusals
            self.refusals[data] = why
            self._news.set()

        self.log.append("x", data, to, receipt, refused=refused, topic=topic)

    async def until(self, seen: Callable[[], object]) -> None:
        """Wait until it is so. Raises `TimeoutError`."""
        async with asyncio.timeout(DEADLINE):
            while not seen():
                self._news.clear()
                await self._news.wait()

    async def hears(self, *what: Any) -> None:
        """Wait until it was told all this."""
        await self.until(lambda: all(one in self.told for one in what))

    async def read(self, count: int) -> list[Any]:
        """Wait for so many messages; the data of all there are."""
        await self.until(lambda: len(self.got) >= count)
        return [message.data for message in self.got]

    async def until_true(self, seen: Callable[[], object]) -> None:
        """Look until it is so, whatever it is that nobody tells this process."""
        async with asyncio.timeout(DEADLINE):
            while not seen():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def settle(self) -> None:
        """Wait until all it has said has a receipt or was refused."""
        await self.until(lambda: not self.log._pending)

    # An observer of the log's home

    def cut_off(self, why: str) -> None:
        self.reasons.append(why)
        self._tell("away")

    def back(self, recovered: bool) -> None:
        self._tell("back" if recovered else "lost")

    def _tell(self, what: Any) -> None:
        self.told.append(what)
        self._news.set()

    def _deliver(self, entry: Entry) -> int:
        assert self.log.history.since(entry.id) == [], "it is kept, or was, and is the newest"
        message = as_message(entry)
        self.got.append(message)
        self._tell(message.data)
        return len(self.clients if entry.to is None else self.clients & set(entry.to))


class Subscriptions:
    """The connections of other processes that subscribe to topics, as a home tells of them.

    Attributes:
        of: each connection's client and patterns, by its holder and its serial number.
    """

    def __init__(self) -> None:
        self.of: dict[tuple[str, int], tuple[str, tuple[str, ...]]] = {}

    def learn(
        self, holder: str, rows: Iterable[RemoteConnection], gone: Iterable[int] = (), *, whole: bool = False
    ) -> None:
        there = list(rows)
        kept = {serial for _, serial, _ in there}
        ended = {at for at in self.of if whole and at[0] == holder and at[1] not in kept}
        for at in ended | {(holder, serial) for serial in gone}:
            self.of.pop(at, None)
        self.of |= {(holder, serial): (name, tuple(patterns)) for name, serial, patterns in there}

    def lose(self, holder: str) -> None:
        self.learn(holder, (), whole=True)

    def count(self, topic: str, to: Iterable[str] | None = None) -> int:
        named = None if to is None else set(to)
        return sum(named is None or name in named for name in self.names(topic))

    def names(self, topic: str) -> list[str]:
        """The clients that subscribe to a topic, once for each connection."""
        of = self.of.values()
        return sorted(name for name, patterns in of if any(matches(each, topic) for each in patterns))


class Peer(Speaker):
    """One node of several, whose session has this as its owner.

    Attributes:
        told: beside the rest, ("replaced", id), and ("turn", before) where that changed.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        history: int = 100,
        history_bytes: int = 1 << 20,
        clock: Callable[[], float] = time.monotonic,
        ttl: float = 0.0,
        per_id: int = 1,
    ) -> None:
        super().__init__(history=history, history_bytes=history_bytes, ttl=ttl)
        self._per_id = per_id
        self.elsewhere = Subscriptions()
        self.connections: dict[str, list[int]] = {}
        parts = RedisClient(url, None), prefix, self.log, self, self.elsewhere
        self.session = create_session(*parts, per_id=per_id, clock=clock)
        self.log.move_to(self.session)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Peer"]:
        await self.session.begin()
        try:
            yield self
        finally:
            await self.session.end()

    def join(self, *clients: str, patterns: Sequence[str] = ()) -> None:
        """They connect, once more if they are connected: with `per_id` 1 in place of their older
        connection."""
        for name in clients:
            if self._per_id == 1 and name in self.clients:
                self.leave(name)
            self.clients.add(name)
            self.connections.setdefault(name, []).append(next(_serials))
            self.session.joined(name, self.connections[name][-1], patterns)

    def subscribe(self, name: str, *patterns: str) -> None:
        """The newest connection of a client subscribes to these patterns, and no others."""
        self.session.subscribed(name, self.connections[name][-1], patterns)

    def leave(self, *clients: str) -> None:
        """Their oldest connections end."""
        for name in clients:
            self._end(name, self.connections[name][0])

    def _end(self, name: str, serial: int) -> None:
        self.connections[name].remove(serial)
        if not self.connections[name]:
            del self.connections[name]
            self.clients.remove(name)
        self.session.left(name, serial)

    async def until_seen(self, message_id: str) -> None:
        """Wait until it has read the log as far as this entry."""
        await self.until_true(lambda: self.session._tail.seen == message_id)

    async def knows(self, node: str, *clients: str) -> None:
        """Wait until Redis says that just these are connected to a node."""
        async with asyncio.timeout(DEADLINE):
            while await self._known_at(node) != set(clients):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def _known_at(self, node: str) -> set[str]:
        found = await self.session.presence.everywhere(self.session.lease.peers)
        return {name for name, _ in found.get(node, [])}

    # The owner of the session

    def about(self) -> dict[str, Any]:
        where = {"host": "h", "pid": 1, "url": None, "version": "0", "generation": 1, "phase": "serving"}
        return where | {"connections": len(self.clients), "started": 1.0}

    def replaced(self, client_id: str, serial: int | None) -> None:
        assert serial is not None
        self._tell(("replaced", client_id))
        if serial in self.connections.get(client_id, ()):
            self._end(client_id, serial)

    def disconnect(self, client_id: str, code: int, reason: str) -> None:
        raise AssertionError("no operator disconnects anybody here")

    def turn(self, before: int) -> None:
        turns = [one for one in self.told if isinstance(one, tuple) and one[0] == "turn"]
        if turns[-1:] != [("turn", before)]:
            self._tell(("turn", before))
