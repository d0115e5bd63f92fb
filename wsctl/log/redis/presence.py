"""The presence that all nodes share: which client is connected to which node."""

import asyncio
import secrets
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import chain, count, islice
from typing import NamedTuple

from wsctl.log.redis.client import RedisClient, RedisClock
from wsctl.log.redis.records import Unreadable, read_client
from wsctl.log.redis.scripts import PRESENCE, Keys

TOGETHER = 500
"""Clients in one call: Redis, which does nothing else meanwhile, needs less than a few milliseconds for
them."""


class _Connected(NamedTuple):
    """The start of a connection, in this process's seconds, and its number, empty for one that another
    process counted."""

    since: float
    serial: str


class Presence:
    """The clients of this node. Redis is told what has changed since it was told last, however often it
    changed.

    `replaced` is called with the id of a client that has a newer connection elsewhere, and None: all that it
    has here end.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        clock: RedisClock,
        replaced: Callable[[str, int | None], None],
        *,
        unreadable: Unreadable,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._replaced = replaced
        self._clock = clock
        self._unreadable = unreadable
        self._process = secrets.token_hex(3)
        self._serials = count(1)
        self._here: dict[str, _Connected] = {}
        self._changed: dict[str, None] = {}
        self._reporting = False
        self._news = asyncio.Event()

    @property
    def reported(self) -> int:
        """The number of clients that Redis knows to be here, at least; 0 while a change is still to be
        told."""
        return 0 if self._changed or self._reporting else len(self._here)

    def joined(self, client_id: str) -> None:
        """Note a new connection of this id, which replaces an older one."""
        self._here[client_id] = _Connected(self._clock.here(), f"{self._process}.{next(self._serials)}")
        self.look_at(client_id)

    def left(self, client_id: str) -> None:
        """Note that the connection of this id has ended."""
        self._here.pop(client_id, None)
        self.look_at(client_id)

    def look_at(self, client_id: str) -> None:
        """Tell Redis of this client (again), and learn whether a newer connection is elsewhere."""
        self._changed[client_id] = None
        self._news.set()

    def again(self) -> None:
        """Tell Redis of all clients again: it may have forgotten them."""
        for client_id in self._here:
            self.look_at(client_id)

    def only(self, ids: Container[str]) -> None:
        """Note that every client but these has left."""
        for client_id in [name for name in self._here if name not in ids]:
            self.left(client_id)

    def adopt(self, ids: Iterable[str]) -> None:
        """Take over clients that Redis knows already."""
        since = self._clock.here()
        self._here |= {client_id: _Connected(since, "") for client_id in ids}

    async def everywhere(self, nodes: Iterable[str]) -> dict[str, list[tuple[str, float]]]:
        """Return the clients of these nodes, and for how many seconds each is connected, the one connected
        longest first.

        Raises:
            Away: Redis did not tell.
        """
        found = {}
        for node in nodes:
            answer = await self._redis.ask("HGETALL", self._keys.at(node))
            rows = answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
            found[node] = sorted(self._read_clients(rows), key=lambda client: -client[1])
        return found

    def _read_clients(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, float]]:
        now = self._clock.at(self._clock.here())
        for name, value in rows:
            try:
                client_id, since = read_client(name, value)
            except ValueError as error:
                self._unreadable.note("client", repr(name), str(error))
            else:
                yield client_id, round(max(0.0, now - since / 1000), 3)

    async def run(self) -> None:
        """Tell Redis of changes, until cancelled.

        Raises:
            Away: Redis did not take them.
        """
        await self._sweep()
        while True:
            while self._changed:
                await self._report(list(islice(self._changed, TOGETHER)))
            self._news.clear()
            await self._news.wait()

    async def _sweep(self) -> None:
        """Look at clients that only Redis knows: a predecessor may not have told that they left."""
        at = self._keys.at(self._keys.node)
        for raw in await self._redis.ask("HKEYS", at):
            try:
                name = raw.decode()
            except UnicodeDecodeError as error:
                self._unreadable.note("client", repr(raw), str(error))
                await self._redis.ask("HDEL", at, raw)
            else:
                if name not in self._here:
                    self.look_at(name)

    async def _report(self, ids: list[str]) -> None:
        reported = {name: self._here.get(name) for name in ids}
        for name in ids:
            del self._changed[name]
        self._reporting = True
        try:
            replaced = await self._redis.run(PRESENCE, [self._keys.log], *self._arguments(reported))
        except BaseException:
            self._changed = dict.fromkeys(ids) | self._changed
            raise
        finally:
            self._reporting = False
        for name in map(bytes.decode, replaced):
            # A client that has come back meanwhile is newer than the one that Redis answered about.
            if self._here.get(name) == reported[name]:
                self._replaced(name, None)

    def _arguments(self, reported: dict[str, _Connected | None]) -> list[object]:
        # The time and not the age: a call may wait, and then a client would seem younger than a later one.
        came = [
            (name, int(self._clock.at(client.since) * 1000), client.serial)
            for name, client in reported.items()
            if client
        ]
        went = [name for name, client in reported.items() if not client]
        return [self._keys.base, self._keys.node, len(came), *chain.from_iterable(came), *went]
