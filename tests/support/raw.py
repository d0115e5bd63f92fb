"""A client by hand, for what a well-behaved library does not do."""

import contextlib
import socket
from collections.abc import Iterator
from types import TracebackType

from tests.support.server import DEADLINE

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
"""The sample nonce of RFC 6455 section 1.3."""


def handshake(path: str, *headers: str, host: str = "127.0.0.1", version: str = "HTTP/1.1") -> bytes:
    """An opening handshake with more headers, or others in place of its own."""
    own = {
        "host": f"Host: {host}",
        "upgrade": "Upgrade: websocket",
        "connection": "Connection: Upgrade",
        "sec-websocket-key": f"Sec-WebSocket-Key: {KEY}",
        "sec-websocket-version": "Sec-WebSocket-Version: 13",
    }
    for line in headers:
        name, _, value = line.partition(":")
        if value.strip():
            own[name.lower()] = line
        else:
            own.pop(name.lower(), None)
    return "\r\n".join([f"GET {path} {version}", *own.values(), "", ""]).encode("latin-1")


class RawClient:
    """A TCP connection to the server; `receive_buffer` keeps the kernel from taking much."""

    def __init__(self, port: int, receive_buffer: int | None = None) -> None:
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(("127.0.0.1", port))

    def __enter__(self) -> "RawClient":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def finish(self) -> None:
        """Say that nothing more will come, and go on reading."""
        with contextlib.suppress(OSError):  # it may have been reset by now
            self.socket.shutdown(socket.SHUT_WR)

    def read_head(self) -> bytes:
        """An answer's head, up to the empty line; nothing behind it is read."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = self.socket.recv(1)
            if not byte:
                break
            head += byte
        return head

    def read_to_end(self) -> bytes:
        """Everything until the server closes; a reset counts as an end."""
        data = bytearray()
        try:
            while chunk := self.socket.recv(65536):
                data += chunk
        except ConnectionResetError:
            pass
        return bytes(data)

    def join(self, client_id: str) -> None:
        """Become a client and read nothing more."""
        self.send(handshake(f"/ws/{client_id}"))
        assert b" 101 " in self.read_head()


def masked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """A client's frame, masked with zeros so that tests can read it."""
    n = len(payload)
    if n < 126:
        size = bytes([0x80 | n])
    else:
        size = bytes([0x80 | 126]) + n.to_bytes(2) if n < 1 << 16 else bytes([0x80 | 127]) + n.to_bytes(8)
    return bytes([0x80 * fin | opcode]) + size + bytes(4) + payload


def heard(stream: bytes) -> Iterator[tuple[int, bytes]]:
    """Opcode and payload of each whole frame that a server has sent: unmasked, unfragmented, uncompressed.
    What is cut off at the end is left."""
    at = 0
    while len(stream) >= at + 2:
        assert stream[at] & 0xF0 == 0x80, stream[at : at + 80]
        size, head = stream[at + 1], 2
        assert size < 128, "a server masks nothing"
        if size > 125:
            head = 4 if size == 126 else 10
            size = int.from_bytes(stream[at + 2 : at + head])
        end = at + head + size
        if len(stream) < end:
            return
        yield stream[at] & 0x0F, stream[at + head : end]
        at = end
