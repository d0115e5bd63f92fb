"""The connections of one process, and the delivery of messages to them."""

import logging
import secrets
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from heapq import nlargest
from itertools import count, islice
from operator import attrgetter
from sys import intern

from wsctl import messages
from wsctl.codes import CloseCode
from wsctl.frame import DEFLATE_ABOVE, TEXT, Batch, Encoding, frame
from wsctl.hub.connection import NEVER, NO_SUBSCRIPTIONS, Connection, EndReason
from wsctl.hub.fanout import Fanout
from wsctl.hub.gathered import Run, add_run, by_sequence
from wsctl.hub.subscriptions import SubscriptionIndex
from wsctl.hub.traffic import Backlog, Traffic
from wsctl.log.history import Entry, Missed

log = logging.getLogger("wsctl.hub")

_KEEPALIVE = Batch((messages.keepalive(),))

_SERIAL_BITS = 50
"""Bits of the first serial of a process, which is random, so that no two processes give the same one; those
that follow are exact in JSON for JavaScript and Lua too."""

_HERE = (__file__, 0)
"""The place that log records name. To have it found takes as long as all else of a record, and each handshake
makes one."""

_opened = attrgetter("opened")


class ConnectionManager:
    """The clients of one process, each with `connections_per_id` connections at most, or any number with 0.

    A connection is active from `connect` until it is retired: by its peer's close frame or end of
    stream, or because it is being closed. Between that and `forget` it is closing. Messages go
    to active connections only.

    Attributes:
        active_connections: by serial, the one that became active first in front.
        clients: by client id, one active connection of each.
        subscriptions: those of all active connections.
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
        *,
        connections_per_id: int = 1,
    ) -> None:
        self.active_connections: dict[int, Connection] = {}
        self.clients: dict[str, Connection] = {}
        self.subscriptions: SubscriptionIndex[Connection] = SubscriptionIndex()
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
        self._several: dict[str, dict[Connection, None]] = {}  # of ids that have more than one
        self._per_id = connections_per_id
        self._serials = count(secrets.randbits(_SERIAL_BITS))
        self._clock = clock
        self._call_soon = call_soon
        self._fanout = Fanout()
        self._for_all: list[Batch] = []
        self._for_some: list[Run] = []
        self._last_broadcast = NEVER

    def connect(self, connection: Connection, welcome: Batch, missed: Missed | None = None) -> None:
        """Make a connection active: it is sent `welcome` first, then what it missed, then every message from
        here on.

        `missed` reaches up to the newest message, and must be made in the same iteration of the loop: there
        is no gap and no overlap. The oldest connection of an id that has too many is closed with 4501.
        """
        self.flush()
        if self.is_full(connection.client_id):
            self._oldest(connection.client_id).replaced()
        self._activate(connection)
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

    def next_serial(self) -> int:
        """Return the serial of a new connection, which no other one of the server has."""
        return next(self._serials)

    def make_room(self, client_id: str) -> None:
        """Close the oldest connection of an id before the newer one is there, without waiting for the close
        frame's answer: there is no room for both."""
        self.flush()
        if client_id in self.clients:
            older = self._oldest(client_id)
            older.replaced()
            older.hang_up()

    def adopt(self, connection: Connection, missed: Sequence[Batch]) -> None:
        """Make a connection active that another process had. If its id has too many, the oldest of them is
        closed, and that may be this one, behind what it was about to be sent."""
        self.flush()
        self.traffic.adopted += 1
        if self.is_full(connection.client_id):
            oldest = self._oldest(connection.client_id)
            if oldest.opened >= connection.opened:
                connection.replay(missed)
                connection.replaced()
                return
            oldest.replaced()
        self._activate(connection)
        if missed:
            sizes = [len(batch.encoded(connection.encoding)) for batch in missed]
            self.caught_up(sum(batch.messages for batch in missed), sum(sizes))
            connection.replay(missed)
        self.settle(connection)
        self._changed()

    def of(self, client_id: str) -> tuple[Connection, ...]:
        """Return the active connections of a client, the one that was opened first in front."""
        if several := self._several.get(client_id):
            return tuple(sorted(several, key=_opened))
        only = self.clients.get(client_id)
        return (only,) if only else ()

    def is_full(self, client_id: str) -> bool:
        """Tell whether a client has as many connections as it may."""
        if self._per_id <= 1:
            return self._per_id == 1 and client_id in self.clients
        return len(self._several.get(client_id, ())) >= self._per_id

    def subscribe(self, connection: Connection, patterns: Mapping[str, bool]) -> None:
        """Subscribe a connection to patterns, and of each say whether it wants to know who comes and goes.
        What was published before goes out first, as for a connection that was not subscribed."""
        self.flush()
        before = connection.subscriptions
        connection.subscriptions = {**before, **{intern(pattern): told for pattern, told in patterns.items()}}
        if self.is_active(connection):
            for pattern in patterns:
                self.subscriptions.add(pattern, connection)
            for tell in self.subscribed:
                tell(connection)

    def unsubscribe(self, connection: Connection, patterns: Iterable[str]) -> None:
        """End subscriptions of a connection; those that it has not are ignored. What was published before is
        still sent."""
        self.flush()
        ended = {pattern for pattern in patterns if pattern in connection.subscriptions}
        kept = {pattern: told for pattern, told in connection.subscriptions.items() if pattern not in ended}
        connection.subscriptions = kept or NO_SUBSCRIPTIONS
        if self.is_active(connection):
            for pattern in ended:
                self.subscriptions.remove(pattern, connection)
            for tell in self.subscribed:
                tell(connection)

    def is_active(self, connection: Connection) -> bool:
        """Tell whether messages go to a connection."""
        return self.active_connections.get(connection.serial) is connection

    def release(self, connection: Connection) -> None:
        """Let go of an active connection that goes on in another process; it has been sent everything up to
        here."""
        self._fanout.remove(connection)
        self._deactivate(connection)
        connection.end_reason = EndReason.HANDED_OVER
        self.tally[EndReason.HANDED_OVER] += 1
        self.traffic.released += 1
        self._changed()

    def settle(self, connection: Connection) -> None:
        """Put a connection into the lane it belongs to, after `behind` changed; before it is active it has
        none."""
        if self.is_active(connection):
            self._fanout.place(connection)

    def retire(self, connection: Connection, code: int, reason: str, end_reason: EndReason) -> None:
        """Note that a connection is no longer active; does nothing when it already was not."""
        if connection.end_reason is not None:
            return
        connection.code, connection.reason, connection.end_reason = code, reason, end_reason
        self._fanout.remove(connection)
        for take_note in self.retired:
            take_note(connection)
        if self.is_active(connection):
            self._deactivate(connection)
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
        """Send a message to its recipients, and return how many connections these are. What one iteration of
        the loop publishes is joined, but for direct messages."""
        if entry.to is not None:
            return self._deliver_directly(entry)
        if entry.topic is None:
            if self.active_connections:
                self._add(entry.batch)
            return len(self.active_connections)
        subscribers = self.subscriptions.matching(entry.topic)
        if subscribers:
            self._add_for(subscribers, entry.batch, entry.topic)
        return len(subscribers)

    def broadcast(self, payload: bytes) -> None:
        """Send one frame to every active connection, at the end of this iteration of the loop."""
        self._add(Batch((payload,)))

    def send_to(self, connections: Sequence[Connection], payload: bytes) -> None:
        """Send one frame to some of the active connections, at the end of this iteration of the loop. It is
        not counted as a message."""
        if connections:
            self._add_for(list(connections), Batch.read(frame(TEXT, payload), messages=0))

    def flush(self) -> None:
        """Send what this iteration of the loop has gathered."""
        for_all, for_some = self._for_all, self._for_some
        if not for_all and not for_some:
            return
        self._for_all, self._for_some = [], []
        began = self._clock()
        apart = self._send_runs(for_some, for_all, began) if for_some else ()
        if for_all:
            # History holds what is gathered, and no compressed copy of it.
            batch = for_all[0].copy() if len(for_all) == 1 else Batch.joined(for_all)
            self.delivered += batch.messages * (len(self.active_connections) - len(apart))
            self._last_broadcast = began
            self.traffic.sent_bytes += self._fanout.send(batch, apart)
        self.traffic.broadcasts.note(self._clock() - began)

    def caught_up(self, messages: int, size: int) -> None:
        """Count the messages of history that a client was sent, and their bytes."""
        self.delivered += messages
        self.traffic.sent_bytes += size

    def addressees(self, to: Iterable[str]) -> list[Connection]:
        """Return the active connections that a message for `to` goes to."""
        found: list[Connection] = []
        for name in to:
            if several := self._several.get(name):
                found += several
            elif only := self.clients.get(name):
                found.append(only)
        return found

    @property
    def streams(self) -> int:
        """Active connections that are event streams."""
        return self._fanout.streams

    def count_open(self) -> int:
        """Return how many connections have a socket: the active ones, and those that are closing."""
        return len(self.active_connections) + len(self.closing)

    def disconnect(self, client_id: str, code: int, reason: str) -> int:
        """Close all connections of a client behind what it was sent, and return how many these were."""
        self.flush()
        connections = self.of(client_id)
        for connection in connections:
            connection.close(code, reason, EndReason.EVICTED)
        return len(connections)

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

    def slowest(self, count: int) -> list[Connection]:
        """Return so many active clients at most for whom something waits, those with the most first."""
        behind = [connection for connection in self._fanout.indirect if connection.waiting]
        return nlargest(count, behind, key=lambda connection: connection.waiting)

    def _send(self, connection: Connection, batch: Batch) -> None:
        self.traffic.sent_bytes += len(batch.encoded(connection.encoding))
        if connection.keepalive:
            connection.last_sent = self._clock()
        connection.offer(batch)

    def _deliver_directly(self, entry: Entry) -> int:
        """Send a message to those addressees that it is for, behind what was published before."""
        addressees = self.addressees(entry.to or ())
        if entry.topic is not None:
            subscribers = set(self.subscriptions.matching(entry.topic)) if addressees else ()
            addressees = [connection for connection in addressees if connection in subscribers]
        self.flush()
        self.delivered += len(addressees)
        made = entry.each()
        for connection in addressees:
            self._send(connection, made(connection.client_id))
        return len(addressees)

    def _add(self, batch: Batch) -> None:
        if not self._for_all and not self._for_some:
            self._call_soon(self.flush)
        self._for_all.append(batch)

    def _add_for(self, connections: list[Connection], batch: Batch, topic: str | None = None) -> None:
        if not self._for_all and not self._for_some:
            self._call_soon(self.flush)
        add_run(self._for_some, len(self._for_all), connections, batch, topic)

    def _send_runs(self, runs: Sequence[Run], for_all: Sequence[Batch], now: float) -> Collection[Connection]:
        """Send runs to their connections, with what is for all in its place, and return those that have got
        the latter."""
        sent_to: set[Connection] = set()
        for recipients, batches in by_sequence(runs, for_all):
            connections = [connection for connection in recipients if connection.end_reason is None]
            batch = batches[0] if len(batches) == 1 else Batch.joined(batches)
            if len(batch.wire) > DEFLATE_ABOVE and any(
                connection.encoding is Encoding.DEFLATE for connection in connections
            ):
                batch = Batch.joined(batches, compressed=True)
            self.delivered += batch.messages * len(connections)
            for connection in connections:
                if connection.keepalive:
                    connection.last_sent = now
            self.traffic.sent_bytes += self._fanout.send_to(connections, batch)
            if for_all:
                sent_to.update(connections)
        return sent_to

    def _activate(self, connection: Connection) -> None:
        if not connection.serial:
            connection.serial = self.next_serial()
        self.active_connections[connection.serial] = connection
        name = connection.client_id
        if other := self.clients.get(name):
            self._several.setdefault(name, {other: None})[connection] = None
        else:
            self.clients[name] = connection
        if connection.subscriptions:
            named = connection.subscriptions.items()
            connection.subscriptions = {intern(pattern): told for pattern, told in named}
            for pattern in connection.subscriptions:
                self.subscriptions.add(pattern, connection)

    def _deactivate(self, connection: Connection) -> None:
        del self.active_connections[connection.serial]
        name = connection.client_id
        if several := self._several.get(name):
            del several[connection]
            self.clients[name] = next(iter(several))
            if len(several) == 1:
                del self._several[name]
        else:
            del self.clients[name]
        for pattern in connection.subscriptions:
            self.subscriptions.remove(pattern, connection)

    def _oldest(self, client_id: str) -> Connection:
        return min(self._several.get(client_id) or (self.clients[client_id],), key=_opened)

    def _changed(self) -> None:
        for observer in self.observers:
            observer()

    def _log(self, event: str, connection: Connection, **fields: object) -> None:
        if log.isEnabledFor(logging.INFO):
            facts = {"client_id": connection.client_id, "address": connection.address, **fields}
            log.handle(
                log.makeRecord(log.name, logging.INFO, *_HERE, event, (), None, extra={"fields": facts})
            )
