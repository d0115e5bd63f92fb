"""What is kept of messages in one order, by topic. It decides, and knows what is missing; it does no I/O and
looks at no clock.

Of each topic the newest `most` stay, and messages without a topic count as one; of all of them those that are
younger than `ttl`, and as many as have `most_bytes` together. Above these the topic with the most bytes loses
its oldest message, so that none loses anything while another one has more.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice
from operator import attrgetter
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

MessageId = tuple[int, int]
"""Milliseconds and sequence number: ids compare as they are ordered."""

MOST_FLOORS = 65_536
"""Topics of which nothing is kept and whose floors are known, some ten megabytes of them. Beyond it the
floors that moved first become one, for all topics that are not known."""

_IDLE = 1024
"""Places of what is gone that may always be there: fewer are not worth a walk through all."""

_id = attrgetter("id")


class Retained(Protocol):
    """A message as far as retention is concerned; `topic` is None where it has none."""

    @property
    def id(self) -> MessageId: ...

    @property
    def topic(self) -> str | None: ...


T = TypeVar("T", bound=Retained)


class TopicSize(NamedTuple):
    """The size of one topic, or, where that is None, of the messages without one: so many `messages` of
    so many `bytes` are kept, the last of them `newest`."""

    topic: str | None
    messages: int
    bytes: int
    newest: MessageId


class Floors(NamedTuple):
    """The ids behind which nothing is missing: of messages without a topic, of topics by their names, and of
    all `other` topics."""

    everybody: MessageId
    topics: dict[str, MessageId]
    other: MessageId

    @property
    def newest(self) -> MessageId:
        """The id behind which no message is missing, of any topic."""
        return max(self.everybody, self.other, *self.topics.values())

    def of(self, topic: str | None) -> MessageId:
        """Return the floor of a topic, or for None of the messages without one."""
        return self.everybody if topic is None else self.topics.get(topic, self.other)


class _Topic(Generic[T]):
    """The messages of a topic that are kept, oldest first: at least one."""

    __slots__ = ("bytes", "floor", "items", "name")

    def __init__(self, name: str | None, floor: MessageId) -> None:
        self.name = name
        self.floor = floor
        self.items: deque[T] = deque()
        self.bytes = 0


class Retention(Generic[T]):
    """Messages of one order, of which it lets go by the rule above; 0 of `most` or `most_bytes` keeps none, a
    `ttl` of 0 seconds all, however old. Nothing is missing behind `floor`.

    What `add` took stays until `trim` or `expire`. `let_go` is called with ids that are forgotten, perhaps
    with others before and between them, `give_up` with topics whose floor is not known any more.

    Attributes:
        most, most_bytes, ttl: the bounds.
        bytes: the size of all that is kept.
        position: the id of the newest message that was added.
        is_plain: True until the first message with a topic was added.
    """

    def __init__(
        self,
        floor: MessageId,
        most: int,
        most_bytes: int,
        ttl: float = 0.0,
        *,
        most_floors: int = MOST_FLOORS,
        let_go: Callable[[Sequence[MessageId]], object] = lambda ids: None,
        give_up: Callable[[str], object] = lambda topic: None,
    ) -> None:
        self.most = most
        self.most_bytes = most_bytes
        self.ttl = ttl
        self._most_floors = most_floors
        self._let_go = let_go
        self._give_up = give_up
        self.restore(Floors(floor, {}, floor), floor)

    def restore(self, floors: Floors, position: MessageId) -> None:
        """Begin anew, behind these floors: nothing is kept, and `position` was the newest message."""
        self.bytes = 0
        self.position = position
        self._floor = max(floors.other, *floors.topics.values()) if floors.topics else floors.other
        self._everybody = floors.everybody
        self._other = self._begun = floors.other
        # By when they moved, with the position of then; the second of those of which something is kept.
        self._emptied: dict[str, tuple[MessageId, MessageId]] = {}
        self._moved: dict[str, MessageId] = {}
        self._topics: dict[str | None, _Topic[T]] = {}
        self._over: list[_Topic[T]] = []
        self._ranks: list[tuple[int, MessageId, _Topic[T]]] | None = None
        # All in order; those that were dropped from the middle, and before `_first`, are None and 0.
        self._ids: list[MessageId] = []
        self._items: list[Any] = []
        self._sizes: list[int] = []
        self._first = self._gaps = 0
        self._room = _IDLE
        self.is_plain = True
        for name, floor in floors.topics.items():
            self._note_emptied(name, floor)

    def __len__(self) -> int:
        return len(self._ids) - self._first - self._gaps

    def __iter__(self) -> Iterator[T]:
        """Iterate over everything kept, oldest first."""
        return (item for item in islice(self._items, self._first, None) if item is not None)

    @property
    def floor(self) -> MessageId:
        """The id behind which no message is missing, of any topic."""
        return max(self._everybody, self._floor)

    @property
    def has_topics(self) -> bool:
        """True if something with a topic is kept."""
        return self.topic_count > 0

    @property
    def topic_count(self) -> int:
        """The number of topics of which something is kept."""
        return len(self._topics) - (None in self._topics)

    def add(self, item: T, size: int) -> bool:
        """Keep a message that is newer than all before it; return whether `trim` has something to do."""
        self.position = message_id = item.id
        self.bytes += size
        self._ids.append(message_id)
        self._items.append(item)
        self._sizes.append(size)
        if self.is_plain:
            if item.topic is None:
                return len(self._ids) - self._first > self.most or self.bytes > self.most_bytes
            self._begin_topics()
        topic = self._topics.get(item.topic) or self._begin(item.topic)
        topic.items.append(item)
        topic.bytes += size
        if len(topic.items) > self.most:
            self._over.append(topic)
        self._rank(topic)
        return bool(self._over) or self.bytes > self.most_bytes

    def extend(self, items: Sequence[T], sizes: Sequence[int]) -> None:
        """Keep messages that are newer than all before them."""
        if self.is_plain and items and all(item.topic is None for item in items):
            self.position = items[-1].id
            self.bytes += sum(sizes)
            self._ids += [item.id for item in items]
            self._items += items
            self._sizes += sizes
        else:
            for item, size in zip(items, sizes, strict=True):
                self.add(item, size)

    def put(self, item: T, size: int) -> None:
        """Keep a message that is newer than all before it, and let go of what is above the bounds."""
        if not self.is_plain or item.topic is not None or self.bytes + size > self.most_bytes:
            if self.add(item, size):
                self.trim()
            return
        # Where there are no topics each message lets go of one: without calls that takes half as long.
        ids, items, sizes, first = self._ids, self._items, self._sizes, self._first
        self.position = message_id = item.id
        ids.append(message_id)
        items.append(item)
        sizes.append(size)
        if len(ids) - first <= self.most:
            self.bytes += size
            return
        self.bytes += size - sizes[first]
        items[first] = None
        self._everybody = ids[first]
        self._first = first + 1
        if first > self._room:
            self._compact()

    def trim(self, until: MessageId | None = None) -> list[T]:
        """Let go of what is above the bounds, as far as it is not behind `until`; return it."""
        dropped = self._trim_plain(until) if self.is_plain else self._trim_topics(until)
        if self._first + self._gaps > self._room:
            self._compact()
        return dropped

    def _trim_plain(self, until: MessageId | None) -> list[T]:
        ids, sizes = self._ids, self._sizes
        first = last = self._first
        size, above = self.bytes, len(ids) - self.most
        while last < above or size > self.most_bytes:
            if until is not None and ids[last] > until:
                break
            size -= sizes[last]
            last += 1
        dropped = self._items[first:last]
        if dropped:
            self._items[first:last] = [None] * len(dropped)
            self._everybody = ids[last - 1]
            self._first, self.bytes = last, size
        return dropped

    def _trim_topics(self, until: MessageId | None) -> list[T]:
        dropped: list[T] = []
        over, self._over = self._over, []
        for topic in over:
            while len(topic.items) > self.most:
                if until is not None and topic.items[0].id > until:
                    self._over.append(topic)
                    break
                dropped.append(self._drop(topic))
        while self.bytes > self.most_bytes:
            topic = self._largest()
            if until is not None and topic.items[0].id > until:
                break
            dropped.append(self._drop(topic))
        return dropped

    def expire(self, now_ms: int, until: MessageId | None = None) -> list[T]:
        """Let go of what is older than `ttl` at `now_ms`, in Unix milliseconds, and not behind `until`;
        return it."""
        dropped: list[T] = []
        if not self.ttl:
            return dropped
        begin = now_ms - int(self.ttl * 1000), 0
        while self._first < len(self._ids):
            oldest = self._ids[self._first]
            if oldest >= begin or (until is not None and oldest > until):
                break
            dropped.append(self._drop_oldest())
        if self._first + self._gaps > self._room:
            self._compact()
        return dropped

    # What is kept, and what is missing

    def knows(self, message_id: MessageId) -> bool:
        """Tell whether a message is kept, or was until recently."""
        at = bisect_left(self._ids, message_id)
        return at < len(self._ids) and self._ids[at] == message_id

    def behind(self, message_id: MessageId) -> tuple[list[T], int]:
        """Return all messages behind one, oldest first, and the bytes of them."""
        at = max(bisect_right(self._ids, message_id), self._first)
        found = self._items[at:]
        kept = found if not self._gaps else [item for item in found if item is not None]
        return kept, self.bytes if at == self._first else sum(self._sizes[at:])

    def sized_behind(self, message_id: MessageId) -> list[tuple[T, int]]:
        """Return all messages behind one, oldest first, each with its size."""
        at = max(bisect_right(self._ids, message_id), self._first)
        pairs = zip(self._items[at:], self._sizes[at:], strict=True)
        return [(item, size) for item, size in pairs if item is not None]

    def count_behind(self, message_id: MessageId) -> int:
        """Return the number of messages behind one; a few more where others between them are gone."""
        return len(self._ids) - max(bisect_right(self._ids, message_id), self._first)

    def count_of(self, topic: str | None) -> int:
        """Return the number of messages of one topic."""
        if self.is_plain:
            return len(self) if topic is None else 0
        found = self._topics.get(topic)
        return len(found.items) if found else 0

    def ids(self) -> Sequence[MessageId]:
        """Return all ids that `knows` knows, in order."""
        return self._ids

    def of(self, topic: str | None, seen: MessageId = (0, 0)) -> list[T]:
        """Return the messages of one topic behind `seen`, oldest first."""
        if self.is_plain:
            return self.behind(seen)[0] if topic is None else []
        found = self._topics.get(topic)
        return list(islice(found.items, bisect_right(found.items, seen, key=_id), None)) if found else []

    def moved_since(self, seen: MessageId) -> Iterator[str | None]:
        """Yield the topics, None too, of which there are messages behind `seen`."""
        if self.is_plain:
            return iter((None,) if len(self) and self._ids[-1] > seen else ())
        return (name for name, topic in self._topics.items() if topic.items[-1].id > seen)

    def topics(self) -> Iterator[TopicSize]:
        """Yield what is kept of each topic, in no order."""
        if self.is_plain and len(self):
            yield TopicSize(None, len(self), self.bytes, self._ids[-1])
        for topic in self._topics.values():
            yield TopicSize(topic.name, len(topic.items), topic.bytes, topic.items[-1].id)

    def floor_of(self, name: str | None) -> MessageId:
        """Return the id behind which nothing of a topic is missing; of the messages without one for None."""
        if name is None:
            return self._everybody
        if topic := self._topics.get(name):
            return topic.floor
        return self._emptied[name][0] if name in self._emptied else self._other

    @property
    def other_floor(self) -> MessageId:
        """The floor of all topics that are not known."""
        return self._other

    def lost_since(self, seen: MessageId) -> Iterator[str]:
        """Yield the known topics of which messages behind `seen` are missing, those that lost one last
        first."""
        for name, when in reversed(self._moved.items()):
            if when <= seen:
                break
            if self._topics[name].floor > seen:
                yield name
        for name, (floor, when) in reversed(self._emptied.items()):
            if when <= seen:
                break
            if floor > seen:
                yield name

    def floors(self) -> Floors:
        """Return all floors, in the order in which they moved."""
        floors = {name: floor for name, (floor, _) in self._emptied.items()}
        floors |= {name: self._topics[name].floor for name in self._moved}
        if self._begun < self._other:  # where it has moved, those that have not must be named
            floors |= {t.name: t.floor for t in self._topics.values() if t.name and t.floor < self._other}
        return Floors(self._everybody, floors, self._other)

    # The parts of these

    def _begin_topics(self) -> None:
        """Begin to tell topics apart: the newest message, the last one that was added, has one."""
        self.is_plain = False
        if len(self) > 1:
            topic = self._begin(None)
            topic.items.extend(islice(self._items, self._first, len(self._items) - 1))
            topic.bytes = sum(self._sizes[self._first : -1])
            self._over = [topic]  # as far as it is: they may not have been let go

    def _begin(self, name: str | None) -> _Topic[T]:
        """Begin a topic of which nothing was kept."""
        topic = self._topics[name] = _Topic(name, self.floor_of(name))
        if name is not None and name in self._emptied:
            del self._emptied[name]
            self._moved[name] = self.position
        return topic

    def _drop_oldest(self) -> T:
        """Let go of the oldest message of all."""
        first = self._first
        item: T = self._items[first]
        if not self.is_plain:
            return self._drop(self._topics[item.topic])
        self.bytes -= self._sizes[first]
        self._items[first] = None
        self._everybody = self._ids[first]
        self._first = first + 1
        return item

    def _drop(self, topic: _Topic[T]) -> T:
        """Let go of the oldest message of a topic."""
        item = topic.items.popleft()
        at = self._first
        if self._ids[at] == item.id:
            self._first = at + 1
        else:
            at = bisect_left(self._ids, item.id, at)
            self._gaps += 1
        size = self._sizes[at]
        self._items[at], self._sizes[at] = None, 0
        while self._gaps and self._items[self._first] is None:
            self._first += 1
            self._gaps -= 1
        topic.bytes -= size
        self.bytes -= size
        self._move_floor(topic, item.id)
        return item

    def _move_floor(self, topic: _Topic[T], to: MessageId) -> None:
        name = topic.name
        topic.floor = to
        if name is None:
            self._everybody = to
        else:
            self._floor = max(self._floor, to)
            self._moved.pop(name, None)
            if topic.items:
                self._moved[name] = self.position
            else:
                self._note_emptied(name, to)
        if not topic.items:
            del self._topics[name]
        else:
            self._rank(topic)

    def _note_emptied(self, name: str, floor: MessageId) -> None:
        self._emptied[name] = floor, self.position
        if len(self._emptied) > self._most_floors:
            first = next(iter(self._emptied))
            self._other = max(self._other, self._emptied.pop(first)[0])
            self._give_up(first)

    def _largest(self) -> _Topic[T]:
        """Return the topic with the most bytes; of several the one with the oldest message."""
        if len(self._topics) == 1:
            [alone] = self._topics.values()
            return alone
        if self._ranks is None:
            self._ranks = [(-topic.bytes, topic.items[0].id, topic) for topic in self._topics.values()]
            heapify(self._ranks)
        while True:
            rank, oldest, topic = self._ranks[0]
            if topic.items and -rank == topic.bytes and topic.items[0].id == oldest:
                return topic
            heappop(self._ranks)  # it has changed since, and has another rank

    def _rank(self, topic: _Topic[T]) -> None:
        """Note how a topic stands now; what was noted of it before counts no more."""
        ranks = self._ranks
        if ranks is None:
            return
        heappush(ranks, (-topic.bytes, topic.items[0].id, topic))
        if len(ranks) > 2 * len(self._topics) + _IDLE:
            self._ranks = None  # most are outdated: they are made anew when they are needed

    def _compact(self) -> None:
        """Free the places of what was dropped; of all ids, those that were dropped are no more known here."""
        self._let_go(self._ids)
        if self._gaps:
            places = [at for at in range(self._first, len(self._ids)) if self._items[at] is not None]
            self._ids = [self._ids[at] for at in places]
            self._items = [self._items[at] for at in places]
            self._sizes = [self._sizes[at] for at in places]
        else:
            del self._ids[: self._first], self._items[: self._first], self._sizes[: self._first]
        self._first = self._gaps = 0
        self._room = max(len(self._ids), _IDLE)
