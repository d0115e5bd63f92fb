"""WebSocket frames and events of streams, encoded once for all connections."""

import zlib
from collections.abc import Sequence
from enum import IntEnum

from wsctl.event_stream import chunk, event

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
"""Opcodes of RFC 6455 section 5.2."""

FIN = 0x80
"""The bit that marks a message's last frame."""

DEFLATE_ABOVE = 1024
"""Bytes of JSON above which a message is worth compressing: a smaller one fits a packet as it is."""

RSV1 = 0x40
"""The bit that marks a compressed message (RFC 7692 section 7.2)."""

EMPTY_BLOCK = b"\x00\x00\xff\xff"
"""The bytes that a compressed message leaves off at its end (RFC 7692 section 7.2.1)."""

WINDOW_BITS = 12
"""The LZ77 window of messages that are compressed once for all, as a power of two: the least that clients in
use ask for (`websockets` asks for 12), and 4 KiB is more than most messages."""

_CONTROL_PAYLOAD = 125
"""Bytes a control frame may carry (RFC 6455 section 5.5)."""


class Encoding(IntEnum):
    """The forms in which a connection gets frames: as WebSocket frames, which may be compressed; or as events
    of a stream, in chunks, or for HTTP/1.0 without."""

    PLAIN = 0
    DEFLATE = 1
    EVENTS = 2
    EVENTS_WITHOUT_CHUNKS = 3


def frame(opcode: int, payload: bytes) -> bytes:
    """Return one whole unmasked frame, as servers send it (RFC 6455 section 5.2)."""
    n = len(payload)
    if n < 126:
        return bytes((FIN | opcode, n)) + payload
    if n < 1 << 16:
        return bytes((FIN | opcode, 126)) + n.to_bytes(2) + payload
    return bytes((FIN | opcode, 127)) + n.to_bytes(8) + payload


def close_frame(code: int, reason: str) -> bytes:
    """Return a close frame; a reason that does not fit is cut between characters."""
    text = reason.encode()[: _CONTROL_PAYLOAD - 2].decode(errors="ignore")
    return frame(CLOSE, code.to_bytes(2) + text.encode())


def deflated_frame(payload: bytes) -> bytes:
    """Return a text frame compressed with permessage-deflate and no context (RFC 7692 section 7.2.1)."""
    compressor = zlib.compressobj(wbits=-WINDOW_BITS)
    data = compressor.compress(payload) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return frame(TEXT | RSV1, data.removesuffix(EMPTY_BLOCK))


class Batch:
    """Frames that are sent together: `wire` is their bytes.

    A batch is made from the JSON of text messages, with `lead` in front, or from `wire` alone: a control
    frame or the middle of a message, bytes that are not parsed. A `plain` batch is never compressed.

    Attributes:
        messages: how many text messages it holds.
        plain: true if it stays as it is, whatever was negotiated.
    """

    __slots__ = ("_deflated", "_events", "_start", "messages", "plain", "wire")

    def __init__(
        self,
        payloads: Sequence[bytes] = (),
        wire: bytes | None = None,
        *,
        lead: bytes = b"",
        messages: int = 0,
        plain: bool = False,
    ) -> None:
        frames = [frame(TEXT, payload) for payload in payloads]
        self.messages = len(frames) or messages
        self.wire = b"".join((lead, *frames) if lead else frames) if wire is None else wire
        self._start = len(lead) if frames else len(self.wire)
        self.plain = plain
        self._deflated: bytes | None = self.wire if plain else None
        self._events: tuple[bytes, bytes] | None = None  # in chunks, and without

    @classmethod
    def joined(cls, batches: "Sequence[Batch]", *, compressed: bool = False) -> "Batch":
        """Return several batches of text messages as one. With `compressed` its compressed form is made of
        theirs, which are kept by each."""
        joined = cls.read(b"".join([batch.wire for batch in batches]), sum(b.messages for b in batches))
        if compressed:
            joined._deflated = b"".join([batch.encoded(Encoding.DEFLATE) for batch in batches])
        return joined

    @classmethod
    def read(cls, wire: bytes, messages: int = 1) -> "Batch":
        """Return a batch of text messages that are frames already."""
        batch = cls.__new__(cls)  # each answer makes one: `__init__` takes four times as long
        batch.wire, batch.messages, batch._start = wire, messages, 0
        batch.plain, batch._deflated, batch._events = False, None, None
        return batch

    @classmethod
    def behind(cls, lead: bytes, payload: bytes) -> "Batch":
        """Return a batch of one text message with `lead` in front: the first bytes of a connection."""
        batch = cls.read(lead + frame(TEXT, payload))
        batch._start = len(lead)
        return batch

    def copy(self) -> "Batch":
        """Return a batch of the same bytes, whose other forms are kept for as long as the copy is."""
        batch = Batch.__new__(Batch)  # each broadcast makes one: `__init__` takes four times as long
        batch.wire, batch.messages, batch._start = self.wire, self.messages, self._start
        batch.plain, batch._deflated = self.plain, self.wire if self.plain else None
        batch._events = None
        return batch

    @property
    def payloads(self) -> list[bytes]:
        """The JSON of each text message, read out of `wire` so that history holds it once."""
        found = []
        at, wire = self._start, self.wire
        while at < len(wire):
            size = wire[at + 1]
            head = 2 if size < 126 else 4 if size == 126 else 10
            end = at + head + (size if head == 2 else int.from_bytes(wire[at + 2 : at + head]))
            found.append(wire[at + head : end])
            at = end
        return found

    def encoded(self, encoding: Encoding) -> bytes:
        """Return the bytes for a connection with this encoding; they are made when first asked for."""
        if not encoding:
            return self.wire
        if encoding is not Encoding.DEFLATE:
            return self._as_events(encoding)
        if self._deflated is None:
            # Without looking into it: messages that are small together have none worth compressing.
            worth = len(self.wire) > DEFLATE_ABOVE and any(len(p) > DEFLATE_ABOVE for p in self.payloads)
            self._deflated = self._compressed() if worth else self.wire
        return self._deflated

    def uncompressed(self, encoding: Encoding) -> bytes:
        """Return the bytes for a connection with this encoding, without those that are made being kept."""
        return self.wire if encoding <= Encoding.DEFLATE else self.copy().encoded(encoding)

    def _as_events(self, encoding: Encoding) -> bytes:
        if self._events is None:
            lead, events = self.wire[: self._start], b"".join(map(event, self.payloads))
            self._events = (lead + chunk(events), lead + events) if events else (self.wire, self.wire)
        return self._events[encoding - Encoding.EVENTS]

    def _compressed(self) -> bytes:
        return b"".join((self.wire[: self._start], *map(_smallest, self.payloads)))


def _smallest(payload: bytes) -> bytes:
    return deflated_frame(payload) if len(payload) > DEFLATE_ABOVE else frame(TEXT, payload)
