"""The load of a server over the last hour, kept for those who look at it later."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from wsctl.control.encoding import decode, encode
from wsctl.control.status import LoadHistory, LoadSample, ServerStatus
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverState

SAMPLE_INTERVAL = 10.0
"""Seconds between two samples: those that rates in a status are taken over, so that none is left out."""

SAMPLES = 360
"""The samples that are kept: an hour of them, in some 150 KiB."""

SLACK = 0.5
"""Seconds by which a check may come early: its moments are a second apart, and never exact."""


class RecentLoad:
    """Keeps samples of the status that `facts` returns; `wall` is the time in Unix seconds. While clients
    move into another process it takes none, since none of both has all."""

    def __init__(self, facts: Callable[[], ServerStatus], wall: Callable[[], float] = time.time) -> None:
        self._facts = facts
        self._wall = wall
        self._samples: deque[LoadSample] = deque(maxlen=SAMPLES)
        self._due = float("-inf")

    def check(self, now: float) -> None:
        """Take a sample when it is time for one; to be called about once a second."""
        if now >= self._due - SLACK and not _is_moving(facts := self._facts()):
            self._due = now + SAMPLE_INTERVAL
            self._samples.append(sample_of(facts, self._wall()))

    def history(self) -> LoadHistory:
        """Return the samples of the last hour."""
        return LoadHistory(SAMPLE_INTERVAL, tuple(self._samples))

    def state(self) -> list[dict[str, Any]]:
        """Return the samples for the process that goes on for this one."""
        return [encode(sample) for sample in self._samples]

    def resume(self, told: Sequence[dict[str, Any]]) -> None:
        """Put the samples of the process before in front of what there is; those of a version that has others
        are left out."""
        with suppress(KeyError, TypeError, ValueError):
            before = [decode(LoadSample, each) for each in told]
            self._samples = deque([*before, *self._samples], maxlen=SAMPLES)


def _is_moving(facts: ServerStatus) -> bool:
    upgrading = facts.upgrade and facts.upgrade.state in (HandoverState.STARTING, HandoverState.MOVING)
    return bool(upgrading) or facts.status in (Phase.STARTING, Phase.HANDOVER)


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
