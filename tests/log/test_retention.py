"""What is kept of each topic, and what is missing, against a list of everything that was ever said."""

from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.log.retention import MessageId, Retention

FLOOR: MessageId = (1000, 5)
TOPICS = [None, "a", "b", "c.d", "e"]


class Message(NamedTuple):
    id: MessageId
    topic: str | None
    size: int


class Model:
    """The rule, without any care for what it costs."""

    def __init__(self, most: int, most_bytes: int, ttl: float) -> None:
        self.most, self.most_bytes, self.ttl_ms = most, most_bytes, int(ttl * 1000)
        self.kept: list[Message] = []
        self.gone: list[Message] = []

    def of(self, topic: str | None) -> list[Message]:
        return [m for m in self.kept if m.topic == topic]

    def trim(self, until: MessageId) -> None:
        for topic in TOPICS:
            while len(self.of(topic)) > self.most and self.of(topic)[0].id <= until:
                self._drop(self.of(topic)[0])
        while sum(m.size for m in self.kept) > self.most_bytes:
            of_each = [self.of(topic) for topic in TOPICS if self.of(topic)]
            oldest = min(of_each, key=lambda ms: (-sum(m.size for m in ms), ms[0].id))[0]
            if oldest.id > until:
                break
            self._drop(oldest)

    def expire(self, now_ms: int) -> None:
        for message in list(self.kept):
            if self.ttl_ms and message.id[0] < now_ms - self.ttl_ms:
                self._drop(message)

    def floor_of(self, topic: str | None) -> MessageId:
        return max((m.id for m in self.gone if m.topic == topic), default=FLOOR)

    def _drop(self, message: Message) -> None:
        self.kept.remove(message)
        self.gone.append(message)


STEPS = st.lists(
    st.tuples(st.sampled_from([0, 1, 7]), st.sampled_from(TOPICS), st.sampled_from([0, 1, 8, 30, 300])),
    max_size=40,
)


class Both:
    """What is tested beside its model."""

    def __init__(self, most: int, most_bytes: int, ttl: float, most_floors: int = 100) -> None:
        self.bounds = most, most_bytes, ttl
        self.real = Retention[Message](FLOOR, *self.bounds, most_floors=most_floors)
        self.model = Model(*self.bounds)
        self.ids = [FLOOR]

    def add(self, ms: int, topic: str | None, size: int) -> None:
        last = self.ids[-1]
        message = Message((last[0], last[1] + 2) if ms == 0 else (last[0] + ms, 3), topic, size)
        self.ids.append(message.id)
        self.real.add(message, size)
        self.model.kept.append(message)

    def agree(self) -> None:
        real, model = self.real, self.model
        assert list(real) == model.kept
        assert (len(real), real.bytes) == (len(model.kept), sum(m.size for m in model.kept))
        assert real.floor == max(FLOOR, *(m.id for m in model.gone)) if model.gone else FLOOR
        topics = {topic: model.of(topic) for topic in TOPICS if model.of(topic)}
        found = {t.topic: (t.messages, t.bytes, t.newest) for t in real.topics()}
        assert found == {t: (len(ms), sum(m.size for m in ms), ms[-1].id) for t, ms in topics.items()}
        assert real.topic_count == len(topics.keys() - {None})
        for topic in TOPICS:
            assert real.count_of(topic) == len(model.of(topic))
        for seen in self.ids:
            kept = [m for m in model.kept if m.id > seen]
            assert real.behind(seen) == (kept, sum(m.size for m in kept))
            assert set(real.moved_since(seen)) == {m.topic for m in kept}
            for topic in TOPICS:
                assert real.of(topic, seen) == [m for m in kept if m.topic == topic]

    def agree_on_floors(self) -> None:
        for topic in TOPICS:
            assert self.real.floor_of(topic) == self.model.floor_of(topic)
        for seen in self.ids:
            lost = list(self.real.lost_since(seen))
            assert sorted(lost) == [t for t in TOPICS if t and self.model.floor_of(t) > seen]


BOUNDS = st.tuples(
    st.sampled_from([0, 1, 3, 100]), st.sampled_from([0, 10, 110, 10_000]), st.sampled_from([0.0, 0.005])
)


@examples(200)
@example([(1, None, 8), (1, "a", 8), (0, None, 8), (1, None, 300), (0, "a", 1)], (3, 110, 0.0), [])
@given(STEPS, BOUNDS, st.lists(st.integers(0, 5), max_size=40))
def test_each_topic_keeps_its_newest_and_the_largest_pays_for_all(
    steps: Sequence[tuple[int, str | None, int]], bounds: tuple[int, int, float], lags: list[int]
) -> None:
    both = Both(*bounds)
    lag = iter(lags)
    for step in steps:
        both.add(*step)
        until = both.ids[-1 - min(next(lag, 0), len(both.ids) - 1)]
        gone = len(both.model.gone)
        both.model.trim(until)
        assert sorted(both.real.trim(until)) == sorted(both.model.gone[gone:])
        now = both.ids[-1][0] + 2
        both.model.expire(now)
        both.real.expire(now)
        both.agree()
        both.agree_on_floors()


