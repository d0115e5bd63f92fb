"""How much of the shared log is kept, as one node counts it."""

import json

from hypothesis import given
from hypothesis import strategies as st

from wsctl.log.redis.stream_size import LEAST_KEPT, MOST_WITH_TOPICS, STEPS, StreamSize


def filled(size: StreamSize, count: int, each: int, *, topical: bool = False, start: int = 1) -> StreamSize:
    for n in range(start, start + count):
        size.note((n, 0), each, topical=topical)
    return size


def test_while_it_is_within_its_bounds_all_is_kept() -> None:
    size = filled(StreamSize(10_000, 10_000), 5000, 1)
    assert size.first_kept is None


def test_beyond_its_bytes_the_oldest_entries_are_not_kept() -> None:
    size = filled(StreamSize(100_000, 1_000_000), 20_000, 100)
    assert size.first_kept
    assert 10_000 <= 20_000 - size.first_kept[0] + 1 <= 10_000 * (1 + 2 / STEPS)


def test_so_many_entries_are_kept_however_large_they_are() -> None:
    size = filled(StreamSize(10, 1), 5000, 1_000_000)
    assert size.first_kept
    assert LEAST_KEPT <= 5000 - size.first_kept[0] + 1 <= 2 * LEAST_KEPT


def test_with_topics_more_entries_are_kept_until_these_are_gone() -> None:
    size = StreamSize(5000, 1 << 30)
    assert (size.most(), size.most(with_topics=True)) == (5000, MOST_WITH_TOPICS)
    filled(size, 1, 1, topical=True)
    assert size.has_topics
    filled(size, MOST_WITH_TOPICS // 2, 1, start=2)
    assert size.most() == MOST_WITH_TOPICS
    assert size.first_kept is None
    filled(size, MOST_WITH_TOPICS, 1, start=MOST_WITH_TOPICS)
    assert not size.has_topics
    assert size.most() == 5000
    assert size.first_kept
    assert size.first_kept[0] >= 2 * MOST_WITH_TOPICS - 5000 - LEAST_KEPT


def test_a_larger_history_is_kept_with_topics_too() -> None:
    assert StreamSize(200_000, 1).most(with_topics=True) == 200_000


@given(st.lists(st.tuples(st.integers(0, 40), st.booleans()), max_size=200), st.integers(0, 200))
def test_another_process_goes_on_where_one_was(entries: list[tuple[int, bool]], at: int) -> None:
    one, other = StreamSize(10, 100), StreamSize(10, 100)
    for n, (size, topical) in enumerate(entries):
        if n == at:
            other.restore(json.loads(json.dumps(one.state())))
        for each in (one, other) if n >= at else (one,):
            each.note((n, 1), size, topical=topical)
    if at < len(entries):
        assert other.state() == one.state()
        assert (other.first_kept, other.most()) == (one.first_kept, one.most())
