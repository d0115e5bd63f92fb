"""Stand-ins for the other processes of a log: its home, and one that follows it."""

from collections.abc import Callable

from wsctl.log.history import Entry
from wsctl.log.home import Draft, Home, Key


class HomeElsewhere(Home):
    """A home that passes each draft on to `forward`, and answers nothing by itself."""

    def __init__(self, forward: Callable[[Draft], None]) -> None:
        self._forward = forward

    def publish(self, draft: Draft) -> None:
        self._forward(draft)


class FollowerStandIn:
    """Gives each message to `relay`, and writes down what else it hears.

    Attributes:
        told: "away" or "back" or "lost", and ids of clients that were replaced, with the serials.
    """

    def __init__(self, relay: Callable[[Entry, int, Key | None], int] = lambda *_: 0) -> None:
        self._relay = relay
        self.told: list[str | tuple[str, int | None]] = []

    def relay(self, entry: Entry, recipients: int, key: Key | None) -> int:
        return self._relay(entry, recipients, key)

    def cut_off(self, why: str) -> None:
        self.told.append("away")

    def back(self, recovered: bool) -> None:
        self.told.append("back" if recovered else "lost")

    def replaced(self, client_id: str, serial: int | None) -> None:
        self.told.append((client_id, serial))
