"""A log as the manual tells of it, in the plainest way: the messages in a list, and each rule a loop."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from wsctl.log.history import MessageId
from wsctl.log.message_log import read_id
from wsctl.topics import covers, matches

Addressees = tuple[str, ...] | None


class Said(NamedTuple):
    """A published message, and the bytes of its frame."""

    id: MessageId
    data: Any
    topic: str | None
    to: Addressees
    size: int

    def is_of(self, patterns: Iterable[str]) -> bool:
        """Whether it is for everybody, or of a topic of these patterns."""
        return self.topic is None or any(matches(pattern, self.topic) for pattern in patterns)

    def is_for(self, client_id: str) -> bool:
        return self.to is None or client_id in self.to


class Recovered(NamedTuple):
    """What a client is sent of what it missed, and what it is told beside."""

    messages: list[Said]
    recovered: bool
    lost: tuple[str, ...]


class LogModel:
    """What is kept of all that was said, and what is missing.

    Attributes:
        said: every message, oldest first.
        kept: those that can be resumed after.
        gone: of each topic, None for the messages without one, the newest that is kept no more.
        held: while it is true, nothing is let go.
    """

    def __init__(self, begun: MessageId, most: int, most_bytes: int, ttl: float) -> None:
        self.said: list[Said] = []
        self.kept: list[Said] = []
        self.gone: dict[str | None, MessageId] = {}
        self.held = False
        self._begun = begun
        self._most = most
        self._most_bytes = most_bytes
        self._ttl_ms = int(ttl * 1000)

    @property
    def newest(self) -> MessageId:
        return self.said[-1].id if self.said else self._begun

    @property
    def ids(self) -> list[MessageId]:
        """Every id that was given, and the one before the first."""
        return [self._begun, *(message.id for message in self.said)]

    def add(self, message: Said, now: float) -> None:
        assert message.id > self.newest
        self.said.append(message)
        self.kept.append(message)
        self.trim(now)

    def trim(self, now: float) -> None:
        """Let go of what is above the bounds at this time, in Unix seconds."""
        if self.held:
            return
        for messages in self._by_topic().values():
            self._drop(messages[: max(0, len(messages) - self._most)])
        while sum(message.size for message in self.kept) > self._most_bytes:
            topics = self._by_topic().values()
            largest = max(topics, key=lambda each: (sum(m.size for m in each), [-n for n in each[0].id]))
            self._drop(largest[:1])
        if self._ttl_ms:
            self._drop([m for m in self.kept if m.id < (int(now * 1000) - self._ttl_ms, 0)])

    def recover(
        self, since: str, client_id: str, patterns: Collection[str], beside: Collection[str] | None = None
    ) -> Recovered:
        """What a client with these patterns gets that has seen the message `since`; with `beside`, of what
        these do not match already."""
        seen = read_id(since)
        if seen is None or seen not in self.ids:
            new = [p for p in patterns if not any(covers(b, p) for b in beside or ())]
            return Recovered([], beside is not None and not new, tuple(sorted(new)))
        missed = [m for m in self.kept if m.id > seen and self._is_new(m, patterns, beside)]
        everybody = beside is not None or self.gone.get(None, seen) <= seen
        if not (everybody or patterns):
            return Recovered([], False, ())
        gone = [Said(at, None, topic, None, 0) for topic, at in self.gone.items() if topic and at > seen]
        lost = tuple(sorted(str(m.topic) for m in gone if self._is_new(m, patterns, beside)))
        return Recovered([m for m in missed if m.is_for(client_id)], everybody and not lost, lost)

    def _is_new(self, message: Said, patterns: Iterable[str], beside: Iterable[str] | None) -> bool:
        return message.is_of(patterns) and (beside is None or not message.is_of(beside))

    def _by_topic(self) -> dict[str | None, list[Said]]:
        found: dict[str | None, list[Said]] = defaultdict(list)
        for message in self.kept:
            found[message.topic].append(message)
        return found

    def _drop(self, messages: list[Said]) -> None:
        for message in messages:
            self.kept.remove(message)
            self.gone[message.topic] = message.id
