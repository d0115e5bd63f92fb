"""A road between clients and a server that a test can cut."""

import asyncio
import enum
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from tests.support.fake_server import stop_accepting
from tests.support.server import DEADLINE


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
        await self._pass_both(reader, writer, beyond, onward)

    async def _pass_both(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        beyond: asyncio.StreamReader,
        onward: asyncio.StreamWriter,
    ) -> None:
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


class Upgrades(enum.Enum):
    """What becomes of a request for a WebSocket: a proxy refuses it, a firewall drops it, or one ends the
    connection behind the answer's head."""

    PASS = enum.auto()
    REFUSE = enum.auto()
    DROP = enum.auto()
    END = enum.auto()


REFUSAL = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class HttpRelay(Relay):
    """A relay for HTTP alone, which may treat requests for a WebSocket otherwise than all others.

    Attributes:
        upgrades: what becomes of them.
        asked: how many there were.
    """

    def __init__(self, to: int) -> None:
        super().__init__(to)
        self.upgrades = Upgrades.PASS
        self.asked = 0
        self._next = asyncio.Event()

    async def next_upgrade(self) -> None:
        """Wait for the next request for a WebSocket."""
        self._next.clear()
        async with asyncio.timeout(DEADLINE):
            await self._next.wait()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if not self._whole:
                return
            head = await reader.readuntil(b"\r\n\r\n")
            is_upgrade = b"\r\nupgrade: websocket\r\n" in head.lower()
            if is_upgrade:
                self.asked += 1
                self._next.set()
            await self._treat(self.upgrades if is_upgrade else Upgrades.PASS, head, reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # one side has gone
        finally:
            if writer not in self._frozen:
                writer.close()

    async def _treat(
        self, treatment: Upgrades, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if treatment is Upgrades.REFUSE:
            writer.write(REFUSAL)
            return
        if treatment is Upgrades.DROP:
            self._ends.add(writer)
            await reader.read()
            return
        beyond, onward = await asyncio.open_connection("127.0.0.1", self._to)
        onward.write(head)
        if treatment is Upgrades.END:
            writer.write(await beyond.readuntil(b"\r\n\r\n"))
            onward.transport.abort()
            return
        await self._pass_both(reader, writer, beyond, onward)
