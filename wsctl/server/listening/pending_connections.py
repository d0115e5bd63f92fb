"""Pending connections, those that are no clients, or not yet: how many there may be, and which one ends when
there is no room."""

from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Protocol

MAX_PENDING = 4096
"""The most such connections at a time, whatever the open files allow: twice what a kernel holds for us by
default (`--backlog`), so that all who come back at once pass, and a gibibyte of answers that nobody reads."""


class PendingConnection(Protocol):
    """The holder of a connection that is no client's."""

    @property
    def peer(self) -> str:
        """The address of the peer; empty on a Unix socket."""

    def evict(self) -> bool:
        """End the connection at once, unless a request would be lost; returns whether it has ended."""


class PendingConnections:
    """The connections of one kind of listener that are no clients, in the order in which they came or had
    their last answer. `has_room` tells whether there may be so many."""

    def __init__(self, has_room: Callable[[int], bool]) -> None:
        self._has_room = has_room
        self._held: OrderedDict[object, PendingConnection] = OrderedDict()

    def __len__(self) -> int:
        return len(self._held)

    @property
    def holders(self) -> Collection[PendingConnection]:
        return self._held.values()

    def hold(self, connection: object, holder: PendingConnection) -> None:
        """Count a connection in, as that of `holder`; one that was counted before keeps its place."""
        self._held[connection] = holder

    def release(self, connection: object) -> None:
        """Count a connection no more: it has ended, or is a client's."""
        self._held.pop(connection, None)

    def renew(self, connection: object) -> None:
        """Put a connection behind all others: it has just been answered."""
        if connection in self._held:
            self._held.move_to_end(connection)

    def make_room(self) -> PendingConnection | None:
        """End the first connection that can be ended, if there are too many; returns its holder, or None."""
        if self._has_room(len(self._held)):
            return None
        for connection, holder in self._held.items():
            if holder.evict():
                self.release(connection)
                return holder
        return None
