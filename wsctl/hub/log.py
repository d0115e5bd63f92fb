"""Where a message gets its id, and with it its place in the one order of all messages."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from wsctl import messages
from wsctl.hub.frame import Batch
from wsctl.hub.history import Entry, History, MessageId

Receipt = Callable[[str, int], None]
"""Called with a message's id and how many clients it was sent to."""


class Draft(NamedTuple):
    """A message that has no id yet; `to` is None for everyone."""

    sender: str
    data: Any
    to: tuple[str, ...] | None = None


class MessageLog:
    """The messages of one server.

    An id is `MILLISECONDS-SEQUENCE`, the form of a Redis stream's: ids of a later process are
    larger, and one that this process never gave can be told from one that it did.

    A log that follows gives no ids: what is appended goes to the log that it follows, and comes back
    through `take` with everything else, in the order of that one.

    Attributes:
        history: what can be resumed after.
        published: messages that got their place since the start.
        tap: is told of each message after the clients of this process were sent it, and to how many;
            returns to how many it goes elsewhere.
    """

    def __init__(
        self,
        deliver: Callable[[Entry], int],
        most: int = 0,
        most_bytes: int = 0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._deliver = deliver
        self._wall = wall
        self._position: MessageId = (int(wall() * 1000), 0)
        self._forward: Callable[[Draft], None] | None = None
        self._forwarded: deque[tuple[Draft, Receipt | None]] = deque()
        self.history = History(self._position, most, most_bytes)
        self.published = 0
        self.tap: Callable[[Entry, int], int] | None = None

    @property
    def newest(self) -> str:
        """The newest message's id; before the first one, an id that lies before it."""
        return _written(self._position)

    @property
    def position(self) -> MessageId:
        return self._position

    def append(
        self, sender: str, data: Any, to: tuple[str, ...] | None = None, receipt: Receipt | None = None
    ) -> None:
        """Give the message its id and hand it to the connections, in id order.

        Raises:
            ValueError: the data is not JSON.
        """
        if self._forward:
            draft = Draft(sender, data, to)
            self._forward(draft)
            self._forwarded.append((draft, receipt))
            return
        ts = self._wall()
        ms, (last_ms, last_sequence) = int(ts * 1000), self._position
        # A clock that was set back must not reorder ids.
        position = (ms, 0) if ms > last_ms else (last_ms, last_sequence + 1)
        payload = messages.message(messages.Message(_written(position), ts, sender, data, to))
        recipients = self._keep(Entry(position, Batch((payload,)), to))
        if receipt:
            receipt(self.newest, recipients)

    def take(self, entry: Entry, recipients: int, *, own: bool) -> None:
        """While following: a message has got its place, and is for so many clients; `own` is the one that was
        forwarded longest ago."""
        self._keep(entry)
        receipt = self._forwarded.popleft()[1] if own else None
        if receipt:
            receipt(self.newest, recipients)

    def after(self, since: str, client_id: str) -> list[Batch] | None:
        """What a client missed that has seen the message `since`; None when that cannot be told."""
        seen = _read(since)
        found = None if seen is None else self.history.since(seen)
        return None if found is None else [entry.batch for entry in found if entry.is_for(client_id)]

    def follow(self, forward: Callable[[Draft], None]) -> None:
        """Give no ids from here on. `forward` raises ValueError for data that is not JSON."""
        self._forward = forward

    def lead(self) -> None:
        """Give ids (again). What was forwarded and did not come back gets its place now."""
        self._forward = None
        lost, self._forwarded = self._forwarded, deque()
        for draft, receipt in lost:
            self.append(*draft, receipt)

    def restore(self, position: MessageId, floor: MessageId, entries: Sequence[Entry]) -> None:
        """Go on where another log of this server stands, before anything was appended."""
        self._position = position
        self.history.restore(floor, entries)

    def _keep(self, entry: Entry) -> int:
        self._position = entry.id
        self.history.add(entry)
        self.published += 1
        recipients = self._deliver(entry)
        return recipients + (self.tap(entry, recipients) if self.tap else 0)


def _written(message_id: MessageId) -> str:
    return f"{message_id[0]}-{message_id[1]}"


def _read(text: str) -> MessageId | None:
    ms, dash, sequence = text.partition("-")
    valid = dash and ms.isdecimal() and sequence.isdecimal() and text.isascii()
    found = (int(ms), int(sequence)) if valid else None
    # One spelling an id: 007-1 is none.
    return found if found and _written(found) == text else None
