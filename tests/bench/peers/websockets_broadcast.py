"""The websockets library's server and its broadcast(), on uvloop."""

import uvloop
from websockets.asyncio.server import ServerConnection, broadcast, serve

from tests.bench.peers.listening import listener

connections: set[ServerConnection] = set()


async def handler(connection: ServerConnection) -> None:
    connections.add(connection)
    try:
        async for message in connection:
            broadcast(connections, message)
    finally:
        connections.discard(connection)


async def main() -> None:
    async with serve(handler, sock=listener(), compression=None, ping_interval=None) as server:
        await server.wait_closed()


uvloop.run(main())
