"""The connections of one process, and the delivery of messages to them."""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import count, islice

from wsctl import messages
from wsctl.codes import CloseCode
from wsctl.frame import Batch
from wsctl.hub.connection import NEVER, Connection, EndReason
from wsctl.hub.fanout import Fanout
from wsctl.hub.traffic import Backlog, Traffic
from wsctl.log.history import Entry, Missed
from wsctl.topics import matches

log = logging.getLogger("wsctl.hub")

_KEEPALIVE = Batch((messages.keepalive(),))


class ConnectionManager:
    """The clients of one process.

    A connection is active from `connect` until it is retired: by its peer's close frame or end of
    stream, or because it is being closed. Between that and `forget` it is closing. Messages go
    to active connections only.

    Attributes:
        active_connections: by client id, the one connected longest first.
        closing: connections that are no longer active and whose socket is still there.
        tally: connections that are no longer active, by how they ended.
        delivered: messages offered to a client, since the start.
        undelivered: messages that waited for clients which were aborted.
        traffic: the other counters.
        observers: called after each change of who is connected.
        retired: called with each connection that is retired.
        joined, left: called with each connection that a client makes, and with each active one that was
            retired.
        subscribed: called with an active connection whose subscriptions have changed.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.active_connections: dict[str, Connection] = {}
        self.closing: set[Connection] = set()
        self.tally: Counter[EndReason] = Counter()
        self.delivered = 0
        self.undelivered = 0
        self.traffic = Traffic()
        self.observers: list[Callable[[], None]] = []
        self.retired: list[Callable[[Connection], None]] = []
        self.joined: list[Callable[[Connection], None]] = []
        self.left: list[Callable[[Connection], None]] = []
        self.subscribed: list[Callable[[Connection], None]] = []
        self._serials = count(1)
        self._clock = clock
        self._call_soon = call_soon
        self._fanout = Fanout()
        self._pending: list[Batch] = []
        self._last_broadcast = NEVER

    def connect(self, connection: Connection, welcome: Batch, missed: Missed | None = None) -> None:
        """Make a connection active: it is sent `welcome` first, then what it missed, then every message from
        here on.

        `missed` reaches up to the newest message, and must be made in the same iteration of the loop: there
        is no gap and no overlap. An older connection of the same id is closed with 4501.
        """
        self.flush()
        older = self.active_connections.get(connection.client_id)
        if older:
            older.replaced()
        connection.serial = next(self._serials)
        self.active_connections[connection.client_id] = connection
        self.traffic.opened += 1
        # Before the welcome: a message that answers it counts this client, wherever it is published.
        for tell in self.joined:
            tell(connection)
        self._send(connection, welcome)
        if missed:
            connection.catch_up(missed)
        self.settle(connection)
        self._log("connected", connection)
        self._changed()

    def make_room(self, client_id: str) -> None:
        """Close the active connection of an id before the newer one is there, without waiting for the close
        frame's answer: there is no room for both."""
        self.flush()
        if older := self.active_connections.get(client_id):
            older.replaced()
            older.hang_up()

    def adopt(self, connection: Connection, missed: Sequence[Batch]) -> None:
        """Make a connection active that another process had. Of two with the same id the newer one stays,
        and the other is closed behind what it was about to be sent."""
        self.flush()
        self.traffic.adopted += 1
        other = self.active_connections.get(connection.client_id)
        if other and other.opened >= connection.opened:
            connection.replay(missed)
            connection.replaced()
            return
        if other:
            other.replaced()
        connection.serial = next(self._serials)
        self.active_connections[connection.client_id] = connection
        if missed:
            sizes = [len(batch.encoded(connection.deflate)) for batch in missed]
            self.caught_up(sum(batch.messages for batch in missed), sum(sizes))
            connection.replay(missed)
        self.settle(connection)
        self._changed()

    def release(self, connection: Connection) -> None:
        """Let go of an active connection that goes on in another process; it has been sent everything up to
        here."""
        self._fanout.remove(connection)
        del self.active_connections[connection.client_id]
        connection.end_reason = EndReason.HANDED_OVER
        self.tally[EndReason.HANDED_OVER] += 1
        self.traffic.released += 1
        self._changed()

    def settle(self, connection: Connection) -> None:
        """Put a connection into the lane it belongs to, after `behind` changed; before it is active it has
        none."""
        if self.active_connections.get(connection.client_id) is connection:
            self._fanout.place(connection)

    def retire(self, connection: Connection, code: int, reason: str, end_reason: EndReason) -> None:
        """Note that a connection is no longer active; does nothing when it already was not."""
        if connection.end_reason is not None:
            return
        connection.code, connection.reason, connection.end_reason = code, reason, end_reason
        self._fanout.remove(connection)
        for take_note in self.retired:
            take_note(connection)
        if self.active_connections.get(connection.client_id) is connection:
            del self.active_connections[connection.client_id]
            for tell in self.left:
                tell(connection)
        self.closing.add(connection)
        self.tally[end_reason] += 1
        self.traffic.ended(code, end_reason)
        self._changed()

    def forget(self, connection: Connection) -> None:
        """Drop a connection whose socket is closed, and log that it is disconnected."""
        self.retire(connection, CloseCode.ABNORMAL, "the connection was lost", EndReason.LEFT)
        self.closing.discard(connection)
        self._log(
            "disconnected",
            connection,
            code=connection.code,
            reason=connection.reason,
            duration_s=round(self._clock() - connection.opened, 3),
        )
        self._changed()

    def deliver(self, entry: Entry) -> int:
        """Send a message to its recipients, and return how many they are. Broadcasts of one iteration of the
        loop are joined."""
        if entry.to is None and entry.topic is None:
            self._add(entry.batch)
            return len(self.active_connections)
        addressees = list(self.active_connections.values()) if entry.to is None else self.addressees(entry.to)
        if (topic := entry.topic) is not None:
            addressees = [
                c for c in addressees if any(matches(pattern, topic) for pattern in c.subscriptions)
            ]
        self.flush()
        self.delivered += len(addressees)
        made = entry.each()
        for connection in addressees:
            self._send(connection, made(connection.client_id))
        return len(addressees)

    def broadcast(self, payload: bytes) -> None:
        """Send one frame to every active connection, at the end of this iteration of the loop."""
        self._add(Batch((payload,)))

    def flush(self) -> None:
        """Send what this iteration of the loop has gathered."""
        if self._pending:
            gathered, self._pending = self._pending, []
            # History holds what is gathered, and no compressed copy of it.
            batch = gathered[0].copy() if len(gathered) == 1 else Batch.joined(gathered)
            self.delivered += batch.messages * len(self.active_connections)
            self._last_broadcast = began = self._clock()
            self.traffic.sent_bytes += self._fanout.send(batch)
            self.traffic.broadcasts.note(self._clock() - began)

    def caught_up(self, messages: int, size: int) -> None:
        """Count the messages of history that a client was sent, and their bytes."""
        self.delivered += messages
        self.traffic.sent_bytes += size

    def addressees(self, to: Iterable[str]) -> list[Connection]:
        """Return the active connections that a message for `to` goes to."""
        active = self.active_connections
        return [active[name] for name in to if name in active]

    def count_open(self) -> int:
        """Return how many connections have a socket: the active ones, and those that are closing."""
        return len(self.active_connections) + len(self.closing)

    def close_all(self, code: int, reason: str) -> None:
        """Close every active connection by force, all at the same time."""
        self.close_oldest(len(self.active_connections), code, reason)

    def abort_closing(self) -> None:
        """End the connections whose close was not answered."""
        for connection in list(self.closing):
            self.give_up(connection)

    def give_up(self, connection: Connection) -> None:
        """End a connection whose close was not answered. One that was closed by force counts as aborted from
        here on."""
        if connection.end_reason is EndReason.FORCED:
            self.undelivered += connection.undelivered
            connection.end_reason = EndReason.ABORTED
            self.tally.subtract({EndReason.FORCED: 1, EndReason.ABORTED: -1})
        connection.abort("did not answer the close frame")

    def check(self, now: float) -> None:
        """Let each connection check itself, and send the keepalives that are due; called once a second."""
        for connection in [*self.active_connections.values(), *self.closing]:
            connection.check(now)
        self._keep_alive(now)

    def _keep_alive(self, now: float) -> None:
        """Send a keepalive to each connection that wants one and was sent nothing else for so long.

        A connection that is behind needs none: something waits for it. A broadcast counts for all, so that
        where broadcasts are frequent no connection is even looked at.
        """
        if now - self._last_broadcast < messages.KEEPALIVE[0]:
            return
        due = [
            connection
            for connection in self.active_connections.values()
            if (wait := connection.keepalive)
            and now - self._last_broadcast >= wait
            and now - connection.last_sent >= wait
            and not connection.behind
        ]
        for connection in due:
            connection.last_sent = now
        self.traffic.sent_bytes += self._fanout.send_to(due, _KEEPALIVE)

    def send_each(self, payloads: Iterable[bytes]) -> None:
        """Send each active connection a frame of its own, the first to the one connected longest."""
        self.flush()
        for connection, payload in zip(list(self.active_connections.values()), payloads, strict=False):
            self.delivered += 1
            self._send(connection, Batch((payload,)))

    def close_oldest(self, count: int, code: int, reason: str) -> None:
        """Close so many active connections by force, those connected longest."""
        self.flush()
        for connection in list(islice(self.active_connections.values(), count)):
            connection.close(code, reason, EndReason.FORCED)

    def backlog(self) -> Backlog:
        """Return what waits for active clients. Those that are written to directly have nothing waiting, and
        are not looked at."""
        waiting = [connection.waiting for connection in self._fanout.indirect]
        return Backlog(sum(map(bool, waiting)), sum(waiting), max(waiting, default=0))

    def _send(self, connection: Connection, batch: Batch) -> None:
        self.traffic.sent_bytes += len(batch.encoded(connection.deflate))
        if connection.keepalive:
            connection.last_sent = self._clock()
        connection.offer(batch)

    def _add(self, batch: Batch) -> None:
        if not self._pending:
            self._call_soon(self.flush)
        self._pending.append(batch)

    def _changed(self) -> None:
        for observer in self.observers:
            observer()

    def _log(self, event: str, connection: Connection, **fields: object) -> None:
        if log.isEnabledFor(logging.INFO):
            facts = {"client_id": connection.client_id, "address": connection.address, **fields}
            log.info(event, extra={"fields": facts})
