"""A condition that several tasks wait for."""

import asyncio
from collections.abc import Callable


class Condition:
    """A condition without a lock, for the tasks of one event loop. Whoever changes what tasks wait for calls
    `notify_all`."""

    def __init__(self) -> None:
        self._event: asyncio.Event | None = None  # where nobody waits, to notify costs next to nothing

    async def wait(self) -> None:
        """Wait until the next `notify_all`."""
        self._event = self._event or asyncio.Event()
        await self._event.wait()

    async def wait_for(self, true: Callable[[], bool], patience: float | None = None) -> bool:
        """Wait until `true` returns True, which is asked now and after each `notify_all`; return what it said
        last. The `patience` is in seconds; None has no end."""
        try:
            async with asyncio.timeout(patience):
                while not true():
                    await self.wait()
        except TimeoutError:
            return true()
        return True

    def notify_all(self) -> None:
        """End every `wait` that is under way."""
        if self._event:
            self._event.set()
            self._event = None
