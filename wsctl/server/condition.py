"""A condition that several tasks wait for."""

import asyncio


class Condition:
    """A condition without a lock, for the tasks of one event loop: each `wait` ends with the next
    `notify_all`."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    async def wait(self) -> None:
        await self._event.wait()

    def notify_all(self) -> None:
        """End every `wait` that is under way."""
        self._event.set()
        self._event = asyncio.Event()
