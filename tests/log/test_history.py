"""What is kept for clients that come back, against a list of everything that was ever said."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from wsctl.frame import Batch
from wsctl.log.history import Entry, History, MessageId, Missed

FLOOR: MessageId = (1000, 5)


def _entry(message_id: MessageId, size: int = 1, to: tuple[str, ...] | None = None) -> Entry:
    return Entry(message_id, Batch((b"x" * size,)), to)


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


@settings(max_examples=150)
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


@settings(max_examples=80)
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
    assert _entry(FLOOR).is_for("bob")
    assert _entry(FLOOR, to=("eve", "bob")).is_for("bob")
    assert not _entry(FLOOR, to=("eve",)).is_for("bob")
    assert not _entry(FLOOR, to=()).is_for("bob")


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
        assert history.size(count) == sum(len(entry.batch.wire) for entry in newest)
