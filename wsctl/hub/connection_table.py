"""The connections of other processes, as far as this one is told of them: to how many of them a message
goes."""

from collections.abc import Collection, Hashable, ItemsView, Iterable, Iterator, Sequence
from typing import Generic, NamedTuple, TypeVar

from wsctl.hub.subscriptions import SubscriptionIndex
from wsctl.topics import matches

K = TypeVar("K", bound=Hashable)


class TableRow(NamedTuple):
    """A connection: whose it is, and the patterns of topics that it subscribes to."""

    client_id: str
    patterns: tuple[str, ...]

    def subscribes_to(self, topic: str) -> bool:
        """Tell whether any of its patterns matches."""
        return any(matches(pattern, topic) for pattern in self.patterns)


class ConnectionTable(Generic[K]):
    """Connections by their keys. Those of a client are in the order in which they came, the oldest first."""

    def __init__(self) -> None:
        self._rows: dict[K, TableRow] = {}
        self._keys: dict[str, tuple[K, ...]] = {}
        self._subscriptions: SubscriptionIndex[K] = SubscriptionIndex()

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, key: K) -> bool:
        return key in self._rows

    def __iter__(self) -> Iterator[K]:
        """Return the keys, those of the connections that came first leading."""
        return iter(self._rows)

    def items(self) -> ItemsView[K, TableRow]:
        """Return the keys and the connections, in the same order."""
        return self._rows.items()

    @property
    def clients(self) -> int:
        """The number of clients that have a connection."""
        return len(self._keys)

    @property
    def topics(self) -> Collection[str]:
        """The topics to which some of them subscribe by name."""
        return self._subscriptions.topics

    def get(self, key: K) -> TableRow | None:
        """Return a connection; None where there is none of this key."""
        return self._rows.get(key)

    def of(self, client_id: str) -> tuple[K, ...]:
        """Return the keys of a client's connections, the oldest first."""
        return self._keys.get(client_id, ())

    def put(self, key: K, client_id: str, patterns: Iterable[str] = (), *, oldest: bool = False) -> None:
        """Take a connection in, as the newest of its client or as the `oldest`; or note what it subscribes to
        by now."""
        row, known = TableRow(client_id, tuple(patterns)), self._rows.get(key)
        self._rows[key] = row
        if known is None:
            keys = self._keys.get(client_id, ())
            self._keys[client_id] = (key, *keys) if oldest else (*keys, key)
        self._index(key, known.patterns if known else (), row.patterns)

    def remove(self, key: K) -> TableRow | None:
        """Let a connection go; return what is known of it, None where there is none of this key."""
        row = self._rows.pop(key, None)
        if row:
            if rest := tuple(each for each in self._keys[row.client_id] if each != key):
                self._keys[row.client_id] = rest
            else:
                del self._keys[row.client_id]
            self._index(key, row.patterns, ())
        return row

    def matching(self, topic: str) -> Sequence[K]:
        """Return the keys of the connections that subscribe to a topic, each once."""
        return self._subscriptions.matching(topic)

    def count(self, to: Iterable[str] | None, topic: str | None = None) -> int:
        """Return to how many connections a message goes; `to` is None for all clients, `topic` for one that
        needs no subscription."""
        if to is None:
            return len(self._rows) if topic is None else len(self.matching(topic))
        keys = [key for client_id in dict.fromkeys(to) for key in self.of(client_id)]
        return len(keys) if topic is None else sum(self._rows[key].subscribes_to(topic) for key in keys)

    def _index(self, key: K, before: Sequence[str], now: Sequence[str]) -> None:
        if before or now:
            for pattern in set(before).difference(now):
                self._subscriptions.remove(pattern, key)
            for pattern in set(now).difference(before):
                self._subscriptions.add(pattern, key)
