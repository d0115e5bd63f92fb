"""One order of messages, which all witnesses must have seen alike. No I/O."""

from bisect import bisect_right

from wsctl.log.message_log import read_id

MessageId = tuple[int, int]


class Ledger:
    """The messages since the last `settle`, in the order in which the first witness to see each saw them.

    A message is due to every witness, but for those that lie before what a witness was told that it has lost.
    Each is told by its place among them.

    Attributes:
        published: messages that some witness has seen.
        received: messages seen, each once a witness.
        excused: messages that a witness did not get, and was told of it.
    """

    def __init__(self, witnesses: int) -> None:
        self.published = self.received = self.excused = 0
        self._order: list[tuple[MessageId, object]] = []
        self._data: dict[MessageId, object] = {}
        self._accepted: dict[MessageId, object] = {}
        self._next = [0] * witnesses
        self._lost: list[MessageId] = [(0, 0)] * witnesses
        self._newest: MessageId = (0, 0)

    def receive(self, witness: int, message: str, data: object) -> str | None:
        """A witness has got a message; returns what is wrong with that."""
        found = read_id(message)
        if found is None:
            return f"witness {witness} got a message with the id {message!r}"
        self.received += 1
        self._skip_lost(witness)
        at = self._next[witness]
        if at == len(self._order):
            return self._first(witness, found, data)
        expected, known = self._order[at]
        if found == expected:
            self._next[witness] += 1
            return None if data == known else f"witness {witness} got another {message} than others"
        return self._other(witness, found, at)

    def lose(self, witness: int, newest: str) -> None:
        """A witness was told that it may have lost what lies up to this message."""
        self._lost[witness] = read_id(newest) or (0, 0)

    def accept(self, message: str, data: object) -> str | None:
        """A server has answered for a message; returns what is wrong with that."""
        found = read_id(message)
        if found is None:
            return f"the server called {data!r} {message!r}"
        seen = self._data.get(found)
        if seen is None:
            self._accepted[found] = data
        elif seen != data:
            return f"the server answered {message} to {data!r}, and sent {seen!r} as that"
        return None

    @property
    def level(self) -> bool:
        """Whether every witness has seen everything that any of them has, and all that was answered for."""
        for witness in range(len(self._next)):
            self._skip_lost(witness)
        self._forgive()
        return not self._accepted and all(at == len(self._order) for at in self._next)

    def settle(self) -> list[str]:
        """Nothing more is on its way: what is wrong by now. Everything until here is forgotten."""
        _ = self.level
        faults = [
            f"witness {witness} missed {len(self._order) - at} messages, the first of them {self._order[at]}"
            for witness, at in enumerate(self._next)
            if at < len(self._order)
        ]
        faults += [f"nobody got {data!r}, which is {found}" for found, data in self._accepted.items()]
        self._order.clear()
        self._data.clear()
        self._accepted.clear()
        self._next = [0] * len(self._next)
        return faults

    def _first(self, witness: int, found: MessageId, data: object) -> str | None:
        if found <= self._newest:
            return f"witness {witness} got {found} behind {self._newest}: again, or too late"
        answered = self._accepted.pop(found, data)
        self._newest = found
        self._order.append((found, data))
        self._data[found] = data
        self.published += 1
        self._next[witness] += 1
        return None if answered == data else f"{found} is {data!r}, and {answered!r} was answered for"

    def _other(self, witness: int, found: MessageId, at: int) -> str:
        """What it got is not what was next."""
        place = bisect_right(self._order, found, key=lambda entry: entry[0])
        if place and self._order[place - 1][0] == found and place > at:
            self._next[witness] = place
            return f"witness {witness} missed {place - 1 - at} messages before {found}"
        if found in self._data:
            return f"witness {witness} got {found} again, or too late"
        return f"witness {witness} got {found}, which others did not"

    def _skip_lost(self, witness: int) -> None:
        at, last = self._next[witness], self._lost[witness]
        while at < len(self._order) and self._order[at][0] <= last:
            at += 1
            self.excused += 1
        self._next[witness] = at

    def _forgive(self) -> None:
        """What was answered for and lies before what each witness has lost, is nobody's."""
        told = min(self._lost)
        for found in [found for found in self._accepted if found <= told]:
            del self._accepted[found]
            self.excused += len(self._lost)
