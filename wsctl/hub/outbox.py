"""The queue of one client that is behind."""

from collections import deque

from wsctl.frame import Batch, Encoding

CHUNK = 65536
"""Bytes handed to a socket at a time: enough to keep one busy for an iteration of the loop, and the most
that cannot be taken back when the client must be closed."""


class Outbox:
    """Batches in order, held by reference: one that waits for many clients exists once.

    Sizes are those of the form in which the client gets them.
    """

    __slots__ = ("_batches", "_encoding", "size")

    def __init__(self, encoding: Encoding = Encoding.PLAIN) -> None:
        self._encoding = encoding
        self._batches: deque[Batch] = deque()
        self.size = 0
        """Bytes that wait."""

    @property
    def messages(self) -> int:
        """Messages that wait."""
        return sum(batch.messages for batch in self._batches)

    def put(self, batch: Batch) -> None:
        """Append whole frames."""
        self._batches.append(batch)
        self.size += len(batch.encoded(self._encoding))

    def take(self) -> list[Batch]:
        """Take the next batches, about `CHUNK` bytes and at least one; none when nothing waits."""
        taken: list[Batch] = []
        room = CHUNK
        while self._batches:
            size = len(self._batches[0].encoded(self._encoding))
            if taken and size > room:
                break
            taken.append(self._batches.popleft())
            room -= size
        self.size -= CHUNK - room
        return taken

    def batches(self) -> list[Batch]:
        """Return everything that waits, which stays there."""
        return list(self._batches)

    def clear(self) -> None:
        """Drop everything that waits."""
        self._batches.clear()
        self.size = 0
