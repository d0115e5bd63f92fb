"""The connections of all nodes that subscribe to topics: those of this node, as Redis is told of them, and
those of the others, as they tell."""

import asyncio
from collections.abc import Collection, Iterable, Sequence

from wsctl.log.history import MessageId
from wsctl.log.home import Elsewhere, RemoteConnection
from wsctl.log.redis.client import RedisClient, pairs
from wsctl.log.redis.records import (
    Row,
    Unreadable,
    id_of,
    position,
    read_presence,
    read_subscribers,
    subscriber,
)
from wsctl.log.redis.scripts import SUBSCRIBE, SUBSCRIBED, Keys

TOGETHER = 100
"""Connections in one change."""

BYTES_TOGETHER = 64 << 10
"""Bytes of one change, and at least one connection: with `CHANGES` of them, a bound of what Redis keeps."""

START = "0-0"
"""An id before all others."""


class Subscribers:
    """The subscriptions of this node's connections, and those of all other nodes. Only connections that
    subscribe to anything are in it.

    Redis has those of each node, and a stream of the changes. A node reads all when it begins, when Redis is
    there again, and when it has missed a change; else it follows the changes. `elsewhere` is told of the
    other nodes.

    Attributes:
        seen: the id of the newest change that was read.
    """

    def __init__(
        self, redis: RedisClient, keys: Keys, elsewhere: Elsewhere, *, unreadable: Unreadable
    ) -> None:
        self.seen = START
        self._redis = redis
        self._keys = keys
        self._elsewhere = elsewhere
        self._unreadable = unreadable
        self._here: dict[int, RemoteConnection] = {}
        self._changed: dict[int, None] = {}
        self._reporting = False
        self._is_stale = False
        self._read_up_to: dict[str, MessageId] = {}
        self._missing: set[str] = set()
        self._news = asyncio.Event()

    @property
    def reported(self) -> int:
        """The number of connections that Redis knows to be here, at least; 0 while a change is still to be
        told."""
        return 0 if self._changed or self._reporting or self._is_stale else len(self._here)

    # The connections of this node

    def subscribed(self, connection: RemoteConnection) -> None:
        """Note all that a connection subscribes to by now."""
        before = self._here.pop(connection.serial, None)
        if connection.patterns:
            self._here[connection.serial] = connection
        if before != self._here.get(connection.serial):
            self._changed[connection.serial] = None
            self._news.set()

    def left(self, client_id: str, serial: int) -> None:
        """Note that a connection has ended."""
        self.subscribed(RemoteConnection(client_id, serial))

    def adopt(self, here: Iterable[RemoteConnection]) -> None:
        """Take over connections of which Redis knows already; it is told of those that it does not."""
        self._here = {connection.serial: connection for connection in here if connection.patterns}

    def only(self, here: Iterable[RemoteConnection]) -> None:
        """Note that these connections are here, and no others."""
        there = {connection.serial: connection for connection in here}
        for serial in set(self._here) - there.keys():
            self.left(self._here[serial].client_id, serial)
        for connection in there.values():
            self.subscribed(connection)

    # All nodes

    def count(self, topic: str, to: Collection[str] | None) -> int:
        """Return to how many connections of other nodes a message with this topic goes."""
        return self._elsewhere.count(topic, to)

    def again(self) -> None:
        """Read all subscriptions again, and have Redis told what it has forgotten."""
        self._is_stale = True
        self._news.set()

    def tell_again(self) -> None:
        """Tell the others of all connections here: they may have dropped this node."""
        self._changed |= dict.fromkeys(self._here)
        self.again()

    def keep(self, nodes: Collection[str]) -> None:
        """Drop what was told by a node that is none any more: it was not among `nodes` before this either.
        The first time it may be one that has just begun."""
        missing = {node for node in self._read_up_to if node not in nodes}
        for node in missing & self._missing:
            del self._read_up_to[node]
            self._elsewhere.lose(node)
        self._missing = missing

    def take(self, row: Row) -> None:
        """Take a change that a node tells."""
        message_id, before, self.seen = id_of(row), self.seen, row[0].decode()
        try:
            change = read_presence(row)
        except ValueError as error:
            self._unreadable.note("subscriptions", self.seen, str(error))
            return
        if change.behind != before:
            self.again()
        node = change.node
        if node != self._keys.node and self._read_up_to.get(node, (0, 0)) < message_id:
            self._read_up_to[node] = message_id
            self._elsewhere.learn(node, change.there, change.gone)

    async def load(self) -> None:
        """Read the subscriptions of all nodes, and go on behind them.

        Raises:
            Away: Redis did not tell.
        """
        self._is_stale = False
        self.seen = await self._compare()
        await self._read_others()

    async def run(self) -> None:
        """Tell Redis of changes, and read all again where that is needed, until cancelled.

        Raises:
            Away: Redis did not answer.
        """
        while True:
            if self._is_stale:
                self._is_stale = False
                try:
                    newest = await self._compare()
                    # The stream may be another one, by a clock that was set back.
                    self.seen = min(self.seen, newest, key=position)
                    await self._read_others()
                except BaseException:
                    self._is_stale = True
                    raise
            while self._changed:
                await self._report()
            self._news.clear()
            if not self._is_stale:
                await self._news.wait()

    async def _compare(self) -> str:
        """Find what Redis does not know of the connections here; return the id of the newest change."""
        newest, rows = await self._read(self._keys.node)
        known = {connection.serial: connection for connection in rows}
        for serial in known.keys() | self._here.keys():
            if known.get(serial) != self._here.get(serial):
                self._changed[serial] = None
        return newest

    async def _read_others(self) -> None:
        nodes = [name.decode(errors="replace") for name in await self._redis.ask("HKEYS", self._keys.nodes)]
        for node in nodes:
            if node != self._keys.node:
                await self._read_other(node)
        self.keep(nodes)

    async def _read_other(self, node: str) -> None:
        while True:
            before = self._read_up_to.get(node)
            newest, rows = await self._read(node)
            # A change that was taken meanwhile may be later than the answer.
            if self._read_up_to.get(node) == before:
                self._read_up_to[node] = position(newest)
                self._elsewhere.learn(node, rows, whole=True)
                return

    async def _read(self, node: str) -> tuple[str, Sequence[RemoteConnection]]:
        """Return the newest change, and what Redis knows of the connections of a node up to there."""
        words = self._keys.base, self._keys.node, node
        newest, answer = await self._redis.run(SUBSCRIBED, [self._keys.log], *words)
        found: list[RemoteConnection] = []
        for serial, told in pairs(answer):
            try:
                found += read_subscribers([(serial, told)])[0]
            except ValueError as error:
                self._unreadable.note("subscriptions", f"{serial!r} of {node}", str(error))
        return newest.decode(), found

    async def _report(self) -> None:
        told = self._batch()
        for serial in told:
            del self._changed[serial]
        self._reporting = True
        try:
            words = [word for pair in told.items() for word in pair]
            node = self._keys.base, self._keys.node
            await self._redis.run(SUBSCRIBE, [self._keys.log], *node, *words)
        except BaseException:
            self._changed = dict.fromkeys(told) | self._changed
            raise
        finally:
            self._reporting = False

    def _batch(self) -> dict[int, bytes]:
        found: dict[int, bytes] = {}
        size = 0
        for serial in self._changed:
            here = self._here.get(serial)
            told = subscriber(here) if here else b""
            size += len(told)
            if found and (size > BYTES_TOGETHER or len(found) == TOGETHER):
                break
            found[serial] = told
        return found
