"""The presence of clients: who subscribes to a topic, in this process and in the others, and who is told when
a client begins to or ceases to."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

from wsctl.hub.connection import Connection
from wsctl.hub.connection_table import ConnectionTable, TableRow
from wsctl.hub.manager import ConnectionManager
from wsctl.log.home import RemoteConnection
from wsctl.topics import has_wildcards, matches

MOST_PRESENT = 1000
"""Clients that are named in an answer."""

SUCCESSOR = "successor"
"""The holder of connections that have moved to a successor."""

Notify = Callable[[Sequence[Connection], bool, str, str], None]
"""Called with connections that watch a topic, whether a client has joined or left, the topic and the client's
id."""


@dataclass(frozen=True, slots=True)
class Present:
    """The clients that subscribe to a topic: how many they are, and each with the number of its connections,
    sorted; of more than `MOST_PRESENT` only the first are named."""

    count: int
    clients: tuple[tuple[str, int], ...]


class Change(NamedTuple):
    """A change of a connection: what it subscribed to and subscribes to, each None where that is nothing, and
    the holder that it has: None for this process."""

    serial: int
    client_id: str
    before: TableRow | None
    now: TableRow | None
    holder: str | None


class _Watched:
    """A topic that connections here watch: these, and how many connections each of its clients has."""

    def __init__(self, clients: Counter[str]) -> None:
        self.watchers: dict[Connection, None] = {}
        self.clients = clients


class TopicPresence:
    """The connections with subscriptions of all processes, by their serials.

    `subscribers` returns the connections of this process that subscribe to a topic. `notify` is called for
    those that watch it, when a client's first connection begins to subscribe to it, by whichever pattern, or
    its last one ceases to; not for those of the client itself. What comes together is told as one change: of
    a client that is there before and after it nothing is told.

    Between `follow` and `lead` another process, to which the connections of this one move, decides: those of
    this one too count from when that process has said so.

    Attributes:
        observers: called with each change.
    """

    def __init__(self, notify: Notify, subscribers: Callable[[str], Iterable[Connection]]) -> None:
        self.observers: list[Callable[[Sequence[Change]], None]] = []
        self._notify = notify
        self._subscribers = subscribers
        self._here: dict[int, TableRow] = {}
        self._elsewhere: ConnectionTable[int] = ConnectionTable()
        self._holders: dict[int, str] = {}
        self._held: dict[str, set[int]] = {}
        self._watched: dict[str, _Watched] = {}
        self._watching: dict[Connection, tuple[str, ...]] = {}
        self._following = False
        self._telling = False
        self._depth = 0
        self._before: dict[tuple[str, str], bool] = {}
        self._changes: list[Change] = []

    # The connections of this process

    def joined(self, connection: Connection) -> None:
        """Note a connection that is active from here on."""
        if connection.subscriptions:
            self.subscribed(connection)

    def subscribed(self, connection: Connection) -> None:
        """Note what an active connection subscribes to by now."""
        if not self._following:
            self._note_here(connection)
        self._watch(connection)

    def left(self, connection: Connection) -> None:
        """Note that a connection is no longer active."""
        self._unwatch(connection)
        if not self._following and connection.serial in self._here:
            with self._together():
                self._set(connection.serial, None, None)

    def moved(self, connection: Connection) -> None:
        """Note that a connection goes on with the successor, which tells of it from here on."""
        self._unwatch(connection)
        if row := self._here.get(connection.serial):
            self._place(connection.serial, row, SUCCESSOR)

    # Those of others

    def learn(
        self, holder: str, rows: Iterable[RemoteConnection], gone: Iterable[int] = (), *, whole: bool = False
    ) -> None:
        """Note what is told of the connections of another process: of some of them, or with `whole` of all
        that it has."""
        with self._together():
            unsaid = set(self.serials(holder)) if whole else set()
            for client_id, serial, patterns in rows:
                unsaid.discard(serial)
                # What is here is known better here: one that has moved is still told of elsewhere.
                if serial not in self._here:
                    self._set(serial, _row(client_id, patterns), holder)
            for serial in [*gone, *unsaid]:
                if self._holders.get(serial) == holder:
                    self._set(serial, None, holder)

    def lose(self, holder: str) -> None:
        """Note that the connections of another process are gone."""
        self.learn(holder, (), whole=True)

    def serials(self, holder: str) -> frozenset[int]:
        """Return the serials of the connections of another process that subscribe to anything."""
        return frozenset(self._held.get(holder, ()))

    # Answers

    def of(self, topic: str, answer: Callable[[Present], None]) -> None:
        """Answer who subscribes to a topic, before this returns."""
        clients = self.clients(topic)
        answer(Present(len(clients), tuple(sorted(clients.items())[:MOST_PRESENT])))

    def clients(self, topic: str) -> Mapping[str, int]:
        """Return the clients that subscribe to a topic, and the number of connections that each has there."""
        watched = self._watched.get(topic)
        return watched.clients if watched else self._count_clients(topic)

    @property
    def topics_elsewhere(self) -> Collection[str]:
        """The topics to which connections of other processes subscribe by name."""
        return self._elsewhere.topics

    def count(self, topic: str, to: Iterable[str] | None = None) -> int:
        """Return to how many connections of other processes a message with this topic goes; `to` is None for
        all clients."""
        return self._elsewhere.count(to, topic)

    def rows(self) -> list[tuple[str | None, RemoteConnection]]:
        """Return all connections, each with its holder: None for this process."""
        return [
            *(
                (None, RemoteConnection(row.client_id, serial, row.patterns))
                for serial, row in self._here.items()
            ),
            *(
                (self._holders[serial], RemoteConnection(row.client_id, serial, row.patterns))
                for serial, row in self._elsewhere.items()
            ),
        ]

    # A handover

    def follow(self) -> None:
        """Let the successor decide, which has been told of all that is known here."""
        self._following = True

    def lead(self, connections: Iterable[Connection]) -> None:
        """Decide again: the successor is gone, and with it what had moved there. These connections are
        here."""
        self._following = False
        with self._together():
            here = {connection.serial: connection for connection in connections if connection.subscriptions}
            for serial in [serial for serial in self._here if serial not in here]:
                self._set(serial, None, None)
            for connection in here.values():
                self._note_here(connection)
            self.lose(SUCCESSOR)

    def apply(self, rows: Iterable[tuple[str | None, RemoteConnection]]) -> None:
        """Note what the successor tells, each with its holder: None for one that this process has or had."""
        with self._together():
            for holder, (client_id, serial, patterns) in rows:
                at = self._holders.get(serial) if holder is None else holder
                self._set(serial, _row(client_id, patterns), at)

    def arrived(self, connection: Connection, missed: Sequence[Change] = ()) -> None:
        """Note that a connection which has moved is active here. It is told of the changes that it `missed`,
        as far as it watches their topics."""
        self._note_here(connection)
        for topic in self._watch(connection) if missed else ():
            for client_id, was in self._count_before(topic, missed).items():
                now = client_id in self._watched[topic].clients
                if bool(was) != now and client_id != connection.client_id:
                    self._notify([connection], now, topic, client_id)
        self._watch(connection)

    def _count_before(self, topic: str, changes: Iterable[Change]) -> dict[str, int]:
        """Return how many connections there were before the changes, of each client that they are about."""
        clients = self._watched[topic].clients
        found: dict[str, int] = {}
        for change in changes:
            for row, by in ((change.now, -1), (change.before, 1)):
                if row and row.subscribes_to(topic):
                    found[row.client_id] = found.get(row.client_id, clients[row.client_id]) + by
        return found

    # The table

    def _note_here(self, connection: Connection) -> None:
        with self._together():
            self._set(connection.serial, _row(connection.client_id, connection.subscriptions), None)

    def _set(self, serial: int, row: TableRow | None, holder: str | None) -> None:
        """Note what is known of a connection: None where it subscribes to nothing, or is gone."""
        before = self._here.get(serial) or self._elsewhere.get(serial)
        self._place(serial, row, holder)
        if before != row:
            self._count(before, -1, row)
            self._count(row, 1, before)
            if either := row or before:
                self._changes.append(Change(serial, either.client_id, before, row, holder))

    def _place(self, serial: int, row: TableRow | None, holder: str | None) -> None:
        """Put a connection where its holder's are."""
        if (at := self._holders.get(serial)) is not None and (row is None or at != holder):
            self._elsewhere.remove(serial)
            self._held[at].discard(serial)
            del self._holders[serial]
        if row is None or holder is not None:
            self._here.pop(serial, None)
        if row and holder is None:
            self._here[serial] = row
        elif row and holder is not None:
            self._elsewhere.put(serial, *row)
            self._holders[serial] = holder
            self._held.setdefault(holder, set()).add(serial)

    # Those who watch

    def _watch(self, connection: Connection) -> Sequence[str]:
        """Let a connection watch the topics that it wants to; return them."""
        wanted = tuple(topic for topic, events in connection.subscriptions.items() if events)
        for topic in set(self._watching.get(connection, ())).difference(wanted):
            self._stop(connection, topic)
        for topic in wanted:
            if topic not in self._watched:
                self._watched[topic] = _Watched(self._count_clients(topic))
            self._watched[topic].watchers[connection] = None
        if wanted:
            self._watching[connection] = wanted
        else:
            self._watching.pop(connection, None)
        return wanted

    def _unwatch(self, connection: Connection) -> None:
        for topic in self._watching.pop(connection, ()):
            self._stop(connection, topic)

    def _stop(self, connection: Connection, topic: str) -> None:
        watched = self._watched[topic]
        del watched.watchers[connection]
        if not watched.watchers:
            del self._watched[topic]

    def _count_clients(self, topic: str) -> Counter[str]:
        elsewhere, get = self._elsewhere, self._elsewhere.get
        found = Counter(row.client_id for serial in elsewhere.matching(topic) if (row := get(serial)))
        if self._following:  # what the successor has not said yet does not count
            found.update(row.client_id for row in self._here.values() if row.subscribes_to(topic))
        else:
            found.update(connection.client_id for connection in self._subscribers(topic))
        return found

    def _count(self, row: TableRow | None, by: int, other: TableRow | None) -> None:
        """Count a connection in or out, for each topic that is watched and that it subscribes to, but for
        those to which the `other` row of the same connection does as well."""
        if not row or not self._watched:
            return
        for topic in self._watched_by(row.patterns):
            if other and other.subscribes_to(topic):
                continue
            clients = self._watched[topic].clients
            self._before.setdefault((topic, row.client_id), row.client_id in clients)
            clients[row.client_id] += by
            if not clients[row.client_id]:
                del clients[row.client_id]

    def _watched_by(self, patterns: Iterable[str]) -> set[str]:
        """Return the topics that are watched and that any of the patterns matches."""
        found: set[str] = set()
        for pattern in patterns:
            if not has_wildcards(pattern):
                found.update([pattern] if pattern in self._watched else ())
            else:
                found.update(topic for topic in self._watched if matches(pattern, topic))
        return found

    @contextmanager
    def _together(self) -> Iterator[None]:
        """Tell what is changed within this as one change."""
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        if not self._depth:
            self._tell()

    def _tell(self) -> None:
        """Tell what has changed, and then what that changes: a watcher may end by what it is told."""
        while not self._telling and (self._before or self._changes):
            self._telling = True
            before, self._before = self._before, {}
            changes, self._changes = self._changes, []
            now = {(topic, name): self._is_present(topic, name) for topic, name in before}
            for (topic, name), was in before.items():
                if now[topic, name] is not was and (watchers := self._watchers(topic, name)):
                    self._notify(watchers, not was, topic, name)
            for observer in self.observers if changes else ():
                observer(changes)
            self._telling = False

    def _is_present(self, topic: str, client_id: str) -> bool:
        return topic in self._watched and client_id in self._watched[topic].clients

    def _watchers(self, topic: str, client_id: str) -> list[Connection]:
        """Return the connections that are told of a client."""
        watched = self._watched.get(topic)
        return [each for each in watched.watchers if each.client_id != client_id] if watched else []


def connected(connection: Connection) -> RemoteConnection:
    """Return an active connection as other processes know it."""
    return RemoteConnection(connection.client_id, connection.serial, tuple(connection.subscriptions))


def connected_here(manager: ConnectionManager) -> list[RemoteConnection]:
    """Return the active connections of this process, the oldest first."""
    return [connected(connection) for connection in manager.active_connections.values()]


def _row(client_id: str, patterns: Iterable[str]) -> TableRow | None:
    patterns = tuple(patterns)
    return TableRow(client_id, patterns) if patterns else None
