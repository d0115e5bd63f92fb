"""What a drain works on: the clients of a hub, and others that offer the same."""

import random
from collections.abc import Callable, Collection, Sequence
from functools import reduce
from itertools import islice
from typing import Protocol

from wsctl import messages
from wsctl.codes import RESTART, CloseCode
from wsctl.drain.pace import moments
from wsctl.drain.progress import ClientCounts, ConnectedClient
from wsctl.hub.connection import EndReason
from wsctl.hub.manager import ConnectionManager


class Drainable(Protocol):
    """Connections that a drain counts, tells, closes and cuts.

    Attributes:
        observers: called after each change of what is connected.
        closing: the connections that were closed and have not ended.
    """

    observers: list[Callable[[], None]]

    @property
    def closing(self) -> Collection[object]: ...

    def counts(self, named: int) -> ClientCounts:
        """Return the counts of these connections, with the names of so many at most.

        Without names it costs the same however many there are: it is called at each departure.
        """

    def announce(self, remaining_s: float, reason: str, window: float | None) -> None:
        """Tell of a drain, or of its new deadline, in so many seconds; with a window, each connection its own
        moment in it to leave."""

    def withdraw(self) -> None:
        """Tell that the drain was cancelled."""

    def close_oldest(self, count: int) -> int:
        """Close so many by force, those that have been there longest; return how many there were."""

    def close_all(self) -> None:
        """Close all by force."""

    def abort(self) -> None:
        """Cut those that were closed and have not ended."""

    def flush(self) -> None:
        """Send what was gathered: the process ends."""


class DrainableGroup:
    """Several kinds of connections as one; in each step the first ones come first."""

    def __init__(self, members: Sequence[Drainable]) -> None:
        self._members = members

    def observe(self, changed: Callable[[], None]) -> None:
        """Have `changed` called after each change of what is connected."""
        for member in self._members:
            member.observers.append(changed)

    @property
    def is_closing(self) -> bool:
        """True while connections that were closed have not ended."""
        return any(member.closing for member in self._members)

    def counts(self, named: int) -> ClientCounts:
        """Return the counts of all, with the names of so many at most."""
        return reduce(ClientCounts.plus, (member.counts(named) for member in self._members))

    def announce(self, remaining_s: float, reason: str, window: float | None) -> None:
        for member in self._members:
            member.announce(remaining_s, reason, window)

    def withdraw(self) -> None:
        for member in self._members:
            member.withdraw()

    def close_oldest(self, count: int) -> None:
        for member in self._members:
            count -= member.close_oldest(count)

    def close_all(self) -> None:
        for member in self._members:
            member.close_all()

    def abort(self) -> None:
        for member in self._members:
            member.abort()

    def flush(self) -> None:
        for member in self._members:
            member.flush()


class HubClients:
    """The clients of a hub as a drain sees them. `shuffle` decides which of them leaves at which moment."""

    def __init__(
        self,
        hub: ConnectionManager,
        clock: Callable[[], float],
        shuffle: Callable[[list[float]], None] = random.shuffle,
    ) -> None:
        self._hub = hub
        self._clock = clock
        self._shuffle = shuffle
        self.observers = hub.observers

    @property
    def closing(self) -> Collection[object]:
        return self._hub.closing

    def counts(self, named: int) -> ClientCounts:
        """Return the counts of the clients, and the ids of those connected longest."""
        hub, tally = self._hub, self._hub.tally
        return ClientCounts(
            active=len(hub.active_connections),
            closing=len(hub.closing),
            left=tally[EndReason.LEFT],
            evicted=tally[EndReason.EVICTED],
            forced=tally[EndReason.FORCED],
            aborted=tally[EndReason.ABORTED],
            undelivered=hub.undelivered,
            handed_over=tally[EndReason.HANDED_OVER],
            longest=self._longest(named) if named else (),
        )

    def announce(self, remaining_s: float, reason: str, window: float | None) -> None:
        """Send each client a `shutdown` frame."""
        if window is None:
            self._hub.broadcast(messages.shutdown(remaining_s, reason))
            return
        when = moments(len(self._hub.active_connections), window)
        self._shuffle(when)
        self._hub.send_each(messages.invitations(remaining_s, reason, when))
        for connection, seconds in zip(list(self._hub.active_connections.values()), when, strict=False):
            connection.asked_to_leave(seconds)

    def withdraw(self) -> None:
        """Send each client a `shutdown` frame without a deadline."""
        self._hub.broadcast(messages.shutdown(None, "the drain was cancelled"))
        for connection in self._hub.active_connections.values():
            connection.asked_to_leave(None)

    def close_oldest(self, count: int) -> int:
        """Send close frames to so many clients."""
        count = min(count, len(self._hub.active_connections))
        self._hub.close_oldest(count, CloseCode.SERVICE_RESTART, RESTART)
        return count

    def close_all(self) -> None:
        """Send a close frame to each client."""
        self._hub.close_all(CloseCode.SERVICE_RESTART, RESTART)

    def abort(self) -> None:
        """End the connections whose close was not answered."""
        self._hub.abort_closing()

    def flush(self) -> None:
        """Send the messages of this iteration of the loop."""
        self._hub.flush()

    def _longest(self, count: int) -> tuple[ConnectedClient, ...]:
        now = self._clock()
        oldest = islice(self._hub.active_connections.values(), count)
        return tuple(ConnectedClient(c.client_id, round(now - c.opened, 3), c.waiting) for c in oldest)
