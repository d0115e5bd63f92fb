"""What a client is sent by its subscriptions."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.log import selection as module
from wsctl.log.selection import Selection, selection
from wsctl.topics import matches

SEGMENTS = st.sampled_from(["a", "b"])
TOPICS = st.lists(SEGMENTS, min_size=1, max_size=3).map(".".join)
PATTERNS = st.lists(
    st.lists(SEGMENTS | st.just("*"), min_size=1, max_size=3).map(".".join)
    | st.lists(SEGMENTS | st.just("*"), max_size=2).map(lambda s: ".".join([*s, ">"])),
    max_size=4,
)


@given(PATTERNS, PATTERNS, st.lists(TOPICS, max_size=20))
def test_a_topic_is_in_it_if_a_pattern_matches_and_none_that_the_client_has(
    patterns: list[str], beside: list[str], topics: list[str]
) -> None:
    alone, more = Selection(patterns), Selection(patterns, beside)
    for topic in topics * 2:
        asked = any(matches(pattern, topic) for pattern in patterns)
        assert (topic in alone) == asked
        assert (topic in more) == (asked and not any(matches(pattern, topic) for pattern in beside))


def test_messages_without_a_topic_are_in_it_unless_the_client_has_them() -> None:
    assert None in Selection(())
    assert None not in Selection(["a"], ())


def test_patterns_that_bring_nothing_new_are_left_out() -> None:
    assert Selection(["a.b", "a.*", "c.>", "d"], ["a.*", "d"]).patterns == ("c.>",)


def test_clients_with_the_same_patterns_share_one_that_forgets_beyond_a_bound() -> None:
    one = selection(("a.>",))
    assert selection(("a.>",)) is one
    assert all(f"a.{n}" in one for n in range(2 * module._MOST_TOPICS))
    assert len(one._known) <= module._MOST_TOPICS
