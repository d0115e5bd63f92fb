"""The floor of a request: a loop of the same kind that gives one answer to whatever comes, unread."""

import asyncio

import uvloop

from tests.bench.peers.listening import listener

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 42\r\n\r\n{"id":"1795849491123-0","recipients":1000}'


class Answering(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._transport.write(ANSWER)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Answering, sock=listener())
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
