"""When and to which server a client connects again."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from wsctl.client.target import Target

FIRST_PAUSE = 0.5
"""Longest first pause in seconds: a server that restarts is back within it."""

LONGEST_PAUSE = 30.0
"""Longest pause in seconds, however often it failed."""

FARTHEST = 7 * 86400.0
"""Seconds ahead that a reconnect may be scheduled: longer than any drain. A larger number is not meant, and
the largest ones no timer takes."""


class Backoff:
    """Exponential backoff with full jitter: each pause is drawn between nothing and a doubling ceiling.

    The draw over the whole range is what spreads a crowd that was cut off at one moment: "Exponential
    Backoff And Jitter", AWS Architecture Blog, 2015.
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._ceiling = FIRST_PAUSE

    def pause(self) -> float:
        """Return the seconds to wait now; the next call's ceiling is twice this one's."""
        seconds = self._uniform(0.0, self._ceiling)
        self._ceiling = min(LONGEST_PAUSE, 2 * self._ceiling)
        return seconds

    def reset(self) -> None:
        """Start over after a success: the next pause is a first one again."""
        self._ceiling = FIRST_PAUSE


class Failover:
    """A client's own server, and behind it the others, in the order in which they are tried when it does
    not take the client: what a load balancer does.

    Attributes:
        target: the server of the next attempt, and of the connection that it has led to.
    """

    def __init__(self, own: Target, others: Sequence[Target] = ()) -> None:
        self._targets = (own, *others)
        self._at = 0

    @property
    def target(self) -> Target:
        return self._targets[self._at]

    def reset(self) -> None:
        """Go back to the client's own server: a connection which a server had taken is over."""
        self._at = 0

    def advance(self) -> bool:
        """Go on to the next server, as this one did not take the client. Returns whether that one has not
        been asked yet, so that there is no need to wait."""
        self._at = (self._at + 1) % len(self._targets)
        return self._at > 0


class ReconnectSchedule:
    """The schedule to leave one connection and connect again, set and changed by the `shutdown` frames on it.

    Attributes:
        started: True once the moment has come: there is no way back.
    """

    def __init__(
        self, disconnect: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.started = False
        self._disconnect = disconnect
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def update(self, frame: dict[str, Any]) -> None:
        """Take a `shutdown` frame: set the moment, move it, or drop it when the drain was cancelled. A frame
        that only moves the deadline changes nothing."""
        match frame:
            case {"deadline_s": None}:
                self._drop()
            case {"reconnect_in_s": int() | float() as seconds} if 0 <= seconds <= FARTHEST:
                self._drop()
                if not self.started:
                    self._task = asyncio.create_task(self._disconnect_after(seconds))

    def cancel(self) -> None:
        """Cancel the schedule: the connection is gone."""
        if self._task:
            self._task.cancel()

    def _drop(self) -> None:
        if not self.started:
            self.cancel()

    async def _disconnect_after(self, seconds: float) -> None:
        await self._sleep(seconds)
        self.started = True
        await self._disconnect()
