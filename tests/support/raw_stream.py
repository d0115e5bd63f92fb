"""A client by hand on asyncio's streams, for what a well-behaved library does not do, many at a time."""

import asyncio
import socket
import struct
from types import TracebackType

from tests.support import frames
from tests.support.hostile import status_of
from tests.support.raw import handshake, masked
from wsctl.codes import CloseCode
from wsctl.frame import TEXT

PATIENCE = 30.0
"""Seconds that anything of a peer's may take: longer than any timeout of a server's."""

_CLOSE = 8
_RESET = struct.pack("ii", 1, 0)


class NotWelcomed(Exception):
    """There is no welcome; the text says what there was instead: a status, a close code, or nothing."""


class RawStream:
    """One connection; `async with` hangs up at the end. Whatever is lost in the middle is an `OSError` or an
    `asyncio.IncompleteReadError`."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int, receive_buffer: int | None = None) -> "RawStream":
        """`receive_buffer` keeps the kernel from taking much, and asyncio too."""
        sock = socket.socket()
        try:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
            return cls(*await asyncio.open_connection(sock=sock, limit=receive_buffer or 1 << 16))
        except BaseException:
            sock.close()
            raise

    async def __aenter__(self) -> "RawStream":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.hang_up()

    def hang_up(self) -> None:
        """At once."""
        self._writer.transport.abort()

    async def join(self, client_id: str) -> None:
        """Become a client. Raises `NotWelcomed`."""
        self._writer.write(handshake(f"/ws/{client_id}"))
        try:
            async with asyncio.timeout(PATIENCE):
                head = await self._reader.readuntil(b"\r\n\r\n")
                if status_of(head) != 101:
                    raise NotWelcomed(str(status_of(head)))
                opcode, payload = await self._frame()
        except (OSError, EOFError):
            raise NotWelcomed("nothing") from None
        if opcode == _CLOSE:
            raise NotWelcomed(str(int.from_bytes(payload[:2])))

    async def send(self, data: bytes) -> None:
        """Returns once it is on its way."""
        self._writer.write(data)
        async with asyncio.timeout(PATIENCE):
            await self._writer.drain()

    async def receive(self) -> frames.Frame:
        """The next frame, which is text."""
        opcode, payload = await self._frame()
        assert opcode == TEXT, payload
        return frames.read(payload)

    async def stay(self, seconds: float) -> int | None:
        """Read for so long; the code with which the server closed, if it did (1006: without one)."""
        try:
            async with asyncio.timeout(seconds):
                return await self.ended()
        except TimeoutError:
            return None

    async def ended(self) -> int:
        """Read to the end; the code with which the server closed, 1006 when it gave none."""
        try:
            while True:
                opcode, payload = await self._frame()
                if opcode == _CLOSE:
                    return int.from_bytes(payload[:2])
        except (OSError, EOFError):
            return CloseCode.ABNORMAL

    async def leave(self) -> None:
        """Close as one should, and wait for the answer."""
        self._writer.write(masked(_CLOSE, int(CloseCode.NORMAL).to_bytes(2)))
        async with asyncio.timeout(PATIENCE):
            await self.ended()
        self.hang_up()

    async def answer(self) -> bytes:
        """Everything until the server hangs up; a reset counts as that."""
        data = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                while chunk := await self._reader.read(1 << 16):
                    data += chunk
        except OSError:
            pass
        return bytes(data)

    def finish(self) -> None:
        """Say that nothing more will come, and go on reading."""
        self._writer.write_eof()

    def reset(self) -> None:
        """Hang up with a reset instead of an end."""
        if sock := self._writer.get_extra_info("socket"):  # else it is gone already
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.hang_up()

    async def _frame(self) -> tuple[int, bytes]:
        first, size = await self._reader.readexactly(2)
        if size >= 126:
            size = int.from_bytes(await self._reader.readexactly(2 if size == 126 else 8))
        return first & 15, await self._reader.readexactly(size)
