"""The parser of a client's frames: the reading half of RFC 6455, without I/O."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from wsctl.codes import CloseCode, can_be_sent
from wsctl.frame import BINARY, CLOSE, CONTINUATION, EMPTY_BLOCK, FIN, PING, PONG, RSV1, TEXT

try:
    from websockets.speedups import apply_mask
except ImportError:  # a platform without websockets' C extension
    from websockets.utils import apply_mask

MIN_FRAGMENTS = 1024
"""Frames that one message may have however small the largest message is: a stream of empty ones ends."""

BYTES_A_FRAGMENT = 64
"""Bytes of the largest message for each frame that it may have: with the default size that is 1024 frames."""

MOST_FRAGMENTS = 1 << 20
"""Frames that one message may have where its size has no limit: those of a message of 64 MiB."""

MAX_STREAMS = 64
"""DEFLATE streams that one message may have: libraries end one with each message, and each costs a
decompressor."""

_LAST_BLOCK = b"\x01\x00\x00\xff\xff"
"""An empty block that ends a DEFLATE stream, provided that the block before it is complete."""

_MASKED = 0x80
_RESERVED = 0x70
_SMALL = frozenset(FIN | opcode for opcode in (TEXT, CLOSE, PING, PONG))


class Violation(Exception):
    """The error that the peer broke the protocol or a limit: close with `code`."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def whole_small_frame(data: bytes) -> tuple[int, bytes] | None:
    """Return opcode and payload if `data` is exactly one unfragmented frame of at most 125 bytes, else None.

    Nearly everything clients send looks so, and needs no state between two reads.
    """
    if len(data) < 6 or data[0] not in _SMALL or len(data) - 6 != data[1] - _MASKED or data[1] > 253:
        return None
    return data[0] & 0x0F, apply_mask(data[6:], data[2:6])


