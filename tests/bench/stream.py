"""What every connection of a run must get, byte for byte: all get the same broadcasts in the same order.

The connection that is first to get some bytes shows what they are, and they are parsed once: each frame
must carry the next number. From then on a comparison says whether another connection got the same.
"""

import zlib
from bisect import bisect_right

from tests.bench.frames import CLOSE, COMPRESSED, PING, STAMP, TEXT, Frame, next_frame, next_operation


class Payloads:
    """What one connection gets in the payloads of frames that cut a stream anywhere."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, chunk: bytes) -> bytes:
        """The payloads of the frames that end in a chunk."""
        data, at, payloads = self._rest + chunk, 0, []
        while got := next_frame(data, at):
            _refuse_close(got)
            payloads.append(got.payload)
            at = got.end
        self._rest = data[at:]
        return b"".join(payloads)


class Stream:
    """The bytes that came behind the greeting; those within the frames where messages are `streamed`.

    Attributes:
        data: all of them, as far as any connection has got.
        ends: where each broadcast's frame ends.
        size: bytes of the last broadcast's payload, decompressed.
        wire: bytes of the last broadcast's frame.
        errors: frames out of order, and connections whose bytes were not these.
    """

    def __init__(self, *, streamed: bool = False) -> None:
        self._next = next_operation if streamed else next_frame
        self.data = bytearray()
        self.ends: list[int] = []
        self.size = 0
        self.wire = 0
        self.errors = 0
        self._parsed = 0

    def follow(self, at: int, chunk: bytes) -> int | None:
        """Where a connection at `at` is after a chunk that is not all known yet; None when it strays.

        Raises:
            ConnectionError: the chunk has a close frame.
        """
        whole = self.completed(at)
        if at == (self.ends[whole - 1] if whole else 0):
            chunk = self._without_pings(chunk)
        known = self.data[at : at + len(chunk)]
        if not chunk.startswith(known):
            self.errors += 1
            return None
        self.data += chunk[len(known) :]
        self._parse()
        return at + len(chunk)

    def completed(self, at: int) -> int:
        """How many broadcasts a connection at `at` has whole."""
        return bisect_right(self.ends, at)

    def _parse(self) -> None:
        while got := self._next(self.data, self._parsed):
            payload = _inflated(got)
            stamp = STAMP.search(payload)
            if got.first & ~COMPRESSED != TEXT or not stamp or int(stamp[1]) != len(self.ends):
                self.errors += 1
            self.size, self.wire = len(payload), got.end - self._parsed
            self._parsed = got.end
            self.ends.append(got.end)

    def _without_pings(self, chunk: bytes) -> bytes:
        """A chunk that begins with a frame, without the keepalive's, which come to each in its own time."""
        kept, at = bytearray(), 0
        while got := self._next(chunk, at):
            _refuse_close(got)
            if got.first != PING:
                kept += chunk[at : got.end]
            at = got.end
        return bytes(kept + chunk[at:])


def _refuse_close(got: Frame) -> None:
    if got.first == CLOSE:
        code, reason = int.from_bytes(got.payload[:2]), got.payload[2:].decode(errors="replace")
        raise ConnectionError(f"a connection was closed: {code} {reason}".rstrip())


def _inflated(got: Frame) -> bytes:
    """A message's data; RFC 7692 section 7.2.2 says what the sender took away."""
    if not got.first & COMPRESSED:
        return got.payload
    return zlib.decompressobj(-zlib.MAX_WBITS).decompress(got.payload + b"\x00\x00\xff\xff")
