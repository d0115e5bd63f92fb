"""The idempotency keys of messages: by them a publisher that does not know whether its message was published
can publish it again, and it is published once."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from wsctl.log.history import MessageId

TTL = 300
"""Seconds for which a key is remembered: longer than anybody tries again."""

MOST_KEYS = 10_000
"""Keys that one process remembers."""


def of_sender(key: str, sender: str) -> str:
    """Return the key among those of all senders: nobody takes another one's."""
    return f"{sender}\0{key}"


class SeenKeys:
    """The keys of the last `TTL` seconds, the newest `MOST_KEYS` of them, each with the id of its message.
    `clock` is in seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._found: dict[str, tuple[MessageId, float]] = {}

    def __len__(self) -> int:
        return len(self._found)

    def find(self, key: str) -> MessageId | None:
        """Return the id of the message with this key; None if it was not seen."""
        self._expire()
        found = self._found.get(key)
        return found[0] if found else None

    def add(self, key: str, message_id: MessageId) -> None:
        """Remember the key of a message that was published just now."""
        self._expire()
        self._found.pop(key, None)
        self._found[key] = message_id, self._clock()
        if len(self._found) > MOST_KEYS:
            del self._found[next(iter(self._found))]

    def rows(self) -> list[list[Any]]:
        """Return all keys, the oldest first, as JSON has them: each with its id, and since when it is known,
        in seconds."""
        self._expire()
        now = self._clock()
        return [[key, *message_id, round(now - since, 3)] for key, (message_id, since) in self._found.items()]

    def restore(self, rows: Iterable[Sequence[Any]]) -> None:
        """Remember the keys of another process too, which told them by `rows`."""
        now = self._clock()
        self._found = {key: ((ms, sequence), now - age) for key, ms, sequence, age in rows} | self._found

    def _expire(self) -> None:
        oldest = self._clock() - TTL
        while self._found:
            key = next(iter(self._found))
            if self._found[key][1] > oldest:
                return
            del self._found[key]
