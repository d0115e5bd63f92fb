"""Counters of what went through one process since its start. They only grow, and the manager alone writes
them."""

from collections import Counter
from typing import NamedTuple

from wsctl.codes import CloseCode
from wsctl.hub.connection import Ending
from wsctl.hub.durations import Durations

OTHER = 0
"""Stands for every close code that is neither registered nor wsctl's own: a peer may invent two thousand of
them, and each would be a time series for ever."""

KNOWN = frozenset({*range(1000, 1016), *CloseCode})
"""The close codes that are counted apart: ours, and those which RFC 6455 section 7.4.1 and IANA have
registered."""


class Backlog(NamedTuple):
    """The number of clients that are behind, the bytes that wait for all of them, and for the one with the
    most."""

    clients: int
    bytes: int
    largest: int


class Traffic:
    """Counters of connections, bytes and broadcasts.

    Attributes:
        opened: connections that were made here.
        adopted, released: connections taken over from a predecessor, and those a successor has taken over.
        closed: connections that ended, by close code.
        cut_slow: those of them that were cut because they read too slowly.
        sent_bytes: of frames for clients, as they are written: without pings, errors and close frames.
        broadcasts: durations of offering what one iteration of the loop has gathered to all clients.
    """

    __slots__ = ("adopted", "broadcasts", "closed", "cut_slow", "opened", "released", "sent_bytes")

    def __init__(self) -> None:
        self.opened = self.adopted = self.released = self.cut_slow = self.sent_bytes = 0
        self.closed: Counter[int] = Counter()
        self.broadcasts = Durations()

    def ended(self, code: int, ending: Ending) -> None:
        """Count a connection that has ended."""
        self.closed[code if code in KNOWN else OTHER] += 1
        self.cut_slow += code == CloseCode.TRY_AGAIN_LATER and ending is Ending.EVICTED
