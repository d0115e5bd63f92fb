"""Who should have received what, and who did. No I/O, no clock."""

from array import array

from wsctl.client.ranges import Ranges


class Ledger:
    """The messages of one run, sent in turn by clients which were all connected before the first one.

    A message is due to every client, whether connected at the moment or not, with one exception: nobody
    received it, and either its connection has ended, so that it may never have reached the server, or the
    server refuses its sender's messages. Those are unconfirmed. One that nobody received and whose
    connection lives on was lost: every client missed it.

    Memory: a range for each gap in what a client received, and four bytes for each message.

    Attributes:
        sent: messages handed to a connection; the next one's number.
        delivered: messages received, each counted once a client.
        duplicated: received by a client that had received it before.
        out_of_order: received after a later one of the same sender.
    """

    def __init__(self, clients: int) -> None:
        self.sent = 0
        self.delivered = 0
        self.duplicated = 0
        self.out_of_order = 0
        self._received = [Ranges() for _ in range(clients)]
        self._senders = array("I")
        self._confirmed = Ranges()
        self._unseen: list[set[int]] = [set() for _ in range(clients)]
        self._refused: set[int] = set()

    def send(self, sender: int) -> int:
        """A client is about to send; returns the message's number."""
        number = self.sent
        self.sent += 1
        self._senders.append(sender)
        if sender not in self._refused:
            self._unseen[sender].add(number)
        return number

    def receive(self, client: int, number: int) -> bool:
        """A client received a message that was sent; False when it had it already."""
        received = self._received[client]
        latest = received.end
        if not received.add(number):
            self.duplicated += 1
            return False
        self.delivered += 1
        sender = self._senders[number]
        if self._confirmed.add(number):
            self._unseen[sender].discard(number)
        later = range(number + 1, latest)
        self.out_of_order += any(self._senders[n] == sender and n in received for n in later)
        return True

    def disconnect(self, client: int) -> None:
        """A client's connection ended: what nobody has received of it may never have arrived."""
        self._unseen[client].clear()

    def refuse(self, client: int) -> None:
        """The server said that it refuses messages of a client; it does not say which."""
        self._refused.add(client)
        self._unseen[client].clear()

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
        """What was missed of the messages before this one; costs a step for each client."""
        received = sum(ranges.below(number) for ranges in self._received)
        return self._due(number) * len(self._received) - received

    def _due(self, limit: int) -> int:
        unseen = sum(sum(number < limit for number in numbers) for numbers in self._unseen if numbers)
        return self._confirmed.below(limit) + unseen
