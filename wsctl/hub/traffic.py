"""What went through one process since its start. All of it only grows, and the manager alone writes it."""

from collections import Counter
from typing import NamedTuple

from wsctl.codes import CloseCode
from wsctl.hub.connection import Ending
from wsctl.hub.durations import Durations

OTHER = 0
"""Stands for every close code that is neither registered nor wsctl's own: a peer may invent two thousand of
them, and each would be a time series for ever."""

KNOWN = frozenset({*range(1000, 1016), *CloseCode})
"""The codes that are counted apart: ours, and those which RFC 6455 section 7.4.1 and IANA have registered."""


class Backlog(NamedTuple):
    """How many clients are behind, the bytes that wait for all of them, and for the one with the most."""

    clients: int
    bytes: int
    largest: int


class Traffic:
    """Counts.

    Attributes:
        opened: connections that were made here.
        adopted, released: those taken over from a predecessor, and those that a successor has taken over.
        closed: those that ended, by close code.
        cut_slow: those of them that were cut because they read too slowly.
        sent_bytes: of frames for clients, as they are written: without pings, errors and close frames.
        broadcasts: how long it took to offer what one turn of the loop has gathered to all clients.
    """

    __slots__ = ("adopted", "broadcasts", "closed", "cut_slow", "opened", "released", "sent_bytes")

    def __init__(self) -> None:
        self.opened = self.adopted = self.released = self.cut_slow = self.sent_bytes = 0
        self.closed: Counter[int] = Counter()
        self.broadcasts = Durations()

    def ended(self, code: int, ending: Ending) -> None:
        """A stay is over."""
        self.closed[code if code in KNOWN else OTHER] += 1
        self.cut_slow += code == CloseCode.TRY_AGAIN_LATER and ending is Ending.EVICTED
