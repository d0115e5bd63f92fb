"""Topics: the names under which messages are published, and the patterns by which clients subscribe to them.

A name has segments, joined by dots: `orders.eu.42`. In a pattern `*` stands for one segment, and `>` as the
last one for all that follow, at least one (the form of NATS, https://docs.nats.io/nats-concepts/subjects).
"""

import re

MAX_SEGMENTS = 16
"""Segments of a name: deeper than any hierarchy that people keep in mind, and what one publish may cost."""

MAX_LENGTH = 128
"""Characters of a name, as many as a client id has."""

ONE, REST = "*", ">"
"""The wildcards: one segment, and all that follow."""

_CHARACTERS = r"[A-Za-z0-9_~@:+-]+"
_SEGMENT = re.compile(_CHARACTERS)
_NAME = re.compile(rf"{_CHARACTERS}(?:\.{_CHARACTERS}){{0,{MAX_SEGMENTS - 1}}}")
_FORM = "a topic has segments of letters, digits and _ ~ @ : + -, joined by dots"


class InvalidTopic(ValueError):
    """A text that is no topic, or no pattern of topics; the message says which rule it breaks."""


def topic_name(text: str) -> str:
    """Return the text, which is the name of a topic.

    Raises:
        InvalidTopic: it is not.

    Example:
        topic_name("orders.eu.42")
    """
    if len(text) <= MAX_LENGTH and _NAME.fullmatch(text):
        return text
    _segments(text)
    raise InvalidTopic(_FORM)


def topic_pattern(text: str) -> str:
    """Return the text, which is the name of a topic or a pattern of several.

    Raises:
        InvalidTopic: it is neither.

    Example:
        topic_pattern("orders.*.42")
        topic_pattern("orders.>")
    """
    segments = _segments(text)
    for at, segment in enumerate(segments, 1):
        if segment == REST and at < len(segments):
            raise InvalidTopic(f"{REST} stands for all that follows: it is the last segment")
        if segment not in (ONE, REST) and not _SEGMENT.fullmatch(segment):
            raise InvalidTopic(f"{_FORM}; {ONE} is any segment, and {REST} at the end any rest")
    return text


def has_wildcards(pattern: str) -> bool:
    """Tell whether a pattern is more than the name of one topic."""
    return ONE in pattern or REST in pattern


def matches(pattern: str, topic: str) -> bool:
    """Tell whether a topic is one of a pattern's."""
    return pattern == topic or (has_wildcards(pattern) and covers(pattern, topic))


def covers(wider: str, pattern: str) -> bool:
    """Tell whether every topic of `pattern` is one of `wider`."""
    ours, theirs = wider.split("."), pattern.split(".")
    for at, segment in enumerate(ours):
        if segment == REST:
            return len(theirs) > at
        if at == len(theirs) or theirs[at] == REST or segment not in (ONE, theirs[at]):
            return False
    return len(ours) == len(theirs)


def overlap(one: str, other: str) -> bool:
    """Tell whether some topic is one of both patterns'."""
    ours, theirs = one.split("."), other.split(".")
    for at, (our, their) in enumerate(zip(ours, theirs, strict=False)):
        if REST in (our, their):
            return True
        if ONE not in (our, their) and our != their:
            return False
        if at + 1 == len(ours) == len(theirs):
            return True
    return False


def _segments(text: str) -> list[str]:
    if len(text) > MAX_LENGTH:
        raise InvalidTopic(f"a topic has at most {MAX_LENGTH} characters, not {len(text)}")
    segments = text.split(".")
    if len(segments) > MAX_SEGMENTS:
        raise InvalidTopic(f"a topic has at most {MAX_SEGMENTS} segments, not {len(segments)}")
    return segments
