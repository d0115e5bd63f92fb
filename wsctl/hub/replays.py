"""The replay of missed messages to clients that come back: in slices, so that no handshake holds up
another."""

from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from wsctl.frame import DEFLATE_ABOVE, Batch, Encoding

FULL_REPLAYS = 4
"""Histories that one id may be sent at full speed: a client that tries again a few times is not slowed."""

FILLS_IN = 60.0
"""Seconds in which an id may be sent one more. Beyond that a replay is slower, and as complete as ever."""

LEAST = 1 << 20
"""Bytes that count as a history where `--history-bytes` is less."""

MOST_IDS = 10_000
"""Ids whose replays are counted at a time: the one that was counted first is forgotten."""

KEPT = 4 << 20
"""Bytes of compressed frames, and of events, that are kept for clients that come back together: they missed
the same."""

_ENTRY = 200
"""Bytes that each of them takes beside its own."""


class Resuming(Protocol):
    """A connection that has not been sent everything it missed."""

    client_id: str

    def feed(self) -> None:
        """Write the next slice, if there is one and its socket takes it."""


class Replays:
    """Feeds connections in rotation, one slice in one iteration of the loop. `history_bytes` is what a full
    replay counts as.

    Attributes:
        kept_bytes: the size of the copies that are kept.
    """

    def __init__(
        self,
        history_bytes: int,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        whole = max(history_bytes, LEAST)
        self._burst, self._per_second = FULL_REPLAYS * whole, whole / FILLS_IN
        self._clock = clock
        self._call_soon = call_soon
        self._call_later = call_later
        self._queue: deque[Resuming] = deque()
        self._spent: dict[str, tuple[float, float]] = {}
        self._kept: dict[tuple[Batch, Encoding], bytes] = {}
        self.kept_bytes = 0

    def want(self, who: Resuming) -> None:
        """Let a connection write its next slice soon, or when its id may have more."""
        wait = self.wait(who.client_id)
        if wait > 0:
            self._call_later(wait, lambda: self._enqueue(who))
        else:
            self._enqueue(who)

    def wait(self, client_id: str) -> float:
        """Return the seconds until an id may be sent more of what it missed."""
        return max(0.0, (self._level(client_id) - self._burst) / self._per_second)

    def spend(self, client_id: str, size: int) -> None:
        """Count bytes that were sent to an id."""
        level = self._level(client_id) + size
        self._spent.pop(client_id, None)
        self._spent[client_id] = level, self._clock()
        if len(self._spent) > MOST_IDS:
            del self._spent[next(iter(self._spent))]

    def encoded(self, batches: Iterable[Batch], encoding: Encoding) -> bytes:
        """Return the bytes of batches, of which history keeps them in one form."""
        if not encoding:
            return b"".join([batch.wire for batch in batches])
        kept = self._kept
        return b"".join([kept.get((batch, encoding)) or self._encoded(batch, encoding) for batch in batches])

    def _encoded(self, batch: Batch, encoding: Encoding) -> bytes:
        """Return the bytes of a batch, of which a copy is kept where others may ask for it."""
        if encoding is Encoding.DEFLATE and (batch.plain or len(batch.wire) <= DEFLATE_ABOVE):
            return batch.wire
        made = batch.copy().encoded(encoding)
        if not batch.plain:  # that one was made for this client
            self._kept[batch, encoding] = made
            self.kept_bytes += len(made) + _ENTRY
        while self.kept_bytes > KEPT:
            self.kept_bytes -= len(self._kept.pop(next(iter(self._kept)))) + _ENTRY
        return made

    def _level(self, client_id: str) -> float:
        level, at = self._spent.get(client_id, (0.0, 0.0))
        return max(0.0, level - (self._clock() - at) * self._per_second)

    def _enqueue(self, who: Resuming) -> None:
        if not self._queue:
            self._call_soon(self._feed_first)
        self._queue.append(who)

    def _feed_first(self) -> None:
        try:
            self._queue[0].feed()  # which may want the next one, behind the others
        finally:
            self._queue.popleft()
            if self._queue:
                self._call_soon(self._feed_first)
