"""What a client is sent of a log, by the patterns to which it subscribes."""

from collections.abc import Collection, Iterable
from functools import lru_cache

from wsctl.topics import covers, has_wildcards, matches

_MOST_TOPICS = 16_384
"""Topics of one selection of which it is remembered whether they are in it."""


class Selection:
    """The messages for a client: those without a topic, and those of the topics that its `patterns` match.
    With `beside`, the patterns that it has already, what it gets by these is none of it.

    Attributes:
        everybody: True if messages without a topic are in it.
        patterns: those that match anything that `beside` does not.
        names: those of them that are the name of one topic.
        wildcards: the others.
    """

    def __init__(self, patterns: Iterable[str], beside: Collection[str] | None = None) -> None:
        self.everybody = beside is None
        self._beside = tuple(beside or ())
        self.patterns = tuple(p for p in patterns if not any(covers(b, p) for b in self._beside))
        self.names = frozenset(p for p in self.patterns if not has_wildcards(p))
        self.wildcards = tuple(p for p in self.patterns if has_wildcards(p))
        self._known: dict[str | None, bool] = {}

    def __contains__(self, topic: str | None) -> bool:
        found = self._known.get(topic)
        if found is None:
            if len(self._known) >= _MOST_TOPICS:
                self._known.clear()
            found = self._known[topic] = self._has(topic)
        return found

    def _has(self, topic: str | None) -> bool:
        if topic is None:
            return self.everybody
        return (topic in self.names or any(matches(p, topic) for p in self.wildcards)) and not any(
            matches(pattern, topic) for pattern in self._beside
        )


@lru_cache(maxsize=16)
def selection(patterns: tuple[str, ...], beside: tuple[str, ...] | None = None) -> Selection:
    """Return a selection: the same one where it was asked for lately. Many clients have the same patterns,
    and come back together."""
    return Selection(patterns, beside)
