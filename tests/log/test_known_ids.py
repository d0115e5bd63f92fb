"""The ids that a log gave."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.log.known_ids import KnownIds, unpacked
from wsctl.log.retention import MessageId

IDS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), unique=True).map(sorted)


@given(IDS, st.integers(1, 10), st.integers(1, 60))
def test_the_newest_are_known_and_no_other(ids: list[MessageId], together: int, most: int) -> None:
    known = KnownIds(most)
    for at in range(0, len(ids), together):
        known.extend(ids[max(0, at - 2) : at + together])  # some come twice
    found = [(ms, n) for ms in range(21) for n in range(21) if (ms, n) in known]
    assert found == ids[-len(known) :] if ids else not found
    assert min(most, len(ids)) <= len(known) <= most + most // 4 + 1
    assert known.newest == (ids[-1] if ids else (0, 0))


@given(IDS, st.tuples(st.integers(0, 20), st.integers(0, 20)), st.integers(1, 10))
def test_they_move_to_another_process(ids: list[MessageId], after: MessageId, together: int) -> None:
    known = KnownIds()
    known.extend(ids)
    got = [each for packed in known.packed(after, together) for each in unpacked(*packed)]
    assert got == [each for each in ids if each > after]


def test_an_id_of_a_clock_that_was_set_back_is_known_among_thousands_of_one_millisecond() -> None:
    known = KnownIds()
    known.extend([(5, n) for n in range(0, 20_000, 2)])
    assert (5, 9998) in known
    assert (5, 9999) not in known
    assert (10**60, 1) not in known
