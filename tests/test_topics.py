"""Topics and patterns: their form, and which topics a pattern has."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.topics import (
    MAX_LENGTH,
    MAX_SEGMENTS,
    InvalidTopic,
    covers,
    has_wildcards,
    matches,
    overlap,
    topic_name,
    topic_pattern,
)

SEGMENTS = st.sampled_from(["a", "b", "c"])
EVERY_TOPIC = [".".join(names) for n in range(1, 5) for names in product("abc", repeat=n)]
"""All topics of few segments: patterns of so many have one of these in common, if any."""

TOPICS = st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    segments = draw(st.lists(st.sampled_from(["a", "b", "*"]), max_size=3))
    rest = draw(st.booleans()) or not segments
    return ".".join([*segments, ">"] if rest else segments)


def naive(pattern: str, topic: str) -> bool:
    """Match by the definition, one segment after the other."""
    head, _, rest = pattern.partition(".")
    name, _, more = topic.partition(".")
    if not pattern or not topic:
        return pattern == topic
    if head == ">":
        return True
    return head in ("*", name) and naive(rest, more)


@pytest.mark.parametrize("name", ["a", "orders.eu.42", "Az09_~@:+-", ".".join("a" * MAX_SEGMENTS), "x" * 128])
def test_a_name_is_taken(name: str) -> None:
    assert topic_name(name) == topic_pattern(name) == name
    assert not has_wildcards(name)


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a..b", "a b", "ä", "a/b", "a\n", "*", "a.>", "a*", "x" * (MAX_LENGTH + 1)]
)
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidTopic):
        topic_name(text)


@pytest.mark.parametrize("pattern", ["*", ">", "a.*", "*.b", "a.*.c.>"])
def test_a_pattern_is_taken(pattern: str) -> None:
    assert topic_pattern(pattern) == pattern
    assert has_wildcards(pattern)


@pytest.mark.parametrize("text", ["", "a.>.b", ">.>", "a*", "a.**", "a.>b", "*a", "a..*", ".>"])
def test_what_is_no_pattern_is_refused(text: str) -> None:
    with pytest.raises(InvalidTopic):
        topic_pattern(text)


def test_too_many_segments_are_refused() -> None:
    with pytest.raises(InvalidTopic, match=f"at most {MAX_SEGMENTS} segments, not {MAX_SEGMENTS + 1}"):
        topic_pattern(".".join("a" * (MAX_SEGMENTS + 1)))


@given(patterns() | TOPICS, TOPICS)
def test_a_pattern_has_the_topics_of_its_definition(pattern: str, topic: str) -> None:
    assert matches(pattern, topic) == naive(pattern, topic)


@given(patterns() | TOPICS, patterns() | TOPICS, TOPICS)
def test_what_covers_a_pattern_has_all_its_topics(wider: str, pattern: str, topic: str) -> None:
    if covers(wider, pattern) and matches(pattern, topic):
        assert matches(wider, topic)


@given(patterns() | TOPICS, patterns() | TOPICS)
def test_patterns_overlap_that_have_a_topic_in_common(one: str, other: str) -> None:
    assert overlap(one, other) == any(matches(one, topic) and matches(other, topic) for topic in EVERY_TOPIC)


@pytest.mark.parametrize(
    ("wider", "pattern", "expected"),
    [
        ("orders.>", "orders.*.x", True),
        ("orders.>", "orders.>", True),
        ("orders.>", "orders", False),
        (">", "a", True),
        ("*", ">", False),
        ("a.*", "a.>", False),
        ("a.*", "a.*", True),
        ("*.*", "a.*", True),
        ("a.*", "*.b", False),
        ("*.>", "a.>", True),
        ("*.>", ">", False),
        ("a.b", "a.*", False),
    ],
)
def test_covering(wider: str, pattern: str, expected: bool) -> None:
    assert covers(wider, pattern) is expected
