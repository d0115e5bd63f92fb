"""The window of all batches that backends publish at one process: how many lines the log may have without an
answer, and which batch gives it the next ones.

A home of the log that is elsewhere answers a line when the line comes back from there, behind all that was
given to it before. More lines under way than it answers at once only wait, and everything else waits behind
them: single messages, and what processes ask each other. So the window becomes smaller when answers are late.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

from wsctl.server.condition import Condition

LINES_TOGETHER = 128
"""Lines that are published in one iteration of the event loop, some milliseconds of it."""

LINES_UNANSWERED = 1_024
"""The largest window: enough for a commit of a journal, or a round trip to Redis, at full speed."""

LEAST_UNANSWERED = 32
"""The smallest window: where even these are late, it is not for the number of lines."""

LATE = 0.5
"""Seconds after which an answer is late: half of what a message has until it counts as unconfirmed."""

REST = 3
"""The rest behind each group during an upgrade, as a multiple of the time that its answers took: publishing
then takes a quarter of what it can take, and the processes that start get the others."""

LONGEST_REST = 0.5
"""Seconds of the longest rest: an answer may also be late for another reason than load."""


class _Group(NamedTuple):
    """Lines that were given together: how many there were with all before them, and when that was."""

    last: int
    given_at: float


class BatchWindow:
    """The window of one process. During an upgrade, of which `is_upgrading` tells, only one group of lines is
    under way at a time, with a rest behind each."""

    def __init__(
        self,
        is_upgrading: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._is_upgrading = is_upgrading
        self._clock = clock
        self._sleep = sleep
        self._turn = asyncio.Lock()
        self._changed = Condition()
        self._groups: deque[_Group] = deque()
        self._given = self._answered = 0
        self._reduced_at = float("-inf")
        self.size = LINES_UNANSWERED

    @property
    def unanswered(self) -> int:
        """The lines that the log has not answered."""
        return self._given - self._answered

    @property
    def is_free(self) -> bool:
        """True if lines can be given at once: no batch waits for its turn."""
        return not self._turn.locked() and self._has_room() and not self._is_upgrading()

    @property
    def together(self) -> int:
        """The lines that a batch may give in its turn."""
        return min(LINES_TOGETHER, self.size)

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[int]:
        """Wait for the turn of a batch, in the order in which they ask; yield how many lines it may give."""
        async with self._turn:
            await self._changed.wait_for(self._has_room)
            began = self._clock()
            yield self.together
            if self._is_upgrading():
                await self._changed.wait_for(lambda: not self.unanswered)
                await self._sleep(min(REST * (self._clock() - began), LONGEST_REST))

    def now(self) -> float:
        """Return the moment for `give`."""
        return self._clock()

    def give(self, count: int, began: float) -> None:
        """Note that so many lines were given to the log, the first of them when it `began`; some may have
        been answered meanwhile."""
        self._given += count
        self._groups.append(_Group(self._given, began))
        self._check_answered()

    def answered(self) -> None:
        """Note that the log has answered one line."""
        self._answered += 1
        if self._groups:  # or else they are answered at once, and this is called for each line
            self._check_answered()

    def _check_answered(self) -> None:
        while self._groups and self._groups[0].last <= self._answered:
            self._adapt(self._groups.popleft())
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self.unanswered + self.together <= self.size

    def _adapt(self, group: _Group) -> None:
        """Change the size by how long the answers to a group took. Those that were under way when the window
        became smaller do not make it smaller once more."""
        now = self._clock()
        if now - group.given_at < LATE:
            self.size = min(self.size + self.together, LINES_UNANSWERED)
        elif group.given_at >= self._reduced_at:
            self.size, self._reduced_at = max(self.size // 2, LEAST_UNANSWERED), now
