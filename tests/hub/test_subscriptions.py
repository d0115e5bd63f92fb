"""Who subscribes to a topic is found, whatever patterns others subscribe to, and at a bounded price."""

import gc
import sys
import tracemalloc
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.hub.subscriptions import FEW, HALF, MOST_CACHED, MOST_VISITED, SubscriptionIndex
from wsctl.topics import MAX_SEGMENTS, matches

SEGMENTS = st.sampled_from(["a", "b", "*"])
TOPICS = st.lists(st.sampled_from(["a", "b"]), min_size=1, max_size=MAX_SEGMENTS).map(".".join)
PATTERNS = st.builds(
    lambda segments, rest: ".".join([*segments, ">"][:MAX_SEGMENTS] if rest else segments),
    st.lists(SEGMENTS, min_size=1, max_size=MAX_SEGMENTS),
    st.booleans(),
) | st.just(">")
MEMBERS = st.integers(0, 3)
STEPS = st.lists(
    st.tuples(st.sampled_from(["add", "add", "remove"]), PATTERNS | TOPICS, MEMBERS)
    | st.tuples(st.just("publish"), TOPICS, MEMBERS),
    max_size=60,
)


@examples(300)
@given(STEPS)
def test_a_topic_matches_exactly_those_that_a_look_at_each_subscription_finds(
    steps: list[tuple[str, str, int]],
) -> None:
    index = SubscriptionIndex[int]()
    there: set[tuple[str, int]] = set()
    for what, text, member in steps:
        if what == "add":
            index.add(text, member)
            there.add((text, member))
        elif what == "remove":
            # As often one that is there: a text made at random hardly ever is.
            known = sorted(there)[member % len(there)] if there and member % 2 else (text, member)
            index.remove(*known)
            there.discard(known)
        found = index.matching(text) if what == "publish" else []
        if what == "publish":
            assert sorted(found) == sorted({m for pattern, m in there if matches(pattern, text)})
        assert len(index) == len(there)
        assert set(index.topics) | set(index.patterns) == {pattern for pattern, _ in there}
    for pattern, member in there:
        index.remove(pattern, member)
    assert len(index) == 0
    assert index._heads.is_bare
    assert index._tails.is_bare


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 5 * FEW])
def test_members_of_a_pattern_come_in_the_order_in_which_they_subscribed(count: int) -> None:
    index = SubscriptionIndex[int]()
    for pattern in ("a.b", "a.*"):
        for member in range(count):
            index.add(pattern, member)
            index.add(pattern, member)
    assert index.matching("a.b") == list(range(count))
    assert len(index) == 2 * count
    for member in range(0, count, 2):
        index.remove("a.*", member)
        index.remove("a.*", member)
    assert index.matching("a.c") == list(range(1, count, 2))
    assert index.matching("a.b") == list(range(count))


def test_a_subscription_that_is_not_there_ends_without_a_word() -> None:
    index = SubscriptionIndex[str]()
    for pattern in ("a.b", "a.*", "a.>", ".".join("ab" * HALF)):
        index.remove(pattern, "bob")
        index.add(pattern, "eve")
        index.remove(pattern, "bob")
    assert index.matching("a.b") == ["eve"]
    assert len(index) == 4


def test_what_the_caller_does_with_the_members_changes_nothing() -> None:
    index = SubscriptionIndex[str]()
    index.add("a", "bob")
    index.add("b.*", "bob")
    for topic in ("a", "b.c"):
        index.matching(topic).clear()
        assert index.matching(topic) == ["bob"]


def test_no_patterns_make_a_publish_visit_more_than_the_limit() -> None:
    index = SubscriptionIndex[int]()
    # All patterns that match the first half of a topic and not its end, or that end with `>`.
    for n, head in enumerate(product("a*", repeat=HALF)):
        for tail in product("a*", repeat=4):
            index.add(".".join((*head, *tail, "no")), n)
        for width in range(HALF):
            index.add(".".join((*head[:width], "no", *head)), n)
            index.add(".".join((*head, *head[:width], "no")), n)
    before = index.visited
    assert index.matching(".".join("a" * MAX_SEGMENTS)) == []
    assert MOST_VISITED // 2 < index.visited - before <= MOST_VISITED


def test_who_subscribes_to_other_topics_costs_a_publish_nothing() -> None:
    index = SubscriptionIndex[int]()
    index.add("prices.*.eur", 0)
    index.matching("prices.gold.eur")
    few = index.visited
    for n in range(1, 10_000):
        index.add(f"orders.*.{n}", n)
        index.add(f"{n}.>", n)
    assert index.matching("prices.silver.eur") == [0]
    assert index.visited - few <= few


def test_what_matches_a_topic_is_known_until_a_pattern_with_wildcards_comes_or_goes() -> None:
    index = SubscriptionIndex[str]()
    index.add("a.*", "bob")

    def visits() -> int:
        before = index.visited
        index.matching("a.b")
        return index.visited - before

    assert visits()
    index.add("a.b", "eve")
    index.add("x.y", "eve")
    index.remove("x.y", "eve")
    index.add("a.*", "ann")
    index.remove("a.*", "bob")
    assert not visits()
    assert index.matching("a.b") == ["eve", "ann"]
    index.add("a.>", "joe")
    assert visits()
    assert set(index.matching("a.b")) == {"eve", "ann", "joe"}
    index.remove("a.*", "ann")
    assert visits()
    assert index.matching("a.b") == ["eve", "joe"]


def test_topics_without_number_do_not_fill_the_memory() -> None:
    index = SubscriptionIndex[str]()
    index.add("a.*", "bob")
    for n in range(MOST_CACHED + 1000):
        index.matching(f"a.{n}")
        index.matching(f"b.{n}")
        assert len(index._cached) <= MOST_CACHED
    assert index.matching("a.1") == ["bob"]


@pytest.mark.parametrize(
    ("form", "most"), [("room.{}", 300), ("{}.>", 400), ("user.{}.*", 500), ("*.{}.orders", 500)]
)
def test_a_subscription_takes_little_memory_even_where_each_has_its_own_topic(form: str, most: int) -> None:
    count = 20_000
    patterns = [form.format(n) for n in range(count)]
    members = [object() for _ in range(count)]
    gc.collect()
    tracemalloc.start()
    try:
        index = SubscriptionIndex[object]()
        for pattern, member in zip(patterns, members, strict=True):
            index.add(pattern, member)
        grown = tracemalloc.get_traced_memory()[0] + sum(map(sys.getsizeof, patterns))
    finally:
        tracemalloc.stop()
    assert grown / count < most, f"{grown / count:.0f} bytes a subscription"
