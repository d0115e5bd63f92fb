"""The clients of this process as an application sees them, with what it knows of each."""

import time
from collections.abc import Callable
from typing import Any

from wsctl.hub.connection import Connection
from wsctl.server.websocket.hooks import Client


class Identities:
    """The values that `on_connect` returned beside ids, by connection. A connection without costs nothing."""

    def __init__(self, clock: Callable[[], float], wall: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._wall = wall
        self._identities: dict[Connection, Any] = {}

    def __len__(self) -> int:
        return len(self._identities)

    def set(self, connection: Connection, identity: Any) -> None:
        """Note what is known of a connection; nothing, if that is None."""
        if identity is not None:
            self._identities[connection] = identity

    def of(self, connection: Connection) -> Any:
        """Return what is known of a connection; None where nothing is."""
        return self._identities.get(connection)

    def forget(self, connection: Connection) -> None:
        """Forget a connection, which has ended or goes on in another process."""
        self._identities.pop(connection, None)

    def client(self, connection: Connection) -> Client:
        """Return a connection's client."""
        connected_at = self._wall() - (self._clock() - connection.opened)
        return Client(
            connection.client_id,
            connection.address,
            round(connected_at, 3),
            self.of(connection),
            tuple(connection.subscriptions),
        )

    def newcomer(self, client_id: str, address: str, identity: Any) -> Client:
        """Return a client that is about to connect."""
        return Client(client_id, address, round(self._wall(), 3), identity)
