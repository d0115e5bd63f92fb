"""Numbers that mostly come in order."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.ranges import Ranges

NUMBERS = st.lists(st.integers(0, 30), max_size=60)


@given(NUMBERS, st.integers(0, 35))
def test_it_answers_as_a_set_does(numbers: list[int], limit: int) -> None:
    ranges, model = Ranges(), set[int]()
    for number in numbers:
        assert ranges.add(number) is (number not in model)
        model.add(number)
        assert len(ranges) == len(model)
        assert ranges.end == max(model) + 1
    assert [n for n in range(35) if n in ranges] == sorted(model)
    assert ranges.below(limit) == sum(n < limit for n in model)


def test_an_empty_one_ends_at_zero() -> None:
    assert (len(Ranges()), Ranges().end, Ranges().below(5)) == (0, 0, 0)
