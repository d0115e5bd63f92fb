"""The connections of all workers, in the parent: which worker has which, in the order in which the parent was
told, and what they subscribe to."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from wsctl.hub.connection_table import ConnectionTable
from wsctl.log.home import RemoteConnection

TOGETHER = 5000
"""Connections in one packet for a worker that is told of all."""


class Holder(Protocol):
    """A worker as the table of connections sees it; several processes may have the number of one worker, one
    after the other."""

    number: int

    @property
    def pid(self) -> int: ...

    def send(self, kind: str, **fields: object) -> None: ...


class _Key(NamedTuple):
    """The name of a connection: a worker of an earlier release counts its own."""

    number: int
    client_id: str
    serial: int


class GroupPresence:
    """One table of all connections. Of a client that has more than `per_client` of them, the oldest end, at
    whichever worker; 0 is any number. `changed` is called when there is something to tell the workers."""

    def __init__(self, per_client: int = 1, changed: Callable[[], None] = lambda: None) -> None:
        self._per_client = per_client
        self._changed = changed
        self._table: ConnectionTable[_Key] = ConnectionTable()
        self._holders: dict[int, Holder] = {}
        self._untold: dict[_Key, tuple[str, ...]] = {}

    def __len__(self) -> int:
        return len(self._table)

    @property
    def clients(self) -> int:
        """The number of clients that have a connection."""
        return self._table.clients

    def count(self, to: Sequence[str] | None, topic: str | None = None) -> int:
        """Return how many connections a message goes to; `to` is None for everyone, `topic` for one that
        needs no subscription."""
        return self._table.count(to, topic)

    def joined(self, holder: Holder, connection: RemoteConnection) -> None:
        """Note a new connection, which ends the oldest of its client if they are too many."""
        self._holders[holder.number] = holder
        key = _Key(holder.number, connection.client_id, connection.serial)
        self._put(key, connection.patterns)
        self._end_oldest(connection.client_id)

    def subscribed(self, holder: Holder, connection: RemoteConnection) -> None:
        """Note all that a connection subscribes to by now; one that has ended is not known any more."""
        key = _Key(holder.number, connection.client_id, connection.serial)
        if key in self._table:
            self._put(key, connection.patterns)

    def left(self, holder: Holder, client_id: str, serial: int) -> None:
        """Note that a connection has ended."""
        self._remove(_Key(holder.number, client_id, serial))

    def present(self, holder: Holder, connections: Iterable[RemoteConnection]) -> None:
        """Note that these, and no others, are the connections of a worker, which another process was until
        now. What the parent had not been told of counts as older than all that it had."""
        self._holders[holder.number] = holder
        told = {_Key(holder.number, each.client_id, each.serial): each.patterns for each in connections}
        for key in [key for key in self._table if key.number == holder.number and key not in told]:
            self._remove(key)
        for key, patterns in reversed(told.items()):
            self._put(key, patterns, oldest=True)
        for client_id in {key.client_id for key in told}:
            self._end_oldest(client_id)

    def exited(self, holder: Holder, other: Holder | None = None) -> None:
        """Note that a process has ended, and its connections with it. Where there is an `other` process of
        this worker, to which they go back, that one tells which they are."""
        if self._holders.get(holder.number) is holder:
            if other:
                self._holders[holder.number] = other
                return
            for key in [key for key in self._table if key.number == holder.number]:
                self._remove(key)
            del self._holders[holder.number]

    # What workers are told

    def news(self) -> dict[str, Any] | None:
        """Return the fields of a packet for all workers with what has changed; None where nothing has."""
        untold, self._untold = self._untold, {}
        return {"connections": [[*key, patterns] for key, patterns in untold.items()]} if untold else None

    def send_all(self, holder: Holder) -> None:
        """Tell a worker of all connections that subscribe to topics."""
        rows = [[*key, row.patterns] for key, row in self._table.items() if row.patterns]
        for at in range(0, len(rows), TOGETHER):
            holder.send("presence", connections=rows[at : at + TOGETHER], more=True)
        holder.send("presence", connections=[], whole=True)

    # The same table in another program

    def rows(self) -> list[list[Any]]:
        """Return the pid of the worker, the client and the serial of each connection, and its patterns where
        there are any, as JSON."""
        return [
            [
                self._holders[key.number].pid,
                key.client_id,
                key.serial,
                *([row.patterns] if row.patterns else []),
            ]
            for key, row in self._table.items()
        ]

    def restore(self, rows: Iterable[Sequence[Any]], holders: Mapping[int, Holder]) -> None:
        """Take over the connections of which another table made the rows, of workers by their pids."""
        for pid, client_id, serial, *patterns in rows:
            if holder := holders.get(pid):
                self._holders[holder.number] = holder
                self._table.put(_Key(holder.number, client_id, serial), client_id, *patterns)

    # The table

    def _put(self, key: _Key, patterns: Sequence[str], *, oldest: bool = False) -> None:
        known = self._table.get(key)
        self._table.put(key, key.client_id, patterns, oldest=oldest)
        if tuple(patterns) != (known.patterns if known else ()):
            self._note(key, patterns)

    def _remove(self, key: _Key) -> None:
        row = self._table.remove(key)
        if row and row.patterns:
            self._note(key, ())

    def _note(self, key: _Key, patterns: Sequence[str]) -> None:
        self._untold[key] = tuple(patterns)
        self._changed()

    def _end_oldest(self, client_id: str) -> None:
        keys = self._table.of(client_id)
        for key in keys[: len(keys) - self._per_client] if self._per_client else ():
            self._remove(key)
            self._holders[key.number].send("replaced", id=client_id, serial=key.serial)
