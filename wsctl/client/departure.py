"""The departure of a client at the moment that its server has asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

LONGEST = 7 * 86400.0
"""Seconds ahead that a departure may be planned: longer than any drain. A larger number is not meant, and
the largest ones no timer takes."""


class Departure:
    """The plan to leave one connection, made and changed by the `shutdown` frames on it.

    Attributes:
        begun: the moment has come; there is no way back.
    """

    def __init__(
        self, leave: Callable[[], Awaitable[None]], sleep: Callable[[float], Awaitable[None]]
    ) -> None:
        self.begun = False
        self._leave = leave
        self._sleep = sleep
        self._task: asyncio.Task[None] | None = None

    def hear(self, frame: dict[str, Any]) -> None:
        """Take a `shutdown` frame: plan the moment, move it, or forget it when the drain was cancelled. A
        frame that only moves the deadline changes nothing."""
        match frame:
            case {"deadline_s": None}:
                self._forget()
            case {"reconnect_in_s": int() | float() as seconds} if 0 <= seconds <= LONGEST:
                self._forget()
                if not self.begun:
                    self._task = asyncio.create_task(self._after(seconds))

    def cancel(self) -> None:
        """Cancel the plan: the connection is gone."""
        if self._task:
            self._task.cancel()

    def _forget(self) -> None:
        if not self.begun:
            self.cancel()

    async def _after(self, seconds: float) -> None:
        await self._sleep(seconds)
        self.begun = True
        await self._leave()
