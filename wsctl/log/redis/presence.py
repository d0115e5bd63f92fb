"""The presence that all nodes share: which client is connected to which node."""

import asyncio
import secrets
from collections.abc import Callable, Container, Iterable
from itertools import chain, count, islice
from typing import NamedTuple

from wsctl.log.redis.keys import Keys
from wsctl.log.redis.scripts import PRESENCE
from wsctl.log.redis.store import Store
from wsctl.log.redis.unreadable import Unreadable

TOGETHER = 500
"""Clients in one call: Redis, which does nothing else meanwhile, needs less than a few milliseconds for
them."""


class _Stay(NamedTuple):
    """The start of a connection, in this process's seconds, and its number, empty for one that another
    process counted."""

    since: float
    serial: str


class Presence:
    """The clients of this node. Redis is told what has changed since it was told last, however often it
    changed.

    `replaced` is called with the id of a client that has a newer connection elsewhere; `offset` returns the
    seconds to add to `clock` for Redis's clock.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        replaced: Callable[[str], None],
        *,
        clock: Callable[[], float],
        offset: Callable[[], float],
        unreadable: Unreadable,
    ) -> None:
        self._store = store
        self._keys = keys
        self._replaced = replaced
        self._clock = clock
        self._offset = offset
        self._unreadable = unreadable
        self._process = secrets.token_hex(3)
        self._serials = count(1)
        self._here: dict[str, _Stay] = {}
        self._changed: dict[str, None] = {}
        self._telling = False
        self._news = asyncio.Event()

    @property
    def told(self) -> int:
        """The number of clients that Redis knows to be here, at least; 0 while a change is still to be
        told."""
        return 0 if self._changed or self._telling else len(self._here)

    def joined(self, client_id: str) -> None:
        """Note a new connection of this id, which replaces an older one."""
        self._here[client_id] = _Stay(self._clock(), f"{self._process}.{next(self._serials)}")
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

    def inherit(self, ids: Iterable[str]) -> None:
        """Take over clients that Redis knows already."""
        since = self._clock()
        self._here |= {client_id: _Stay(since, "") for client_id in ids}

    async def run(self) -> None:
        """Tell Redis of changes, until cancelled.

        Raises:
            Away: Redis did not take them.
        """
        await self._sweep()
        while True:
            while self._changed:
                await self._tell(list(islice(self._changed, TOGETHER)))
            self._news.clear()
            await self._news.wait()

    async def _sweep(self) -> None:
        """Look at clients that only Redis knows: a predecessor may not have told that they left."""
        at = self._keys.at(self._keys.node)
        for written in await self._store.ask("HKEYS", at):
            try:
                name = written.decode()
            except UnicodeDecodeError as error:
                self._unreadable.note("client", repr(written), str(error))
                await self._store.ask("HDEL", at, written)
            else:
                if name not in self._here:
                    self.look_at(name)

    async def _tell(self, ids: list[str]) -> None:
        told = {name: self._here.get(name) for name in ids}
        for name in ids:
            del self._changed[name]
        self._telling = True
        try:
            replaced = await self._store.run(PRESENCE, [self._keys.log], *self._arguments(told))
        except BaseException:
            self._changed = dict.fromkeys(ids) | self._changed
            raise
        finally:
            self._telling = False
        for name in map(bytes.decode, replaced):
            # A client that has come back meanwhile is newer than the one that Redis answered about.
            if self._here.get(name) == told[name]:
                self._replaced(name)

    def _arguments(self, told: dict[str, _Stay | None]) -> list[object]:
        # The time and not the age: a call may wait, and then a client would seem younger than a later one.
        offset = self._offset()
        came = [(name, int((stay.since + offset) * 1000), stay.serial) for name, stay in told.items() if stay]
        went = [name for name, stay in told.items() if not stay]
        return [self._keys.base, self._keys.node, len(came), *chain.from_iterable(came), *went]
