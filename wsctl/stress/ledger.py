"""The messages of a run that are due, and those that were received. No I/O, no clock."""

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator
from typing import Protocol


class Numbers(Protocol):
    """A set of whole numbers."""

    def __contains__(self, number: int) -> bool: ...


class Ranges:
    """A set of whole numbers that mostly come in order, as half-open ranges: memory grows with the gaps, not
    with the numbers."""

    __slots__ = ("_ends", "_size", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number)
        return at > 0 and number < self._ends[at - 1]

    @property
    def end(self) -> int:
        """The largest number plus one; 0 when there is none."""
        return self._ends[-1] if self._ends else 0

    def add(self, number: int) -> bool:
        """Put a number in; False when it was there."""
        starts, ends = self._starts, self._ends
        if ends and number == ends[-1]:
            ends[-1] += 1
        else:
            at = bisect_right(starts, number)
            if at and number < ends[at - 1]:
                return False
            self._insert(at, number)
        self._size += 1
        return True

    def below(self, limit: int) -> int:
        """Return how many numbers are less than `limit`. Looks at the ranges that are not, from the top."""
        count = self._size
        for start, end in zip(reversed(self._starts), reversed(self._ends), strict=True):
            if end <= limit:
                break
            count -= end - max(start, limit)
        return count

    def spans(self, limit: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges as far as they are less than `limit`."""
        for start, end in zip(self._starts, self._ends, strict=True):
            if start >= limit:
                return
            yield start, min(end, limit)

    def _insert(self, at: int, number: int) -> None:
        """Put a new number before range `at`, and join what it makes adjacent."""
        starts, ends = self._starts, self._ends
        left = at > 0 and ends[at - 1] == number
        right = at < len(starts) and starts[at] == number + 1
        if left and right:
            ends[at - 1] = ends.pop(at)
            del starts[at]
        elif left:
            ends[at - 1] += 1
        elif right:
            starts[at] = number
        else:
            starts.insert(at, number)
            ends.insert(at, number + 1)


class Ledger:
    """The messages of one run, sent in turn by clients which were all connected before the first one.

    A message is due to every client, whether connected at the moment or not, with one exception: nobody
    received it, and either its connection has ended, so that it may never have reached the server, or the
    server refuses its sender's messages at the time. Those are unconfirmed. One that nobody received and
    whose connection lives on was lost: every client missed it.

    In order means two things: no message before an earlier one of its sender, and no two clients that
    received messages in different orders. The witness of the second is the order in which messages were
    received for the first time by anybody: a client that has every message has received them in that
    order. One that missed some can make it another order than the server's, so that a run in which
    messages were missed may find more out of order than were; a run without fault never does.

    Memory: a range for each gap in what a client received, and eight bytes for each message.

    Attributes:
        sent: messages handed to a connection; the next one's number.
        delivered: messages received, each counted once a client.
        duplicated: received by a client that had received it before.
        out_of_order: received after one that should have come later.
        not_subscribed: received by a client that should not get it, which none is here.
    """

    def __init__(self, clients: int) -> None:
        self.sent = 0
        self.delivered = 0
        self.duplicated = 0
        self.out_of_order = 0
        self.not_subscribed = 0
        self._received = [Ranges() for _ in range(clients)]
        self._senders = array("I")
        # The place of a message is 0 until somebody has received it; a client's is its latest message's.
        self._places = array("I")
        self._reached = array("I", [0]) * clients
        self._confirmed = Ranges()
        self._unseen: list[set[int]] = [set() for _ in range(clients)]
        self._refused: defaultdict[int, set[str]] = defaultdict(set)

    def send(self, sender: int) -> int:
        """Enter a message that a client is about to send; returns its number."""
        number = self.sent
        self.sent += 1
        self._senders.append(sender)
        self._places.append(0)
        if not self._refused.get(sender):
            self._unseen[sender].add(number)
        return number

    def receive(self, client: int, number: int, order: tuple[int, ...] | None = None) -> bool:
        """Enter that a client received a message that was sent; False when the client had it already. Which
        place its id has in an `order` is not looked at."""
        received = self._received[client]
        end = received.end
        if not received.add(number):
            self.duplicated += 1
            return False
        self.delivered += 1
        place = self._places[number] or self._confirm(number)
        if place > self._reached[client]:
            self._reached[client] = place
            self.out_of_order += number + 1 < end and self._overtaken(received, number, end)
        else:
            self.out_of_order += 1
        return True

    def disconnect(self, client: int) -> None:
        """Enter that a client's connection ended, or that its server does not know what became of its
        messages: those that nobody has received may never have arrived."""
        self._unseen[client].clear()

    def refuse(self, client: int, reason: str) -> None:
        """Enter that the server said that it refuses messages of a client; it does not say which."""
        self._refused[client].add(reason)
        self._unseen[client].clear()

    def acknowledge(self, number: int) -> None:
        """Enter that the server said that it has a message. Nothing depends on it: it comes to its sender."""

    def reject(self, number: int) -> None:
        """Enter that the server said that it did not take a message, or does not know."""
        self._unseen[self._senders[number]].discard(number)

    def accept(self, client: int, reason: str) -> None:
        """Enter that the server said that the reason to refuse messages of a client is over."""
        self._refused[client].discard(reason)

    @property
    def expected(self) -> int:
        """Deliveries that are due."""
        return self._due(self.sent) * len(self._received)

    @property
    def missed(self) -> int:
        """Deliveries that are due and have not happened."""
        return self.expected - self.delivered

    @property
    def unconfirmed(self) -> int:
        """Messages that nobody received and that are not due."""
        return self.sent - self._due(self.sent)

    def missed_below(self, number: int) -> int:
        """Count the missed deliveries of the messages before this one; costs a step for each client."""
        received = sum(ranges.below(number) for ranges in self._received)
        return self._due(number) * len(self._received) - received

    def _confirm(self, number: int) -> int:
        """Enter that the server has a message, for somebody received it; returns its place."""
        self._confirmed.add(number)
        self._unseen[self._senders[number]].discard(number)
        self._places[number] = place = len(self._confirmed)
        return place

    def _overtaken(self, received: Numbers, number: int, end: int) -> bool:
        """Tell whether a later message of the same sender was received before this one."""
        sender = self._senders[number]
        return any(self._senders[n] == sender and n in received for n in range(number + 1, end))

    def _due(self, limit: int) -> int:
        unseen = sum(sum(number < limit for number in numbers) for numbers in self._unseen if numbers)
        return self._confirmed.below(limit) + unseen
