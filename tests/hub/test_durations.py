"""Times in buckets."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.hub.durations import BOUNDS, Durations


@given(st.lists(st.sampled_from(BOUNDS) | st.floats(0, 10)))
def test_each_time_is_in_the_first_bucket_it_fits(times: list[float]) -> None:
    durations = Durations()
    for time in times:
        durations.note(time)
    for n, bound in enumerate(BOUNDS):
        assert sum(durations.counts[: n + 1]) == sum(time <= bound for time in times)
    assert sum(durations.counts) == len(times)
    assert durations.total == sum(times)


def test_the_bounds_go_up() -> None:
    assert list(BOUNDS) == sorted(set(BOUNDS))
