"""The size of the shared log, as a node reads it, and from where on it is kept: decided without input and
output."""

from collections import deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from wsctl.log.history import MessageId

LEAST_KEPT = 1000
"""Entries that the log keeps at least, for nodes that were cut off; `--history` may want more."""

MOST_WITH_TOPICS = 100_000
"""Entries that a log with topics keeps at most: each topic has a history of its own, so that many more than
`--history` may be wanted. A node that starts reads all of them, in a second or two."""

STEPS = 64
"""Parts of the bytes that are kept: the log is trimmed by whole ones."""

ENTRIES_A_STEP = LEAST_KEPT // 4
"""Entries after which a new step begins, however few bytes they have."""


class _Step(NamedTuple):
    """The first entry of a step, and what the node had read before it."""

    id: MessageId
    bytes: int
    entries: int


class StreamSize:
    """The bytes and the number of the log's entries, counted from the first that this node has read.

    The log keeps its newest entries: `most_bytes` of their messages, but at least `LEAST_KEPT` entries; and
    no more than `most` of them, or `MOST_WITH_TOPICS` while one of them has a topic.

    Attributes:
        most_bytes: the bytes of messages that are kept.
    """

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._most = max(most, LEAST_KEPT)
        self._step_bytes = max(1, most_bytes // STEPS)
        self._steps: deque[_Step] = deque()
        self._bytes = 0
        self._entries = 0
        self._trimmed = False
        self._newest_topical: MessageId | None = None

    @property
    def has_topics(self) -> bool:
        """True if an entry that is kept has a topic."""
        newest = self._newest_topical
        return newest is not None and (not self._steps or newest >= self._steps[0].id)

    def most(self, *, with_topics: bool = False) -> int:
        """Return how many entries are kept, `with_topics` also when none has one yet."""
        return max(self._most, MOST_WITH_TOPICS) if with_topics or self.has_topics else self._most

    def note(self, message_id: MessageId, size: int, *, topical: bool) -> None:
        """Note the entry that was read last; `size` is the bytes of its message."""
        last = self._steps[-1] if self._steps else None
        begins = (
            last is None
            or self._bytes - last.bytes >= self._step_bytes
            or self._entries - last.entries >= ENTRIES_A_STEP
        )
        if begins:
            self._steps.append(_Step(message_id, self._bytes, self._entries))
        self._bytes += size
        self._entries += 1
        if topical:
            self._newest_topical = message_id
        if begins:
            self._trim()

    @property
    def first_kept(self) -> MessageId | None:
        """The id of the first entry that is to be kept; None where all are."""
        return self._steps[0].id if self._trimmed else None

    def state(self) -> list[Any]:
        """Return all of this as JSON has it, for another process."""
        steps = [[*step.id, step.bytes, step.entries] for step in self._steps]
        return [self._bytes, self._entries, self._newest_topical, self._trimmed, steps]

    def restore(self, state: Iterable[Any]) -> None:
        """Go on from the state of another process."""
        self._bytes, self._entries, newest, self._trimmed, steps = state
        self._newest_topical = newest and (newest[0], newest[1])
        self._steps = deque(_Step((ms, sequence), size, count) for ms, sequence, size, count in steps)

    def _trim(self) -> None:
        steps = self._steps
        while len(steps) > 1 and self._is_enough_behind(steps[1]):
            steps.popleft()
            self._trimmed = True

    def _is_enough_behind(self, step: _Step) -> bool:
        """Tell whether nothing before this step is to be kept."""
        size, entries = self._bytes - step.bytes, self._entries - step.entries
        return entries >= self.most() or (size >= self.most_bytes and entries >= LEAST_KEPT)
