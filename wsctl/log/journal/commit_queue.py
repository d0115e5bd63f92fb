"""The queue of drafts between the event loop, which puts them in, and the writer thread, which takes all that
wait."""

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from wsctl.log.home import Key
from wsctl.log.journal.file import JournalFile

MOST_TOGETHER = 2048
"""Drafts of one commit. More do not make it faster, and fail together."""

MOST_BYTES_TOGETHER = 8 << 20
"""Bytes of one commit, and at least one draft."""


class QueuedDraft(NamedTuple):
    """A draft that waits: `ts` is when it was published, in Unix seconds, `body` its frame without an id,
    `deadline` when its publisher hears that it is late, `once` its idempotency key among those of all
    senders."""

    key: Key
    ts: float
    to: tuple[str, ...] | None
    body: bytes
    again: bool
    deadline: float
    topic: str | None = None
    once: str | None = None


Call = Callable[[JournalFile], None]
"""Something else to be done by the writer thread, between two commits."""


class CommitQueue:
    """The drafts that wait for the writer thread, in their order. The thread calls `next` and `leave`, the
    event loop the others, none of which waits for the disk."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._drafts: deque[QueuedDraft] = deque()
        self._calls: deque[Call] = deque()
        self._closing = False
        self._left = False

    def put(self, draft: QueuedDraft) -> None:
        with self._changed:
            self._drafts.append(draft)
            self._changed.notify()

    def ask(self, call: Call) -> None:
        """Have something else done by the thread."""
        with self._changed:
            self._calls.append(call)
            self._changed.notify()

    def withdraw(self, now: float = float("inf")) -> list[QueuedDraft]:
        """Take back the drafts whose deadline has come, unless the thread has them."""
        found: list[QueuedDraft] = []
        with self._changed:
            while self._drafts and self._drafts[0].deadline <= now:
                found.append(self._drafts.popleft())
        return found

    def reopen(self) -> bool:
        """Take `close` back; return whether the thread goes on. If not it has left, or is about to."""
        with self._changed:
            self._closing = False
            return not self._left

    def close(self) -> None:
        """Have the thread leave once nothing waits."""
        with self._changed:
            self._closing = True
            self._changed.notify()

    def next(self) -> list[QueuedDraft] | Call | None:
        """Wait for what the writer thread is to do next: drafts to write by one commit, or a call. None when
        it is to leave."""
        with self._changed:
            while not (self._calls or self._drafts or self._closing):
                self._changed.wait()
            if self._calls:
                return self._calls.popleft()
            if self._drafts:
                return self._take()
            self._left = True
            return None

    def enter(self) -> None:
        """Note that there is a writer thread."""
        self._left = self._closing = False

    def leave(self) -> None:
        """Note that the writer thread takes nothing more."""
        with self._changed:
            self._left = True

    def _take(self) -> list[QueuedDraft]:
        found: list[QueuedDraft] = []
        size = 0
        while self._drafts and len(found) < MOST_TOGETHER:
            size += len(self._drafts[0].body)
            if found and size > MOST_BYTES_TOGETHER:
                break
            found.append(self._drafts.popleft())
        return found
