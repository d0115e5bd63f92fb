"""The messages of a run with topics: each is due to the subscribers of its topic, and to nobody else. No I/O,
no clock."""

from collections.abc import Collection, Iterator, Sequence
from itertools import accumulate

from wsctl.stress.ledger import Ledger, Ranges


class Stripes:
    """A set of whole numbers, of which mostly all come that leave the same remainders: ranges for each
    remainder of the division by `count`."""

    __slots__ = ("_count", "_of", "end")

    def __init__(self, count: int) -> None:
        self._count = count
        self._of: dict[int, Ranges] = {}
        self.end = 0

    def __contains__(self, number: int) -> bool:
        ranges = self._of.get(number % self._count)
        return ranges is not None and number // self._count in ranges

    def add(self, number: int) -> bool:
        """Put a number in; False when it was there."""
        self.end = max(self.end, number + 1)
        return self._of.setdefault(number % self._count, Ranges()).add(number // self._count)

    def below(self, limit: int) -> int:
        """Return how many numbers are less than `limit`."""
        return sum(
            ranges.below((limit - remainder + self._count - 1) // self._count)
            for remainder, ranges in self._of.items()
        )


class TopicLedger(Ledger):
    """The messages of a run with topics, which have them in turn: message n has the topic n modulo their
    number.

    As for `Ledger`, but a message is due to the clients in `subscribers` at its topic, and its sender may
    learn that the server has it, or does not. In order means: no message before an earlier one of its sender,
    and to each client in the order of the ids, which is one order for all topics.

    Attributes:
        not_subscribed: received by a client that does not subscribe to its topic.
    """

    def __init__(self, clients: int, subscribers: Sequence[Collection[int]]) -> None:
        super().__init__(clients)
        self._subscribers = [frozenset(one) for one in subscribers]
        self._stripes = [Stripes(len(subscribers)) for _ in range(clients)]
        self._ids: list[tuple[int, ...]] = [()] * clients
        self._acknowledged: set[int] = set()
        # How many deliveries the first so many topics have.
        self._sums = [0, *accumulate(len(one) for one in self._subscribers)]

    def receive(self, client: int, number: int, order: tuple[int, ...] | None = None) -> bool:
        """Enter that a client received a message that was sent, whose id has this place in the order; False
        when it had it already, or should not have it."""
        if client not in self._subscribers[number % len(self._subscribers)]:
            self.not_subscribed += 1
            return False
        received = self._stripes[client]
        end = received.end
        if not received.add(number):
            self.duplicated += 1
            return False
        self.delivered += 1
        if not self._places[number]:
            self._confirm(number)
        late = order is not None and order <= self._ids[client]
        if order is not None and not late:
            self._ids[client] = order
        self.out_of_order += late or (number + 1 < end and self._overtaken(received, number, end))
        return True

    def acknowledge(self, number: int) -> None:
        """Enter that the server said that it has a message: it is due, whatever becomes of the connection."""
        if not self._places[number]:
            self._unseen[self._senders[number]].discard(number)
            self._acknowledged.add(number)

    @property
    def expected(self) -> int:
        return self._deliveries(self.sent)

    def missed_below(self, number: int) -> int:
        return self._deliveries(number) - sum(stripes.below(number) for stripes in self._stripes)

    def _confirm(self, number: int) -> int:
        self._acknowledged.discard(number)
        return super()._confirm(number)

    def _due(self, limit: int) -> int:
        return super()._due(limit) + sum(number < limit for number in self._acknowledged)

    def _deliveries(self, limit: int) -> int:
        """Count the deliveries of the messages before this one."""
        of_ranges = sum(self._sum(end) - self._sum(start) for start, end in self._confirmed.spans(limit))
        return of_ranges + sum(self._audience(number) for number in self._unconfirmed_due(limit))

    def _unconfirmed_due(self, limit: int) -> Iterator[int]:
        for numbers in (*self._unseen, self._acknowledged):
            yield from (number for number in numbers if number < limit)

    def _sum(self, limit: int) -> int:
        """Count the deliveries of all messages before this one, due or not."""
        rounds, rest = divmod(limit, len(self._subscribers))
        return rounds * self._sums[-1] + self._sums[rest]

    def _audience(self, number: int) -> int:
        return len(self._subscribers[number % len(self._subscribers)])
