"""The load of a server over the last hour, kept for those who look at it later."""

import time
from collections import deque
from collections.abc import Callable

from wsctl.control.status import LoadHistory, LoadSample, ServerStatus

SAMPLE_INTERVAL = 10.0
"""Seconds between two samples: those that rates in a status are taken over, so that none is left out."""

SAMPLES = 360
"""The samples that are kept: an hour of them, in some 150 KiB."""

SLACK = 0.5
"""Seconds by which a check may come early: its moments are a second apart, and never exact."""


class RecentLoad:
    """Keeps samples of the status that `facts` returns; `wall` is the time in Unix seconds."""

    def __init__(self, facts: Callable[[], ServerStatus], wall: Callable[[], float] = time.time) -> None:
        self._facts = facts
        self._wall = wall
        self._samples: deque[LoadSample] = deque(maxlen=SAMPLES)
        self._due = float("-inf")

    def check(self, now: float) -> None:
        """Take a sample when it is time for one; to be called about once a second."""
        if now >= self._due - SLACK:
            self._due = now + SAMPLE_INTERVAL
            self._samples.append(sample_of(self._facts(), self._wall()))

    def history(self) -> LoadHistory:
        """Return the samples of the last hour."""
        return LoadHistory(SAMPLE_INTERVAL, tuple(self._samples))


def sample_of(facts: ServerStatus, at: float) -> LoadSample:
    """Return what a status tells of the load."""
    return LoadSample(
        at=round(at, 1),
        connections=facts.connections,
        streams=facts.streams,
        published=facts.rates.published,
        received=facts.rates.received,
        delivered=facts.rates.delivered,
        delivery_s=facts.delivery.mean_s,
        longest_delivery_s=facts.delivery.longest_s,
        waiting_bytes=facts.outbox.bytes,
    )
