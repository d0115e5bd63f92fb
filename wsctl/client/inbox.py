"""What waits for a program that reads at its own speed: in order, and not more than so much."""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from wsctl.client.stream_state import Item

MAX_WAITING = 100
"""Messages and events that wait for a program: enough that a pause of its own does not hold up the
connection, and 6.4 MB at most where a server keeps to its default for the longest message."""


class InboxEnded(Exception):
    """An attempt to take something where nothing more will come."""


class Inbox:
    """A bounded queue with one writer and one reader.

    The law: what is put comes out in order, nothing twice, and what a reader had not yet taken when it was
    cancelled is there for the next one. A full inbox makes the writer wait.
    """

    def __init__(self, limit: int = MAX_WAITING) -> None:
        self._limit = limit
        self._items: deque[Item] = deque()
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._closed = False
        self._ended = False
        self._opened_wide = 0

    @property
    def full(self) -> bool:
        """True if the writer has to wait."""
        return len(self._items) >= self._limit

    @property
    def waiting(self) -> int:
        """The number of items that wait."""
        return len(self._items)

    async def put(self, item: Item) -> None:
        """Add an item, when there is room for it. Into a closed inbox nothing is put."""
        while self.full and not (self._closed or self._opened_wide):
            self._room.clear()
            await self._room.wait()
        if not self._closed:
            self._items.append(item)
            self._news.set()

    async def get(self) -> Item:
        """Take the first item, waited for.

        Raises:
            InboxEnded: there is none and will be none.
        """
        while not self._items:
            if self._ended or self._closed:
                raise InboxEnded
            self._news.clear()
            await self._news.wait()
        item = self._items.popleft()
        self._room.set()
        return item

    @contextmanager
    def unlimited(self) -> Iterator[None]:
        """Take everything meanwhile: the reader waits for something that stands behind it."""
        self._opened_wide += 1
        self._room.set()
        try:
            yield
        finally:
            self._opened_wide -= 1

    def end(self) -> None:
        """Note that nothing more will be put; what is there can be taken."""
        self._ended = True
        self._news.set()

    def close(self) -> None:
        """Drop what is there and what will be put: nobody wants it any more."""
        self._closed = True
        self._items.clear()
        self._news.set()
        self._room.set()
