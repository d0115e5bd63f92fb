"""Servers in the test's own process that share their messages, as if through one Redis."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, broadcast

from tests.support.fake_server import message, serving, welcome


class FakeCluster:
    """One order of messages for any number of servers; a client resumes on any of them.

    Attributes:
        urls: of the servers.
        log: the messages' frames, the first one with the id 1-0.
    """

    def __init__(self) -> None:
        self.urls: list[str] = []
        self.log: list[str] = []
        self._connections: dict[int, set[ServerConnection]] = {}
        self._down: set[int] = set()

    @asynccontextmanager
    async def running(self, count: int) -> AsyncIterator["FakeCluster"]:
        async with AsyncExitStack() as stack:
            for number in range(count):
                self._connections[number] = set()
                target = await stack.enter_async_context(serving(Server(self, number)))
                self.urls.append(str(target.url))
            yield self

    async def drain(self, number: int) -> None:
        """One server closes its clients and takes no more."""
        self._down.add(number)
        for connection in list(self._connections[number]):
            await connection.close(1012, "restart")

    def publish(self, sender: str, data: object) -> None:
        self.log.append(message(data, sender, len(self.log) + 1))
        for connections in self._connections.values():
            broadcast(connections, self.log[-1])

    def takes(self, number: int) -> bool:
        return number not in self._down

    def here(self, number: int) -> set[ServerConnection]:
        return self._connections[number]


class Server:
    """One of them."""

    def __init__(self, cluster: FakeCluster, number: int) -> None:
        self._cluster = cluster
        self._number = number

    async def __call__(self, connection: ServerConnection) -> None:
        cluster, here = self._cluster, self._cluster.here(self._number)
        if not cluster.takes(self._number):
            await connection.close(1001, "draining")
            return
        assert connection.request
        asked = urlsplit(connection.request.path)
        name = asked.path.rpartition("/")[2]
        since = parse_qs(asked.query).get("since")
        newest = len(cluster.log)
        frames = [welcome(name, id=f"{newest}-0", recovered=since is not None)]
        if since:
            frames += cluster.log[int(since[0].partition("-")[0]) :]
        here.add(connection)  # broadcast() writes at once: what follows stays behind these in the buffer
        for frame in frames:
            broadcast([connection], frame)
        try:
            async for text in connection:
                cluster.publish(name, text)
        finally:
            here.discard(connection)
