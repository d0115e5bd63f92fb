"""A client that leaves at the moment it is asked for, and nothing more: a thousand fit into one loop."""

import asyncio
from typing import Any

from tests.support import frames
from tests.support.raw import handshake, masked

CLOSE = 8


class AwareClient:
    """One WebSocket of `client_id`, by hand."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id

    async def join(self, port: int) -> None:
        """Connect and take the welcome."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", port)
        self._writer.write(handshake(f"/ws/{self.client_id}"))
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert b" 101 " in head, head
        assert (await self.receive())["type"] == "welcome"

    async def receive(self) -> dict[str, Any]:
        """The next frame: they are all text, whole and short."""
        _, size = await self._reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self._reader.readexactly(2))
        return frames.read(await self._reader.readexactly(size))

    async def leave(self) -> None:
        """Close by itself."""
        self._writer.write(masked(CLOSE, b""))
        await self._reader.read()
        self._writer.close()
        await self._writer.wait_closed()

    async def move(self, port: int) -> float:
        """Wait to be asked, leave at the moment it was asked for and go to another server: that moment."""
        told = await self.receive()
        assert told["type"] == "shutdown", told
        moment: float = told["reconnect_in_s"]
        await asyncio.sleep(moment)
        await self.leave()
        await self.join(port)
        return moment
