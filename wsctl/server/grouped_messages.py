"""Messages that come one by one during an upgrade: all that came while the last ones rested are published
together, so that a flood of them takes no more of the CPU than one of batches."""

import asyncio
from collections.abc import Callable

from wsctl.server.batch_window import BatchWindow

Answered = Callable[[], None]
"""A function that is called when the log has answered a message."""


class GroupedMessages:
    """The messages of one process that wait for the next group. `window` is theirs alone: they wait for no
    batch."""

    def __init__(self, window: BatchWindow) -> None:
        self._window = window
        self._waiting: list[Callable[[Answered], None]] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def is_needed(self) -> bool:
        """True if a message is not to be published by itself: an upgrade is under way, or others wait."""
        return self._task is not None or self._window.is_upgrading()

    def add(self, publish: Callable[[Answered], None]) -> None:
        """Have a message published with the next group: by `publish`, which must not raise, and calls what it
        is given once the log has answered."""
        self._waiting.append(publish)
        if self._task is None:
            self._task = asyncio.create_task(self._publish_groups())

    async def _publish_groups(self) -> None:
        try:
            while self._waiting:
                async with self._window.turn():
                    began, group = self._window.now(), self._waiting
                    self._waiting = []
                    for publish in group:
                        publish(self._window.answered)
                    self._window.give(len(group), began)
        finally:
            self._task = None
