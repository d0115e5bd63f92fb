"""The ticker: what is due once a second, for as long as the server runs."""

import asyncio
from collections.abc import Callable, Iterable

from wsctl.hub.traffic import Durations

INTERVAL = 1.0
"""Seconds between two ticks."""


class Ticker:
    """Calls its jobs once a second.

    Attributes:
        jobs: called with the time, in this order.
        lateness: how late the event loop came to each tick.
    """

    def __init__(self, clock: Callable[[], float], jobs: Iterable[Callable[[float], None]] = ()) -> None:
        self._clock = clock
        self.jobs = list(jobs)
        self.lateness = Durations()

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            now = self._clock()
            for job in self.jobs:
                job(now)
            due = self._clock() + INTERVAL
            await asyncio.sleep(INTERVAL)
            self.lateness.note(max(0.0, self._clock() - due))
