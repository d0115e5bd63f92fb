"""The expiry of the credentials of this process's clients."""

import time
from collections.abc import Callable

from wsctl.codes import CloseCode
from wsctl.hub.connection import Connection, Ending

REASON = "the credentials have expired: connect with new ones"


class Leases:
    """The moments at which connections must end, in Unix seconds. A connection without an end costs nothing
    here, and none has a timer."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._ends: dict[Connection, float] = {}
        self._wall = wall

    def __len__(self) -> int:
        return len(self._ends)

    def grant(self, connection: Connection, expires: float | None) -> None:
        """Let a connection stay until `expires`, in Unix seconds; None: for ever."""
        if expires is not None:
            self._ends[connection] = expires

    def of(self, connection: Connection) -> float | None:
        """Return when a connection must end, in Unix seconds; None: never."""
        return self._ends.get(connection)

    def left(self, expires: float) -> float:
        """Return the seconds until a moment."""
        return max(0.0, expires - self._wall())

    def check(self, now: float) -> None:
        """Close the connections whose time is over, and drop those that have ended; called once a second."""
        wall = self._wall()
        over = [c for c, expires in self._ends.items() if expires <= wall or c.ending is not None]
        for connection in over:
            del self._ends[connection]
            if connection.ending is None:
                connection.close(CloseCode.CREDENTIALS_EXPIRED, REASON, Ending.EVICTED)
