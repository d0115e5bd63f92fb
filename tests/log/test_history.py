"""What is kept for clients that come back, against a list of everything that was ever said."""

from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.frame import Batch
from wsctl.log.history import MOST_LOST, Entry, History, MessageId, Missed
from wsctl.log.known_ids import KnownIds
from wsctl.log.selection import Selection
from wsctl.topics import matches

FLOOR: MessageId = (1000, 5)

ONE = Batch((b"x",))


def _entry(
    message_id: MessageId, size: int = 1, to: tuple[str, ...] | None = None, topic: str | None = None
) -> Entry:
    return Entry(message_id, ONE if size == 1 else Batch((b"x" * size,)), to, topic)


class Model:
    """Every message ever added, and the first of them that the bounds still let stay."""

    def __init__(self, most: int, most_bytes: int) -> None:
        self.most, self.most_bytes = most, most_bytes
        self.said: list[Entry] = []
        self.first = 0
        self.held = False

    def add(self, entry: Entry) -> None:
        self.said.append(entry)
        self.let_go()

    def let_go(self) -> None:
        while not self.held and not self._fits(self.said[self.first :]):
            self.first += 1

    def _fits(self, entries: list[Entry]) -> bool:
        return len(entries) <= self.most and sum(len(e.batch.wire) for e in entries) <= self.most_bytes

    def ids(self) -> list[MessageId]:
        """The place before the first message, then every message's."""
        return [FLOOR, *(entry.id for entry in self.said)]

    def since(self, seen: MessageId) -> list[Entry] | None:
        ids = self.ids()
        reaches = seen in ids and ids.index(seen) >= self.first
        return self.said[ids.index(seen) :] if reaches else None


def _next(last: MessageId, ms: int) -> MessageId:
    return (last[0], last[1] + 2) if ms == 0 else (last[0] + ms, 3)


def _never_given(ids: list[MessageId]) -> list[MessageId]:
    """Ids close to those that were given: one more or less in either part."""
    near = [(ms + a, n + b) for ms, n in ids for a in (-1, 0, 1) for b in (-1, 0, 1)]
    return [n for n in near if n not in ids]


STEPS = st.lists(
    st.tuples(st.just("add"), st.tuples(st.sampled_from([0, 1, 7]), st.sampled_from([0, 8, 98, 300])))
    | st.tuples(st.sampled_from(["hold", "release"]), st.just((0, 0))),
    max_size=30,
)


def _live(history: History, model: Model, steps: list[tuple[str, tuple[int, int]]]) -> None:
    for what, (ms, size) in steps:
        if what == "add":
            entry = _entry(_next(model.ids()[-1], ms), size)
            history.add(entry)
            model.add(entry)
        else:
            model.held = what == "hold"
            history.hold(model.held)
            model.let_go()
        _agree(history, model)


def _agree(history: History, model: Model) -> None:
    kept = model.said[model.first :]
    assert history.entries() == kept
    assert len(history) == len(kept)
    assert history.bytes == sum(len(entry.batch.wire) for entry in kept)
    assert history.floor == model.ids()[model.first]


@examples(150)
@given(STEPS, st.sampled_from([0, 1, 3, 100]), st.sampled_from([0, 10, 110, 10_000]))
def test_it_keeps_the_newest_within_both_bounds_and_knows_what_it_can_tell(
    steps: list[tuple[str, tuple[int, int]]], most: int, most_bytes: int
) -> None:
    history, model = History(FLOOR, most, most_bytes), Model(most, most_bytes)
    _live(history, model, steps)
    for seen in model.ids():
        assert history.since(seen) == model.since(seen)
    for seen in _never_given(model.ids()):
        assert history.since(seen) is None


@examples(80)
@example([("add", (1, 8))] * 4, [("add", (1, 8))], 2)
@given(STEPS, STEPS, st.sampled_from([0, 2, 100]))
def test_one_that_is_restored_goes_on_as_the_other_would(
    before: list[tuple[str, tuple[int, int]]], after: list[tuple[str, tuple[int, int]]], most: int
) -> None:
    old, model = History(FLOOR, 100, 10_000), Model(100, 10_000)
    _live(old, model, before)
    new = History((9999, 0), most, 10_000)
    new.restore(old.floor, old.entries())
    model.most, model.held = most, False
    model.let_go()
    _agree(new, model)
    _live(new, model, after)
    for seen in model.ids():
        assert new.since(seen) == model.since(seen)


def test_with_neither_count_nor_bytes_only_who_has_seen_the_newest_missed_nothing() -> None:
    for most, most_bytes in ((0, 1000), (1000, 0), (0, 0)):
        history = History(FLOOR, most, most_bytes)
        assert history.since(FLOOR) == []
        history.add(_entry((1001, 0)))
        assert history.since(FLOOR) is None
        assert history.since((1001, 0)) == []
        assert (len(history), history.bytes) == (0, 0)


