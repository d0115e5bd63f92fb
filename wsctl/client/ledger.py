"""The account of messages that are due and that were received. No I/O, no clock."""

from array import array
from collections import defaultdict

from wsctl.client.ranges import Ranges


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
    """

    def __init__(self, clients: int) -> None:
        self.sent = 0
        self.delivered = 0
        self.duplicated = 0
        self.out_of_order = 0
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

    def receive(self, client: int, number: int) -> bool:
        """Enter that a client received a message that was sent; False when the client had it already."""
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

    def _overtaken(self, received: Ranges, number: int, end: int) -> bool:
        """Tell whether a later message of the same sender was received before this one."""
        sender = self._senders[number]
        return any(self._senders[n] == sender and n in received for n in range(number + 1, end))

    def _due(self, limit: int) -> int:
        unseen = sum(sum(number < limit for number in numbers) for numbers in self._unseen if numbers)
        return self._confirmed.below(limit) + unseen
