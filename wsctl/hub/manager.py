"""Who is connected, and what they get."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable

from wsctl import messages
from wsctl.codes import CloseCode
from wsctl.hub.connection import Connection, Ending
from wsctl.hub.fanout import Fanout
from wsctl.hub.frame import Batch

log = logging.getLogger("wsctl.hub")


class ConnectionManager:
    """The clients of one process.

    A connection is active from `connect` until it is retired: by its peer's close frame or end of
    stream, or because it is being closed. Between that and `forget` it is closing. Messages go
    to active connections only.

    Attributes:
        active_connections: by client id, the one connected longest first.
        closing: those whose stay ended and whose socket is still there.
        tally: stays that ended, by how.
        delivered: messages offered to a client, since the start.
        undelivered: messages that waited for clients which were aborted.
        observers: called after each change of who is connected.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.active_connections: dict[str, Connection] = {}
        self.closing: set[Connection] = set()
        self.tally: Counter[Ending] = Counter()
        self.delivered = 0
        self.undelivered = 0
        self.observers: list[Callable[[], None]] = []
        self._clock = clock
        self._call_soon = call_soon
        self._fanout = Fanout()
        self._pending: list[bytes] = []

    def connect(self, connection: Connection, welcome: Batch) -> None:
        """Make it active: it is sent `welcome` first, then every message from here on.

        An older connection of the same id is closed with 4501.
        """
        self.flush()
        older = self.active_connections.get(connection.client_id)
        if older:
            older.close(CloseCode.REPLACED, "replaced by a newer connection of this id", Ending.EVICTED)
        self.active_connections[connection.client_id] = connection
        connection.offer(welcome)
        self.settle(connection)
        self._log("connected", connection)
        self._changed()

    def settle(self, connection: Connection) -> None:
        """Put it into the lane it belongs to, after `behind` changed."""
        if connection.ending is None:
            self._fanout.place(connection)

    def retire(self, connection: Connection, code: int, reason: str, ending: Ending) -> None:
        """Its stay is over; nothing happens when it already was."""
        if connection.ending is not None:
            return
        connection.code, connection.reason, connection.ending = code, reason, ending
        self._fanout.remove(connection)
        if self.active_connections.get(connection.client_id) is connection:
            del self.active_connections[connection.client_id]
        self.closing.add(connection)
        self.tally[ending] += 1
        self._changed()

    def forget(self, connection: Connection) -> None:
        """Its socket is gone."""
        self.retire(connection, CloseCode.ABNORMAL, "the connection was lost", Ending.LEFT)
        self.closing.discard(connection)
        self._log(
            "disconnected",
            connection,
            code=connection.code,
            reason=connection.reason,
            duration_s=round(self._clock() - connection.opened, 3),
        )
        self._changed()

    def deliver(self, message: messages.Message) -> None:
        """Send a message to whom it is for, encoded once; broadcasts of one loop turn are joined.

        Raises:
            ValueError: the data is not JSON.
        """
        payload = messages.message(message)
        if message.to is None:
            self.broadcast(payload)
        else:
            self._send(payload, self.addressees(message.to))

    def broadcast(self, payload: bytes) -> None:
        """Send one frame to every active connection, at the end of this turn of the loop."""
        if not self._pending:
            self._call_soon(self.flush)
        self._pending.append(payload)

    def flush(self) -> None:
        """Send what this turn of the loop has gathered."""
        if self._pending:
            batch, self._pending = Batch(self._pending), []
            self.delivered += len(batch.payloads) * len(self.active_connections)
            self._fanout.send(batch)

    def addressees(self, to: Iterable[str] | None) -> list[Connection]:
        """The active connections a message for `to` goes to; None is everyone."""
        active = self.active_connections
        return list(active.values()) if to is None else [active[name] for name in to if name in active]

    def close_all(self, code: int, reason: str) -> None:
        """Close every active connection by force, all at the same time."""
        self.flush()
        for connection in list(self.active_connections.values()):
            connection.close(code, reason, Ending.FORCED)

    def abort_closing(self) -> None:
        """End the connections whose close was not answered."""
        for connection in list(self.closing):
            self.give_up(connection)

    def give_up(self, connection: Connection) -> None:
        """End one whose close was not answered. Who was closed by force counts as aborted from here on."""
        if connection.ending is Ending.FORCED:
            self.undelivered += connection.undelivered
            connection.ending = Ending.ABORTED
            self.tally.subtract({Ending.FORCED: 1, Ending.ABORTED: -1})
        connection.abort("did not answer the close frame")

    def check(self, now: float) -> None:
        """Once a second: let each connection look after itself."""
        for connection in [*self.active_connections.values(), *self.closing]:
            connection.check(now)

    def _send(self, payload: bytes, connections: list[Connection]) -> None:
        self.flush()
        self.delivered += len(connections)
        batch = Batch((payload,))
        for connection in connections:
            connection.offer(batch)

    def _changed(self) -> None:
        for observer in self.observers:
            observer()

    def _log(self, event: str, connection: Connection, **fields: object) -> None:
        if log.isEnabledFor(logging.INFO):
            facts = {"client_id": connection.client_id, "address": connection.address, **fields}
            log.info(event, extra={"fields": facts})