def test_while_it_is_held_nothing_goes_and_what_went_does_not_come_back() -> None:
    history = History(FLOOR, 1, 1000)
    entries = [_entry((2000, n)) for n in range(6)]
    history.add(entries[0])
    history.add(entries[1])
    history.hold(True)
    for entry in entries[2:]:
        history.add(entry)
    assert history.since((2000, 0)) == entries[1:]
    assert history.since(FLOOR) is None
    history.hold(False)
    assert history.entries() == entries[5:]


class WatchedId(tuple[int, int]):
    """An id that counts how often it is compared."""

    __slots__ = ()
    compared = 0

    def __lt__(self, other: tuple[int, ...]) -> bool:
        type(self).compared += 1
        return super().__lt__(other)


def test_who_missed_little_is_told_without_a_walk_through_everything() -> None:
    history = History(FLOOR, 10_000, 1 << 20)
    for n in range(10_000):
        history.add(_entry((2000, n)))
    seen = WatchedId((2000, 9996))
    assert [entry.id for entry in history.since(seen) or []] == [(2000, n) for n in (9997, 9998, 9999)]
    assert 0 < WatchedId.compared < 20


def test_a_message_is_for_everyone_or_for_its_addressees() -> None:
    for to, client_id, count in (
        (None, "bob", 1),
        (("eve", "bob"), "bob", 1),
        (("eve",), "bob", 0),
        ((), "", 0),
    ):
        assert len(list(Missed([_entry(FLOOR, to=to)], client_id, 1))) == count


def entries(*sizes: int, to: tuple[str, ...] | None = None) -> list[Entry]:
    return [Entry((1, n), Batch((b'"%s"' % (b"x" * size),)), to) for n, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 500), max_size=40), st.integers(1, 1000))
def test_slices_are_bounded_and_together_everything(sizes: list[int], room: int) -> None:
    kept = entries(*sizes)
    missed = Missed(kept, "bob", sum(len(entry.batch.wire) for entry in kept))
    taken: list[bytes] = []
    while missed:
        left, count = missed.bytes, len(missed)
        found = missed.take(room)
        assert len(found) == 1 or sum(len(batch.wire) for batch in found) <= room
        assert left - missed.bytes == sum(len(batch.wire) for batch in found)
        assert count - len(missed) == len(found)
        taken += [batch.wire for batch in found]
    assert taken == [entry.batch.wire for entry in kept]
    assert missed.bytes == 0


def test_what_is_for_others_is_passed_over_and_counts_as_looked_at() -> None:
    missed = Missed(entries(*[100] * 50, to=("eve",)), "bob", 50 * 104)
    assert missed.take(1040) == []
    assert len(missed) == 40
    assert list(missed) == []


def test_history_knows_the_size_of_what_was_missed() -> None:
    history = History((0, 0), 5, 10_000)
    for entry in entries(*range(0, 900, 100)):
        history.add(entry)
    for count in range(1, 6):
        newest = history.entries()[-count:]
        found = history.select((1, 8 - count), Selection(()))
        assert found == (newest, sum(len(entry.batch.wire) for entry in newest), True, ())


TOPICS = [None, "a.b", "a.c", "b", "c.d.e"]
PATTERNS = ["a.b", "a.*", "b", "x.y", "c.>", ">", "*"]


def _wanted(topic: str | None, patterns: list[str], beside: list[str] | None) -> bool:
    if topic is None:
        return beside is None
    return any(matches(p, topic) for p in patterns) and not any(matches(p, topic) for p in beside or ())


@examples(150)
@example([], [], [], 0, 0)
@given(
    st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from([0, 8, 98])), max_size=40),
    st.lists(st.sampled_from(PATTERNS), max_size=3, unique=True),
    st.none() | st.lists(st.sampled_from(PATTERNS), max_size=2),
    st.sampled_from([0, 2, 5]),
    st.sampled_from([0, 110, 10_000]),
)
def test_a_client_gets_what_is_kept_of_its_topics_and_is_told_which_have_lost_something(
    said: list[tuple[str | None, int]],
    patterns: list[str],
    beside: list[str] | None,
    most: int,
    most_bytes: int,
) -> None:
    history = History(FLOOR, most, most_bytes)
    all_said = [Entry((2000, n), Batch((b"x" * size,)), None, topic) for n, (topic, size) in enumerate(said)]
    for entry in all_said:
        history.add(entry)
    kept = history.entries()
    for seen in [FLOOR, *(entry.id for entry in all_said)]:
        missed = [e for e in all_said if e.id > seen and _wanted(e.topic, patterns, beside)]
        lost = {entry.topic for entry in missed if entry not in kept}
        found = history.select(seen, Selection(patterns, beside))
        assert found.recovered == (not lost)
        assert set(found.lost) == lost - {None}
        hears_nothing = None in lost and not patterns
        assert found.entries == ([] if hears_nothing else [entry for entry in missed if entry in kept])
        assert found.bytes == sum(len(entry.batch.wire) for entry in found.entries)
    for seen in _never_given([FLOOR, *(entry.id for entry in all_said)]):
        wanted = Selection(patterns, beside)
        asked = wanted.everybody or bool(wanted.patterns)
        assert history.select(seen, wanted) == ([], 0, not asked, tuple(sorted(wanted.patterns)))


