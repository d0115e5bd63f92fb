"""The clients of all workers, in the parent: which worker has which client, in the order in which the parent
was told."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol


class Holder(Protocol):
    """A worker as the table of clients sees it; several processes may have the number of one worker, one
    after the other."""

    number: int

    @property
    def pid(self) -> int: ...

    def send(self, kind: str, **fields: object) -> None: ...


class _Connected(NamedTuple):
    holder: Holder
    serial: int


class GroupPresence:
    """One table of all clients. A worker numbers the connections of its clients; a connection that is newer
    than that of another worker closes the older one there."""

    def __init__(self) -> None:
        self._clients: dict[str, _Connected] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def count(self, to: Sequence[str] | None) -> int:
        """Return how many clients a message goes to; `to` is None for everyone."""
        return len(self._clients) if to is None else sum(name in self._clients for name in to)

    def joined(self, holder: Holder, client_id: str, serial: int) -> None:
        """Note a new connection, which closes an older one of this id at another worker."""
        older = self._clients.get(client_id)
        self._clients[client_id] = _Connected(holder, serial)
        if older and older.holder is not holder:
            older.holder.send("replaced", id=client_id, serial=older.serial)

    def left(self, holder: Holder, client_id: str, serial: int) -> None:
        """Note that a connection has ended; a newer one of this id stays."""
        if self._clients.get(client_id) == (holder, serial):
            del self._clients[client_id]

    def present(self, holder: Holder, clients: Iterable[tuple[str, int]]) -> None:
        """Note that these, and no others, are the clients of a worker, which another process was until now.
        A connection at another worker is newer: the parent has been told of that later."""
        self._drop(lambda each: each.number == holder.number)
        for client_id, serial in clients:
            if client_id in self._clients:
                holder.send("replaced", id=client_id, serial=serial)
            else:
                self._clients[client_id] = _Connected(holder, serial)

    def exited(self, holder: Holder) -> None:
        """Note that a process has ended, and its connections with it."""
        self._drop(lambda each: each is holder)

    def rows(self) -> list[tuple[int, str, int]]:
        """Return the pid of the worker, the client and the serial of each connection, as JSON."""
        return [(at.holder.pid, name, at.serial) for name, at in self._clients.items()]

    def restore(self, rows: Iterable[Sequence[Any]], holders: Mapping[int, Holder]) -> None:
        """Take over the connections of which another table made the rows, of workers by their pids."""
        self._clients |= {
            name: _Connected(holders[pid], serial) for pid, name, serial in rows if pid in holders
        }

    def _drop(self, of: Callable[[Holder], bool]) -> None:
        self._clients = {name: at for name, at in self._clients.items() if not of(at.holder)}
