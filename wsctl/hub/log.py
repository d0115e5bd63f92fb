"""Where a message gets its id, and with it its place in the one order of all messages."""

import time
from collections.abc import Callable
from typing import Any

from wsctl.messages import Message


class MessageLog:
    """The messages of one process.

    An id is `MILLISECONDS-SEQUENCE`, the form of a Redis stream's: ids of a later process are
    larger, and one that this process never gave can be told from one that it did.

    Attributes:
        published: messages appended since the start.
    """

    def __init__(self, deliver: Callable[[Message], None], wall: Callable[[], float] = time.time) -> None:
        self._deliver = deliver
        self._wall = wall
        self._ms = int(wall() * 1000)
        self._sequence = 0
        self.published = 0

    @property
    def newest(self) -> str:
        """The newest message's id; before the first one, an id that lies before it."""
        return f"{self._ms}-{self._sequence}"

    def append(self, sender: str, data: Any, to: tuple[str, ...] | None = None) -> Message:
        """Give the message its id and hand it to the connections, in id order.

        Raises:
            ValueError: the data is not JSON.
        """
        ts = self._wall()
        before = self._ms, self._sequence
        ms = int(ts * 1000)
        # A clock that was set back must not reorder ids.
        self._ms, self._sequence = (ms, 0) if ms > self._ms else (self._ms, self._sequence + 1)
        message = Message(self.newest, ts, sender, data, to)
        try:
            self._deliver(message)
        except ValueError:
            self._ms, self._sequence = before
            raise
        self.published += 1
        return message
