"""Counters of what went through one process since its start, and histograms of durations. They only grow."""

from bisect import bisect_left
from collections import Counter
from typing import NamedTuple

from wsctl.codes import CloseCode
from wsctl.hub.connection import EndReason

OTHER = 0
"""Stands for every close code that is neither registered nor wsctl's own: a peer may invent two thousand of
them, and each would be a time series for ever."""

KNOWN = frozenset({*range(1000, 1016), *CloseCode})
"""The close codes that are counted apart: ours, and those which RFC 6455 section 7.4.1 and IANA have
registered."""

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""The upper bounds of the buckets, in seconds: a broadcast costs about ten microseconds a client, so these
reach from ten clients to a quarter of a million, in steps in which a change of load is seen."""


class Backlog(NamedTuple):
    """The number of clients that are behind, the bytes that wait for all of them, and for the one with the
    most."""

    clients: int
    bytes: int
    largest: int


class Durations:
    """A histogram: `counts[i]` counts durations of at most `BOUNDS[i]` and more than the bound before, its
    last element those above all bounds. `total` is the sum of all, in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def note(self, seconds: float) -> None:
        """Count one more duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class Traffic:
    """Counters of connections, bytes and broadcasts, which the manager alone writes.

    Attributes:
        opened: connections that were made here.
        adopted, released: connections taken over from a predecessor, and those a successor has taken over.
        closed: connections that ended, by close code.
        cut_slow: those of them that were cut because they read too slowly.
        sent_bytes: of frames for clients, as they are written: without pings, errors and close frames.
        broadcasts: durations of offering what one iteration of the loop has gathered to its recipients.
    """

    __slots__ = ("adopted", "broadcasts", "closed", "cut_slow", "opened", "released", "sent_bytes")

    def __init__(self) -> None:
        self.opened = self.adopted = self.released = self.cut_slow = self.sent_bytes = 0
        self.closed: Counter[int] = Counter()
        self.broadcasts = Durations()

    def ended(self, code: int, end_reason: EndReason) -> None:
        """Count a connection that has ended."""
        self.closed[code if code in KNOWN else OTHER] += 1
        self.cut_slow += code == CloseCode.TRY_AGAIN_LATER and end_reason is EndReason.EVICTED
