"""How long the clients of this process may stay, those who may not stay for ever."""

import time
from collections.abc import Callable

from wsctl.codes import CloseCode
from wsctl.hub.connection import Connection, Ending

REASON = "the credentials have expired: connect with new ones"


class Leases:
    """Moments in Unix seconds, by connection: who has no end costs nothing here, and nobody a timer."""

    def __init__(self, wall: Callable[[], float] = time.time) -> None:
        self._ends: dict[Connection, float] = {}
        self._wall = wall

    def __len__(self) -> int:
        return len(self._ends)

    def grant(self, connection: Connection, expires: float | None) -> None:
        """It may stay until then; None: for ever."""
        if expires is not None:
            self._ends[connection] = expires

    def of(self, connection: Connection) -> float | None:
        """When it has to go; None: never."""
        return self._ends.get(connection)

    def left(self, expires: float) -> float:
        """Seconds until a moment."""
        return max(0.0, expires - self._wall())

    def check(self, now: float) -> None:
        """Once a second: close whose time is over, and forget who is gone."""
        wall = self._wall()
        over = [c for c, expires in self._ends.items() if expires <= wall or c.ending is not None]
        for connection in over:
            del self._ends[connection]
            if connection.ending is None:
                connection.close(CloseCode.CREDENTIALS_EXPIRED, REASON, Ending.EVICTED)