def max_fragments(max_message: int) -> int:
    """Return how many frames one message of at most `max_message` bytes may have; 0 is no limit."""
    return max(MIN_FRAGMENTS, max_message // BYTES_A_FRAGMENT) if max_message else MOST_FRAGMENTS


@dataclass(frozen=True, slots=True)
class UnreadInput:
    """A message that has arrived in part: raw bytes of the frame under way, and the fragments before it."""

    buffer: bytes
    fragments: bytes | None
    opcode: int
    deflated: bool
    pieces: int


class FrameReader:
    """A parser that takes bytes as they come and gives whole messages and control frames.

    `max_message` is in bytes, compressed and not; 0 for no limit. `deflate` is set where permessage-deflate
    was negotiated, without context takeover by the client.
    """

    __slots__ = ("_buffer", "_deflate", "_deflated", "_fragments", "_max_message", "_opcode", "_pieces")

    def __init__(self, max_message: int, deflate: bool = False) -> None:
        self._max_message = max_message
        self._deflate = deflate
        self._deflated = False
        self._buffer = bytearray()
        self._fragments: bytearray | None = None
        self._opcode = 0
        self._pieces = 0

    @classmethod
    def resumed(cls, unread: UnreadInput, max_message: int, deflate: bool) -> "FrameReader":
        """Return a reader that goes on where another one stopped."""
        reader = cls(max_message, deflate)
        reader._buffer += unread.buffer
        reader._fragments = None if unread.fragments is None else bytearray(unread.fragments)
        reader._opcode, reader._deflated, reader._pieces = unread.opcode, unread.deflated, unread.pieces
        return reader

    @property
    def unread(self) -> UnreadInput:
        """The part of an incomplete message that has come."""
        fragments = None if self._fragments is None else bytes(self._fragments)
        return UnreadInput(bytes(self._buffer), fragments, self._opcode, self._deflated, self._pieces)

    @property
    def idle(self) -> bool:
        """True between two messages, with nothing half-read."""
        return not self._buffer and self._fragments is None

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield opcode and payload of each message or control frame that `data` completes.

        Raises:
            Violation: while iterating; what came before it was valid.
        """
        self._buffer += data
        while (frame := self._next_frame()) is not None:
            first, payload = frame
            opcode = first & 0x0F
            if opcode >= CLOSE:
                yield opcode, payload
            elif (message := self._join(first, opcode, payload)) is not None:
                yield self._opcode, self._inflated(message) if self._deflated else message

    def _next_frame(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        first, opcode = buffer[0], buffer[0] & 0x0F
        self._check_head(first, buffer[1], opcode)
        sized = _payload_size(buffer)
        if sized is None:
            return None
        head, size = sized
        self._check_size(opcode, size)
        end = head + size
        if len(buffer) < end:
            return None
        payload = apply_mask(bytes(buffer[head:end]), bytes(buffer[head - 4 : head]))
        del buffer[:end]
        return first, payload

    def _check_head(self, first: int, second: int, opcode: int) -> None:
        allowed = RSV1 if self._deflate and opcode in {TEXT, BINARY} else 0
        if first & _RESERVED & ~allowed:
            raise Violation(CloseCode.PROTOCOL_ERROR, "reserved bits are set")
        if opcode not in {CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG}:
            raise Violation(CloseCode.PROTOCOL_ERROR, f"unknown opcode {opcode}")
        if not second & _MASKED:
            raise Violation(CloseCode.PROTOCOL_ERROR, "a client's frames must be masked")
        if opcode >= CLOSE and (not first & FIN or second & 0x7F > 125):
            raise Violation(CloseCode.PROTOCOL_ERROR, "a control frame is fragmented or too long")

    def _check_size(self, opcode: int, size: int) -> None:
        total = size + (len(self._fragments) if self._fragments and opcode == CONTINUATION else 0)
        if self._max_message and opcode < CLOSE and total > self._max_message:
            raise Violation(CloseCode.MESSAGE_TOO_BIG, f"a message may have {self._max_message} bytes")

    def _join(self, first: int, opcode: int, payload: bytes) -> bytes | None:
        """Return the whole message if this frame is its last one, else None; the opcode and coding of the
        message are then noted."""
        if (opcode == CONTINUATION) != (self._fragments is not None):
            raise Violation(CloseCode.PROTOCOL_ERROR, "fragments are out of order")
        if self._fragments is None:
            self._opcode, self._deflated = opcode, bool(first & RSV1)
            if first & FIN:
                return payload
            self._fragments, self._pieces = bytearray(payload), 1
            return None
        self._fragments += payload
        self._pieces += 1
        if self._pieces > (most := max_fragments(self._max_message)):
            raise Violation(CloseCode.POLICY_VIOLATION, f"a message may have {most} fragments")
        if not first & FIN:
            return None
        whole, self._fragments = bytes(self._fragments), None
        return whole

    def _inflated(self, data: bytes) -> bytes:
        """Return the whole message: a sender may end a DEFLATE stream and begin another (RFC 7692 section
        7.2.1)."""
        message, rest = b"", data + EMPTY_BLOCK
        for _ in range(MAX_STREAMS):
            inflater = zlib.decompressobj(-zlib.MAX_WBITS)
            # One byte beyond the limit is enough to know; 0 is "no limit" to zlib too.
            most = self._max_message + 1 - len(message) if self._max_message else 0
            try:
                message += inflater.decompress(rest, most)
                self._check_size(self._opcode, len(message))
                if _ends_well(inflater):
                    return message
            except zlib.error:
                break
            rest = inflater.unused_data
        raise Violation(CloseCode.INVALID_DATA, "compressed data is damaged or not complete")


def _ends_well(inflater: "zlib._Decompress") -> bool:
    """Tell whether a message is complete, with nothing left over.

    A stream that was ended needs no empty block behind it, and may end with that.

    Raises:
        zlib.error: the stream ends within a block.
    """
    if inflater.eof:
        return inflater.unused_data in (b"", EMPTY_BLOCK)
    return not inflater.decompress(_LAST_BLOCK) and inflater.eof and not inflater.unused_data


def _payload_size(buffer: bytearray) -> tuple[int, int] | None:
    """Return where the payload starts and how many bytes it has; None until the frame's head is complete."""
    size = buffer[1] & 0x7F
    width = {126: 2, 127: 8}.get(size, 0)
    head = 2 + width + 4
    if len(buffer) < head:
        return None
    if width:
        size = int.from_bytes(buffer[2 : 2 + width])
        if size < (126 if width == 2 else 1 << 16) or size >= 1 << 63:
            raise Violation(CloseCode.PROTOCOL_ERROR, "the length is not in its shortest form")
    return head, size


def close_reason(payload: bytes) -> tuple[int, str]:
    """Return code and reason of a peer's close frame; 1005 when it has none.

    Raises:
        Violation: the code may not be sent, or the reason is not UTF-8 (RFC 6455 section 7.4).
    """
    if not payload:
        return CloseCode.NO_STATUS, ""
    code = int.from_bytes(payload[:2])
    if len(payload) < 2 or not can_be_sent(code):
        raise Violation(CloseCode.PROTOCOL_ERROR, "that close code may not be sent")
    return code, text(payload[2:])


def text(payload: bytes) -> str:
    """Return the payload of a text message as text.

    Raises:
        Violation: it is not UTF-8.
    """
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise Violation(CloseCode.INVALID_DATA, "text must be UTF-8") from None