def test_a_client_that_saw_a_busy_topic_last_recovers_a_quiet_one() -> None:
    history = History(FLOOR, 10, 1 << 20)
    history.add(_entry((2000, 0), topic="quiet"))
    for n in range(1, 50_000):
        history.add(_entry((2000, n), topic="busy"))
        if n == 20_000:
            history.add(_entry((2001, 0), topic="quiet"))
    found = history.select((2000, 15_000), Selection(["quiet"]))
    assert ([entry.id for entry in found.entries], found.recovered) == ([(2001, 0)], True)
    assert history.select((2000, 15_000), Selection([">"])).lost == ("busy",)
    assert not history.knows((2000, 60_000))


def test_where_a_hundred_topics_have_lost_something_their_patterns_are_named() -> None:
    history = History(FLOOR, 1, 1 << 20)
    for n in range(2 * MOST_LOST + 2):
        history.add(_entry((2000, n), topic=f"t.{n % (MOST_LOST + 1)}"))
    found = history.select(FLOOR, Selection(["t.*", "t.5", "u.*"]))
    assert (len(found.entries), found.lost) == (MOST_LOST + 1, ("t.*", "t.5"))
    some = history.select(FLOOR, Selection([f"t.{n}" for n in range(MOST_LOST)]))
    assert len(some.lost) == MOST_LOST


def test_what_is_too_old_is_gone_though_nothing_is_published() -> None:
    now = [2.0]
    history = History(FLOOR, 10, 1 << 20, ttl=5.0, wall=lambda: now[0])
    history.add(_entry((2000, 0), topic="a"))
    history.add(_entry((4000, 0)))
    now[0] = 7.5
    assert history.entries() == [_entry((4000, 0))]
    assert history.select(FLOOR, Selection(["a"])).lost == ("a",)
    assert history.select((2000, 0), Selection(["a"])).recovered
    now[0] = 9.1
    history.expire()
    assert (len(history), history.bytes, history.floor) == (0, 0, (4000, 0))
    assert history.since((4000, 0)) == []
    assert history.since((2000, 0)) is None


def test_while_it_is_held_nothing_is_too_old() -> None:
    history = History(FLOOR, 10, 1 << 20, ttl=5.0, wall=lambda: 100.0)
    history.hold(True)
    history.add(_entry((2000, 0)))
    assert len(history.entries()) == 1
    history.hold(False)
    assert len(history) == 0


@examples(50)
@given(
    st.lists(st.tuples(st.sampled_from(TOPICS), st.sampled_from([0, 8, 98])), max_size=40),
    st.sampled_from([1, 3]),
)
def test_one_that_is_restored_knows_what_the_other_knew(
    said: list[tuple[str | None, int]], most: int
) -> None:
    old, new = History(FLOOR, most, 400), History((1, 1), most, 400)
    for n, (topic, size) in enumerate(said):
        old.add(Entry((2000, n), Batch((b"x" * size,)), None, topic))
    ids = [FLOOR, *((2000, n) for n in range(len(said)))]
    known = KnownIds()
    for packed in old.known_ids():
        known.extend_packed(*packed)
    new.restore(old.floor, old.entries(), ids[-1], floors=old.floors(), known=known)
    assert new.entries() == old.entries()
    for seen in ids:
        for patterns in ([], ["a.*"], [">"], ["b", "c.>"]):
            assert new.select(seen, Selection(patterns)) == old.select(seen, Selection(patterns))


def test_one_that_is_restored_without_the_floors_of_topics_misses_what_was_before() -> None:
    new = History((1, 1), 10, 1000)
    new.restore((2000, 5), [_entry((2000, 7), topic="a"), _entry((2000, 9))], (2000, 9))
    assert new.select((2000, 5), Selection(["a"])).recovered
    assert new.select((2000, 7), Selection(["a"])).recovered
    assert new.select((2000, 4), Selection(["a"])).lost == ("a",)
    assert new.oldest == (2000, 7)
