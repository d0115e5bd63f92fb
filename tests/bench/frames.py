"""What the bench's client sends, and how it finds the frames in what it gets (RFC 6455 section 5.2)."""

import base64
import hashlib
import re
from typing import NamedTuple

TEXT, BINARY, CLOSE, PING = 0x81, 0x82, 0x88, 0x89
"""First bytes of whole, uncompressed frames."""

COMPRESSED = 0x40
"""RSV1 in the first byte: the message went through permessage-deflate (RFC 7692)."""

LONGEST_LINE = 4096
"""Bytes of a line in NATS' protocol, at most."""

STAMP = re.compile(rb"@(\d{8})@")
"""Where the number of a broadcast stands in its payload, whatever the server puts around it."""


class Frame(NamedTuple):
    """One frame in a buffer that it leaves at `end`."""

    first: int
    payload: bytes
    end: int


def next_frame(buffer: bytes | bytearray, at: int = 0) -> Frame | None:
    """The frame that begins at `at`, once all of it is there. A mask is taken to be zeros."""
    if len(buffer) < at + 2:
        return None
    size = buffer[at + 1] & 0x7F
    start, width = at + 2, {126: 2, 127: 8}.get(size, 0)
    if width:
        size = int.from_bytes(buffer[start : start + width])
    start += width + (4 if buffer[at + 1] & 0x80 else 0)
    end = start + size
    return Frame(buffer[at], bytes(buffer[start:end]), end) if start <= len(buffer) >= end else None


def next_operation(buffer: bytes | bytearray, at: int = 0) -> Frame | None:
    """The operation of NATS' protocol that begins at `at`, as if it were a frame, once all of it is there: a
    line, behind which a MSG has its payload."""
    line, found, _ = buffer[at : at + LONGEST_LINE].partition(b"\r\n")
    if not found:
        return None
    end = at + len(line) + 2
    if line.startswith(b"MSG "):
        end += int(line.rpartition(b" ")[2]) + 2
    first = PING if line == b"PING" else TEXT
    return Frame(first, bytes(buffer[at:end]), end) if end <= len(buffer) else None


def count_frames(buffer: bytes) -> int:
    """How many whole frames stand at the beginning of what came."""
    count = at = 0
    while got := next_frame(buffer, at):
        count, at = count + 1, got.end
    return count


def frame(first: int, payload: bytes, mask: int = 0x80) -> bytes:
    """A client's frame, masked with zeros; a server's with `mask` 0. Less than 64 KiB."""
    n = len(payload)
    size = bytes([mask | n]) if n < 126 else bytes([mask | 126]) + n.to_bytes(2)
    return bytes([first]) + size + bytes(4 if mask else 0) + payload


def broadcast(number: int, size: int, filler: bytes = b"x") -> bytes:
    """The text of a broadcast: its number, then filler up to `size` bytes (at least 10)."""
    text = b"@%08d@" % number
    return text + (filler * (size // len(filler) + 1))[: size - len(text)]


def opening(path: str, *, deflate: bool = False, protocol: str = "") -> bytes:
    """A client's handshake, with the sample nonce of RFC 6455 section 1.3."""
    extension = (
        "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover;"
        " client_no_context_takeover\r\n"
    )
    return (
        f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"{f'Sec-WebSocket-Protocol: {protocol}' + chr(13) + chr(10) if protocol else ''}"
        f"{extension if deflate else ''}\r\n"
    ).encode()


def answer(request: bytes) -> bytes:
    """A server's 101 to a handshake that is taken as valid (RFC 6455 section 4.2.2)."""
    key = re.search(rb"(?i)sec-websocket-key: *(\S+)", request)
    nonce = (key[1] if key else b"") + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %b\r\n\r\n"
    ) % base64.b64encode(hashlib.sha1(nonce).digest())
