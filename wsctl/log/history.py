"""The newest messages, kept for clients that come back, and what one of these missed."""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

from wsctl.frame import Batch
from wsctl.messages import addressed

MessageId = tuple[int, int]
"""Milliseconds and sequence number: ids compare as they are ordered."""

_id = attrgetter("id")


class Entry(NamedTuple):
    """One message as it is sent; `to` is None for everyone, `topic` for all topics at once."""

    id: MessageId
    batch: Batch
    to: tuple[str, ...] | None
    topic: str | None = None

    def is_for(self, client_id: str) -> bool:
        return self.to is None or client_id in self.to

    @property
    def is_same_for_all(self) -> bool:
        """True if all recipients get the same frame."""
        return self.to is None or len(self.to) == 1

    def each(self) -> Callable[[str], Batch]:
        """Return a function that returns the frame of each recipient. Frames that differ are not
        compressed."""
        if self.to is None or self.is_same_for_all:
            same = self.batch.copy()
            return lambda client_id: same
        (payload,) = self.batch.payloads
        made = addressed(payload, self.to)
        return lambda client_id: Batch((made(client_id),), plain=True)


class History:
    """At most `most` messages and `most_bytes` of their frames; 0 of either keeps none.

    Attributes:
        most, most_bytes: the bounds.
        floor: the id behind which everything is kept.
        bytes: the size of the frames kept.
        is_full_of_bytes: whether the last one was dropped for the size of all, and not for their number.
    """

    def __init__(self, floor: MessageId, most: int, most_bytes: int) -> None:
        self.floor = floor
        self.bytes = 0
        self.most = most
        self.most_bytes = most_bytes
        self._entries: deque[Entry] = deque()
        self._ends: deque[int] = deque()
        self._added = 0
        self._held = False
        self.is_full_of_bytes = False

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Keep a message that is newer than all before it, and let go of the oldest above the bounds."""
        self._entries.append(entry)
        self.bytes += len(entry.batch.wire)
        self._added += len(entry.batch.wire)
        self._ends.append(self._added)
        if not self._held:
            self._trim()

    def since(self, seen: MessageId) -> list[Entry] | None:
        """Return the messages after the message `seen`, oldest first; None when they are not known, because
        that id was never given, or is further back than what is kept."""
        if seen < self.floor:
            return None
        entries = self._entries
        at = bisect_right(entries, seen, key=_id)
        known = entries[at - 1].id if at else self.floor
        return list(islice(entries, at, None)) if known == seen else None

    def size(self, count: int) -> int:
        """Return the bytes of the newest `count` messages."""
        return self.bytes if count == len(self._ends) else self._added - self._ends[-1 - count]

    def hold(self, held: bool) -> None:
        """Drop nothing while `held`, whatever the bounds."""
        self._held = held
        if not held:
            self._trim()

    def entries(self) -> list[Entry]:
        """Return everything kept, oldest first."""
        return list(self._entries)

    def restore(self, floor: MessageId, entries: Iterable[Entry]) -> None:
        """Replace what is kept by what another history kept."""
        self.floor = floor
        self.bytes = 0
        self._entries.clear()
        self._ends.clear()
        for entry in entries:
            self.add(entry)

    def _trim(self) -> None:
        while self._entries and (len(self._entries) > self.most or self.bytes > self.most_bytes):
            self.is_full_of_bytes = len(self._entries) <= self.most
            oldest = self._entries.popleft()
            self._ends.popleft()
            self.floor = oldest.id
            self.bytes -= len(oldest.batch.wire)


class Missed:
    """Messages of history for one client, oldest first, which are looked at when they are taken.

    Attributes:
        bytes: the bytes that are left at most.
        lead: bytes that go before the first of them.
    """

    def __init__(self, entries: Sequence[Entry], client_id: str, size: int) -> None:
        self._entries = entries
        self._client_id = client_id
        self._next = 0
        self.bytes = size
        self.lead = b""

    def __len__(self) -> int:
        """Return how many messages are left at most."""
        return len(self._entries) - self._next

    def __iter__(self) -> Iterator[Batch]:
        while self:
            yield from self.take(self.bytes or 1)

    def take(self, room: int) -> list[Batch]:
        """Return the next messages, from about `room` bytes of history; at least one message of it is looked
        at."""
        found: list[Batch] = []
        begun = self._next
        while self:
            entry = self._entries[self._next]
            size = len(entry.batch.wire)
            if size > room and self._next > begun:
                break
            self._next += 1
            room -= size
            self.bytes -= size
            if entry.is_for(self._client_id):
                found.append(entry.batch if entry.is_same_for_all else entry.each()(self._client_id))
        if not self:
            self.bytes = 0
        return found
