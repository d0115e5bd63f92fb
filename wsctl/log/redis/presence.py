"""The presence that all nodes share: which client is connected to which node."""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from wsctl.log.home import RemoteConnection
from wsctl.log.redis.client import RedisClient, RedisClock, pairs
from wsctl.log.redis.records import Unreadable, read_client
from wsctl.log.redis.scripts import INBOX, PRESENCE, Keys

TOGETHER = 500
"""Clients in one call: Redis, which does nothing else meanwhile, needs less than a few milliseconds for
them."""


_Here = dict[int, float | None]
"""The connections of a client by serial number, the oldest first, each with its start in this process's
seconds; None for one that another process had."""


class NodePresence:
    """The clients of this node. Redis is told what has changed since it was told last, however often it
    changed.

    Of each client the newest `per_id` connections to all nodes stay; 0 is any number. `replaced` is called
    with the client's id and the serial number of each connection here that is beyond these.
    """

    def __init__(
        self,
        redis: RedisClient,
        keys: Keys,
        clock: RedisClock,
        replaced: Callable[[str, int | None], None],
        *,
        per_id: int,
        unreadable: Unreadable,
    ) -> None:
        self._redis = redis
        self._keys = keys
        self._replaced = replaced
        self._per_id = per_id
        self._clock = clock
        self._unreadable = unreadable
        self._here: dict[str, _Here] = {}
        self._connections = 0
        self._changed: dict[str, None] = {}
        self._reporting = False
        self._news = asyncio.Event()

    @property
    def reported(self) -> int:
        """The number of clients that Redis knows to be here, at least; 0 while a change is still to be
        told."""
        return 0 if self._changed or self._reporting else len(self._here)

    def joined(self, client_id: str, serial: int) -> None:
        """Note a new connection of this id."""
        self._add(client_id, serial, self._clock.here())

    def left(self, client_id: str, serial: int) -> None:
        """Note that a connection of this id has ended."""
        here = self._here.get(client_id, {})
        if serial in here:
            del here[serial]
            self._connections -= 1
            if not here:
                del self._here[client_id]
            self.look_at(client_id)

    def look_at(self, client_id: str) -> None:
        """Tell Redis of this client (again), and learn whether newer connections are elsewhere."""
        self._changed[client_id] = None
        self._news.set()

    def again(self) -> None:
        """Tell Redis of all clients again: it may have forgotten them."""
        for client_id in self._here:
            self.look_at(client_id)

    def only(self, here: Iterable[RemoteConnection]) -> None:
        """Note that these connections are here, and no others."""
        there = {(connection.client_id, connection.serial) for connection in here}
        for client_id, serial in self._each():
            if (client_id, serial) not in there:
                self.left(client_id, serial)
        self.adopt(here)

    def adopt(self, here: Iterable[RemoteConnection]) -> None:
        """Take over connections of which Redis knows already."""
        for client_id, serial, _ in here:
            if serial not in self._here.get(client_id, {}):
                self._add(client_id, serial, None)

    def _each(self) -> list[tuple[str, int]]:
        return [(client_id, serial) for client_id, here in self._here.items() for serial in here]

    def _add(self, client_id: str, serial: int, since: float | None) -> None:
        here = self._here.setdefault(client_id, {})
        self._connections += serial not in here
        here[serial] = since
        self.look_at(client_id)

    async def everywhere(self, nodes: Iterable[str]) -> dict[str, list[tuple[str, float]]]:
        """Return the clients of these nodes, and for how many seconds each of their connections is there, the
        longest first.

        Raises:
            Away: Redis did not tell.
        """
        found = {}
        for node in nodes:
            answer = await self._redis.ask("HGETALL", self._keys.at(node))
            found[node] = sorted(self._read_clients(pairs(answer)), key=lambda client: -client[1])
        return found

    async def disconnect(self, nodes: Iterable[str], client_id: str, code: int, reason: str) -> int:
        """Tell those of these nodes that have a client to close its connections, and return how many these
        are.

        Raises:
            Away: Redis did not tell, or did not take it.
        """
        count = 0
        for node in nodes:
            if node == self._keys.node or not (there := await self._connections_at(node, client_id)):
                continue
            count += there
            words = ("MAXLEN", "~", INBOX, "*", "id", client_id, "code", code, "reason", reason)
            await self._redis.ask("XADD", self._keys.inbox_of(node), *words)
        return count

    async def _connections_at(self, node: str, client_id: str) -> int:
        value = await self._redis.ask("HGET", self._keys.at(node), client_id)
        rows = [(client_id.encode(), value)] if value is not None else []
        return sum(1 for _ in self._read_clients(rows))

    def _read_clients(self, rows: Iterable[tuple[bytes, bytes]]) -> Iterator[tuple[str, float]]:
        now = self._clock.at(self._clock.here())
        for name, value in rows:
            try:
                client_id, each = read_client(name, value)
            except ValueError as error:
                self._unreadable.note("client", repr(name), str(error))
            else:
                for since in each:
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
        for name in ids:
            del self._changed[name]
        self._reporting = True
        try:
            replaced = await self._redis.run(PRESENCE, [self._keys.log], *self._arguments(ids))
        except BaseException:
            self._changed = dict.fromkeys(ids) | self._changed
            raise
        finally:
            self._reporting = False
        for name, serial in zip(map(bytes.decode, replaced[::2]), map(int, replaced[1::2]), strict=True):
            if serial in self._here.get(name, {}):
                self._replaced(name, serial)

    def _arguments(self, ids: Iterable[str]) -> list[object]:
        came, went = list[str](), list[str]()
        for name in ids:
            if here := self._here.get(name):
                came += name, " ".join(f"{self._moment(since)} {serial}" for serial, since in here.items())
            else:
                went.append(name)
        more = self._connections - len(self._here)
        return [self._keys.base, self._keys.node, self._per_id, more, len(came) // 2, *came, *went]

    def _moment(self, since: float | None) -> str:
        # The time and not the age: a call may wait, and then a client would seem younger than a later one.
        return "-" if since is None else str(int(self._clock.at(since) * 1000))
