"""The ids that a log gave."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.log.known_ids import KnownIds
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


@given(IDS, st.integers(1, 10))
def test_they_move_to_another_process(ids: list[MessageId], together: int) -> None:
    known, there = KnownIds(), KnownIds()
    known.extend(ids)
    for packed in known.packed(together):
        there.extend_packed(*packed)
        there.extend_packed(*packed)  # again from the beginning
    assert len(there) == len(ids)
    assert all(each in there for each in ids)


def test_bytes_that_are_no_ids_are_refused() -> None:
    for ms, sequences in ((b"x" * 8, b"x" * 16), (b"x" * 7, b"x" * 7)):
        with pytest.raises(ValueError):  # noqa: PT011
            KnownIds().extend_packed(ms, sequences)


def test_an_id_of_a_clock_that_was_set_back_is_known_among_thousands_of_one_millisecond() -> None:
    known = KnownIds()
    known.extend([(5, n) for n in range(0, 20_000, 2)])
    assert (5, 9998) in known
    assert (5, 9999) not in known
    assert (10**60, 1) not in known
