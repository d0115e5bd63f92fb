"""Latencies without a list of them."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.latency import RELATIVE_ERROR, SHORTEST, Latency

SECONDS = st.floats(SHORTEST, 3600)


def recorded(values: list[float]) -> Latency:
    latency = Latency()
    for seconds in values:
        latency.record(seconds)
    return latency


@given(st.lists(SECONDS, min_size=1, max_size=200), st.floats(0, 1))
def test_a_quantile_is_the_nearest_rank_within_the_stated_error(values: list[float], share: float) -> None:
    exact = sorted(values)[max(1, ceil(share * len(values))) - 1]
    assert recorded(values).quantile(share) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.0001)


@given(st.lists(SECONDS, min_size=1, max_size=200))
def test_the_longest_is_exact_and_nothing_is_above_it(values: list[float]) -> None:
    found = recorded(values).quantiles()
    assert found
    assert found.max == max(values)
    assert found.p50 <= found.p95 <= found.p99 <= found.max


def test_what_the_clock_cannot_tell_apart_counts_as_the_shortest() -> None:
    found = recorded([0.0, -1.0]).quantiles()
    assert found
    assert (found.p50, found.max) == (SHORTEST, SHORTEST)


def test_without_latencies_there_are_no_quantiles() -> None:
    assert Latency().quantiles() is None
    with pytest.raises(ValueError, match="no latency"):
        Latency().quantile(0.5)
