"""The newest messages, kept for clients that come back, and what one of these missed."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import NamedTuple

from wsctl.frame import Batch
from wsctl.log import retention
from wsctl.log.known_ids import KnownIds, Packed
from wsctl.log.retention import Floors, Retention, TopicSize
from wsctl.log.selection import Selection
from wsctl.messages import addressed
from wsctl.topics import matches

MessageId = retention.MessageId

MOST_LOST = 100
"""Topics that a client is told to have lost; if there are more, it is told the patterns that match them."""

KNOWN_TOGETHER = 65_536
"""Known ids that are sent together, a megabyte."""

_MERGED_BELOW = 4
"""How many times fewer the messages of the topics that a client wants must be than all, for it to be quicker
to bring these into one order than to pass over the others."""

_wire = attrgetter("batch.wire")


class Entry(NamedTuple):
    """One message as it is sent; `to` is None for everyone, `topic` for all topics at once."""

    id: MessageId
    batch: Batch
    to: tuple[str, ...] | None
    topic: str | None = None

    @property
    def is_same_for_all(self) -> bool:
        """True if all recipients get the same frame."""
        return self.to is None or len(self.to) == 1

    def each(self) -> Callable[[str], Batch]:
        """Return a function that returns the frame of each recipient. Frames that differ are not
        compressed."""
        if self.to is None or self.is_same_for_all:
            same = self.batch.copy()
            return lambda client_id: same
        (payload,) = self.batch.payloads
        made = addressed(payload, self.to)
        return lambda client_id: Batch((made(client_id),), plain=True)


class Selected(NamedTuple):
    """The messages of a selection that were published behind an id, oldest first, of so many `bytes`;
    `recovered` is false if anything is missing, of the topics `lost` or of the messages without one."""

    entries: list[Entry]
    bytes: int
    recovered: bool
    lost: tuple[str, ...]


class History:
    """Of each topic at most `most` messages, younger than `ttl` seconds by the clock `wall`, and of all at
    most `most_bytes` of their frames (`wsctl/log/retention.py` has the rule). 0 of `most` or `most_bytes`
    keeps none, 0 of `ttl` all, however old.

    Attributes:
        most, most_bytes, ttl: the bounds.
    """

    def __init__(
        self,
        floor: MessageId,
        most: int,
        most_bytes: int,
        ttl: float = 0.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.most = most
        self.most_bytes = most_bytes
        self.ttl = ttl
        self._wall = wall
        self._held = False
        self._known = KnownIds()
        self._kept = Retention[Entry](floor, most, most_bytes, ttl, let_go=self._remember)
        self._known.extend([floor])

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """The size of the frames kept."""
        return self._kept.bytes

    @property
    def floor(self) -> MessageId:
        """The id behind which everything is kept, of all topics."""
        return self._kept.floor

    @property
    def oldest(self) -> MessageId:
        """The id of the oldest message that is kept; without one, that of the newest that was given."""
        return next((entry.id for entry in self._kept), self._kept.position)

    @property
    def has_topics(self) -> bool:
        """True if something with a topic is kept."""
        return self._kept.has_topics

    @property
    def topic_count(self) -> int:
        """The number of topics of which something is kept."""
        return self._kept.topic_count

    def add(self, entry: Entry) -> None:
        """Keep a message that is newer than all before it, and let go of what is above the bounds."""
        if self._held:
            self._kept.add(entry, len(entry.batch.wire))
            return
        self._kept.put(entry, len(entry.batch.wire))
        if self.ttl:
            self.expire()

    def expire(self) -> None:
        """Let go of what has become too old."""
        if self.ttl and not self._held:
            self._kept.expire(int(self._wall() * 1000))

    def hold(self, held: bool) -> None:
        """Drop nothing while `held`, whatever the bounds."""
        self._held = held
        if not held:
            self._kept.trim()
            self.expire()

    def entries(self) -> list[Entry]:
        """Return everything kept, oldest first."""
        self.expire()
        return list(self._kept)

    def of(self, topic: str | None, seen: MessageId = (0, 0)) -> list[Entry]:
        """Return what is kept of one topic, or for None of the messages without one, behind `seen`."""
        self.expire()
        return self._kept.of(topic, seen)

    def topics(self) -> Iterator[TopicSize]:
        """Yield what is kept of each topic, and of the messages without one, in no order."""
        self.expire()
        return self._kept.topics()

    def floor_of(self, topic: str | None) -> MessageId:
        """Return the id behind which nothing of a topic is missing, or for None of the messages without
        one."""
        return self._kept.floor_of(topic)

    def floors(self) -> Floors:
        """Return the ids behind which nothing is missing, of all topics."""
        return self._kept.floors()

    def knows(self, message_id: MessageId) -> bool:
        """Tell whether the id was given, as far as they are remembered."""
        return self._kept.knows(message_id) or message_id in self._known

    def known_ids(self) -> list[Packed]:
        """Return all ids that are known, as `KnownIds.extend_packed` reads them; nothing where they are those
        of the messages that are kept, and the floor."""
        self._remember(self._kept.ids())
        return self._known.packed(KNOWN_TOGETHER) if len(self._known) > len(self._kept) + 1 else []

    def since(self, seen: MessageId) -> list[Entry] | None:
        """Return the messages after the message `seen`, oldest first; None when they are not known, because
        that id was never given, or is further back than what is kept."""
        self.expire()
        return self._kept.behind(seen)[0] if seen >= self.floor and self.knows(seen) else None

    def select(self, seen: MessageId | None, of: Selection) -> Selected:
        """Return what of a selection a client missed that has seen the message `seen`, None for what is no
        id, as far as it is kept."""
        self.expire()
        if seen is None or not self.knows(seen):
            return Selected([], 0, not (of.everybody or of.patterns), tuple(sorted(of.patterns)))
        everybody = not of.everybody or self._kept.floor_of(None) <= seen
        lost = self._lost(seen, of) if of.patterns and self.floor > seen else ()
        if not (everybody or of.patterns):
            return Selected([], 0, False, ())
        return Selected(*self._selected(seen, of), everybody and not lost, lost)

    def restore(
        self,
        floor: MessageId,
        entries: Iterable[Entry],
        position: MessageId | None = None,
        *,
        floors: Floors | None = None,
        known: KnownIds | None = None,
    ) -> None:
        """Replace what is kept by what another history kept, up to its `position`; `floors` are those of its
        topics, where it has told them, and `known` the ids that it knew."""
        kept = self._kept
        kept.restore(floors or Floors(floor, {}, floor), floor)
        for entry in entries:
            kept.add(entry, len(entry.batch.wire))
        kept.position = max(kept.position, position or floor)
        self._known = known or KnownIds()
        if not self._known:
            self._known.extend(sorted({floor, *kept.ids()}))
        self._known.extend([*kept.ids(), kept.position])
        if not self._held:
            kept.trim()
            self.expire()

    def _remember(self, ids: Sequence[MessageId]) -> None:
        self._known.extend(ids)

    def _selected(self, seen: MessageId, of: Selection) -> tuple[list[Entry], int]:
        """Return what is kept of a selection behind `seen`, and its bytes."""
        kept = self._kept
        if not kept.has_topics:
            return kept.behind(seen) if of.everybody else ([], 0)
        count = kept.count_behind(seen)
        if of.wildcards and count <= kept.topic_count:
            found = [entry for entry in kept.behind(seen)[0] if entry.topic in of]
        else:
            names = list(kept.moved_since(seen)) if of.wildcards else [None, *of.names]
            mine = {name for name in names if name in of}
            if of.wildcards and len(mine) == len(names):
                return kept.behind(seen)
            if sum(map(kept.count_of, mine)) * _MERGED_BELOW < count:
                found = sorted(entry for name in mine for entry in kept.of(name, seen))
            else:
                found = [entry for entry in kept.behind(seen)[0] if entry.topic in mine]
        return found, sum(map(len, map(_wire, found)))

    def _lost(self, seen: MessageId, of: Selection) -> tuple[str, ...]:
        """Name the topics of a selection of which messages behind `seen` are missing, or patterns that match
        them."""
        kept = self._kept
        lost = {name for name in of.names if name in of and kept.floor_of(name) > seen}
        unknown = kept.other_floor > seen
        if of.wildcards and not unknown:
            lost.update(name for name in kept.lost_since(seen) if name in of)
        elif unknown:
            lost.update(of.wildcards)
        if len(lost) > MOST_LOST:
            lost = {pattern for pattern in of.patterns if any(matches(pattern, name) for name in lost)}
        return tuple(sorted(lost))


class Missed:
    """Messages of history for one client, oldest first, which are looked at when they are taken.

    Attributes:
        bytes: the bytes that are left at most.
    """

    def __init__(self, entries: Sequence[Entry], client_id: str, size: int) -> None:
        self._entries = entries
        self._client_id = client_id
        self._next = 0
        self.bytes = size

    def __len__(self) -> int:
        """Return how many messages are left at most."""
        return len(self._entries) - self._next

    def __iter__(self) -> Iterator[Batch]:
        while self:
            yield from self.take(self.bytes or 1)

    def take(self, room: int) -> list[Batch]:
        """Return the next messages, from about `room` bytes of history; at least one message of it is looked
        at."""
        found: list[Batch] = []
        begun = self._next
        while self:
            entry = self._entries[self._next]
            size = len(entry.batch.wire)
            if size > room and self._next > begun:
                break
            self._next += 1
            room -= size
            self.bytes -= size
            if entry.to is None:  # nearly all of them
                found.append(entry.batch)
            elif self._client_id in entry.to:
                found.append(entry.batch if entry.is_same_for_all else entry.each()(self._client_id))
        if not self:
            self.bytes = 0
        return found
