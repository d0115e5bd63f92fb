"""The age after which clients are asked to connect again."""

from collections.abc import Callable, Iterable

from wsctl import messages
from wsctl.codes import CloseCode
from wsctl.hub.connection import Connection, EndReason
from wsctl.hub.manager import ConnectionManager

SPREAD = 0.1
"""The part of the age by which a client is asked sooner or later, so that clients that came together leave
one after the other."""

PATIENCE = 60.0
"""Seconds between the moment at which a client is asked, and its end."""

REASON = "the connection is as old as it may be: reconnect"
"""What clients are told."""

_PRIME, _PLACES = 2654435761, 1 << 32
"""Knuth's multiplicative hash: serials that follow each other give moments far from each other."""


class ConnectionAges:
    """Asks each client to connect again when its connection is about `age` seconds old, and closes with 1012,
    `PATIENCE` seconds later, what is still there. `active` tells whether that is to happen now: a drain has
    its own pace.

    A connection's moment follows from its serial, which it keeps in an upgrade, as it does its age.
    """

    def __init__(self, manager: ConnectionManager, age: float, active: Callable[[], bool]) -> None:
        self._manager = manager
        self._age = age
        self._active = active
        self._asked: set[int] = set()

    def check(self, now: float) -> None:
        """Ask and close those whose moment has come; to be called once a second."""
        if not self._active():
            return
        oldest = now - self._age * (1 - SPREAD)
        due = [c for c in self._manager.active_connections.values() if c.opened <= oldest]
        self._asked &= {c.serial for c in due}
        self._close([c for c in due if self.moment(c) + PATIENCE <= now])
        self._ask([c for c in due if self.moment(c) <= now and c.serial not in self._asked], now)

    def moment(self, connection: Connection) -> float:
        """Return when a client is asked, in the hub's clock."""
        place = connection.serial * _PRIME % _PLACES / _PLACES
        return connection.opened + self._age * (1 - SPREAD + 2 * SPREAD * place)

    def _ask(self, connections: Iterable[Connection], now: float) -> None:
        for connection in connections:
            self._asked.add(connection.serial)
            left = self.moment(connection) + PATIENCE - now
            if connection.end_reason is None and left > 0:
                self._manager.send_to([connection], messages.shutdown(left, REASON, 0.0))
                connection.asked_to_leave(0.0)

    def _close(self, connections: Iterable[Connection]) -> None:
        self._manager.flush()
        for connection in connections:
            connection.close(CloseCode.SERVICE_RESTART, REASON, EndReason.EVICTED)