@examples(50)
@given(STEPS, BOUNDS)
def test_what_is_put_and_what_is_added_and_trimmed_stay_alike(
    steps: Sequence[tuple[int, str | None, int]], bounds: tuple[int, int, float]
) -> None:
    added, put = Both(*bounds), Retention[Message](FLOOR, *bounds)
    for step in steps:
        added.add(*step)
        if added.real.bytes > bounds[1] or len(added.real) > bounds[0]:
            added.real.trim()
        put.put(Message(added.ids[-1], step[1], step[2]), step[2])
        assert list(put) == list(added.real)
        assert put.floors() == added.real.floors()


@examples(50)
@example([(0, None, 0), (0, "a", 1)], [(0, None, 0)], (1, 0, 0.0))
@given(STEPS, STEPS, BOUNDS)
def test_one_that_is_restored_goes_on_as_the_other_would(
    before: Sequence[tuple[int, str | None, int]],
    after: Sequence[tuple[int, str | None, int]],
    bounds: tuple[int, int, float],
) -> None:
    both = Both(*bounds)
    for step in before:
        both.add(*step)
        both.real.trim()
        both.model.trim(both.ids[-1])
    old, both.real = both.real, Retention[Message]((1, 1), *bounds)
    both.real.restore(old.floors(), old.floor)
    for message in old:
        both.real.add(message, message.size)
    both.real.position = old.position
    both.agree()
    both.agree_on_floors()
    for step in after:
        both.add(*step)
        both.real.trim()
        both.model.trim(both.ids[-1])
        both.agree()
        both.agree_on_floors()


@given(STEPS)
def test_beyond_the_floors_that_are_known_one_counts_for_all_others(
    steps: Sequence[tuple[int, str | None, int]],
) -> None:
    both = Both(0, 1000, 0.0, most_floors=2)
    for step in steps:
        both.add(*step)
        both.real.trim()
        both.model.trim(both.ids[-1])
    moved = [t for t in dict.fromkeys(m.topic for m in reversed(both.model.gone)) if t]
    for topic in moved[:2]:
        assert both.real.floor_of(topic) == both.model.floor_of(topic)
    for topic in moved[2:]:
        assert both.real.floor_of(topic) == both.real.other_floor >= both.model.floor_of(topic)
    assert both.real.other_floor == max([FLOOR, *map(both.model.floor_of, moved[2:])])


def test_a_busy_topic_takes_nothing_of_a_quiet_one() -> None:
    kept = Retention[Message](FLOOR, 100, 10_000)
    quiet = Message((2000, 0), "quiet", 100)
    kept.put(quiet, 100)
    for n in range(5000):
        kept.put(Message((3000, n), "busy", 150), 150)
    assert kept.of("quiet") == [quiet]
    assert kept.count_of("busy") == 66
    assert list(kept.lost_since(FLOOR)) == ["busy"]


def test_places_of_what_is_gone_are_freed_and_their_ids_told_once() -> None:
    told: list[MessageId] = []

    def remember(ids: Sequence[MessageId]) -> None:
        told.extend(i for i in ids if not told or i > told[-1])

    kept = Retention[Message](FLOOR, 10, 1 << 20, let_go=remember)
    ids = [(2000, n) for n in range(20_000)]
    for n, message_id in enumerate(ids):
        kept.put(Message(message_id, f"t.{n}" if n < 500 else f"u.{n % 7}", 1), 1)
    assert len(kept.ids()) < 4000
    assert told == ids[: len(told)]
    assert set(ids) == {*told, *kept.ids()}
    assert [message.topic for message in kept][:500] == [f"t.{n}" for n in range(500)]


@pytest.mark.parametrize("topics", [10, 1000])
def test_the_largest_topic_is_found_without_a_walk_over_all(topics: int) -> None:
    """How often a topic is looked at is bounded, whatever their number."""
    looked: list[int] = []

    class Watched(Retention[Message]):
        def _rank(self, topic: object) -> None:
            looked.append(1)
            super()._rank(topic)  # type: ignore[arg-type]

    kept = Watched(FLOOR, 1000, 100 * topics)
    for n in range(20 * topics):
        kept.put(Message((2000, n), f"t.{n * 7919 % topics}", 40), 40)
    assert len(looked) < 45 * topics
    assert {t.messages for t in kept.topics()} <= {2, 3}
