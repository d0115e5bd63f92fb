"""A road between clients and a server that a test can cut."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.fake_server import stop_accepting


class Relay:
    """Passes bytes on. While it is `cut`, who comes is sent away at once. What is there when it is `frozen`
    stays open, and passes nothing."""

    def __init__(self, to: int) -> None:
        self._to = to
        self._whole = True
        self._ends: set[asyncio.StreamWriter] = set()
        self._frozen: set[asyncio.StreamWriter] = set()
        self.url = ""

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Relay"]:
        server = await asyncio.start_server(self._join, "127.0.0.1", 0)
        async with server:
            self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            try:
                yield self
            finally:
                await stop_accepting(server)
                self.cut()

    def cut(self) -> None:
        """Every connection ends without a word."""
        self._whole = False
        for end in self._ends:
            end.transport.abort()

    def freeze(self) -> None:
        """No connection that is there passes anything on any more, not even its end. Who comes later is let
        through."""
        self._frozen |= self._ends

    def lead_to(self, port: int) -> None:
        """Who comes from now on finds another server there."""
        self._to = port

    def mend(self) -> None:
        """Who comes is let through again."""
        self._whole = True

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._whole:
            writer.transport.abort()
            return
        beyond, onward = await asyncio.open_connection("127.0.0.1", self._to)
        ends = {writer, onward}
        self._ends |= ends
        if not self._whole:
            self.cut()
        try:
            await asyncio.gather(self._pass(reader, onward), self._pass(beyond, writer))
        finally:
            self._ends -= ends
            for end in ends & self._frozen:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                if writer not in self._frozen:
                    writer.write(data)
                    await writer.drain()
        if writer not in self._frozen:
            writer.close()
