"""Latencies without a list of them, and how long clients received nothing."""

from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.stress.timing import RELATIVE_ERROR, SHORTEST, LatencyHistogram, QuietTime

SECONDS = st.floats(SHORTEST, 3600)


def recorded(values: list[float]) -> LatencyHistogram:
    latency = LatencyHistogram()
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
    assert LatencyHistogram().quantiles() is None
    with pytest.raises(ValueError, match="no latency"):
        LatencyHistogram().quantile(0.5)


# Quiet time


CLIENTS = 3


@given(st.lists(st.tuples(st.integers(0, CLIENTS - 1), st.floats(0, 10)), max_size=30), st.floats(0, 10))
def test_it_is_the_longest_gap_of_any_client_with_the_ones_at_both_ends(
    steps: list[tuple[int, float]], last: float
) -> None:
    quiet, now = QuietTime(CLIENTS), 100.0
    quiet.begin(now)
    received: list[list[float]] = [[now] for _ in range(CLIENTS)]
    for client, pause in steps:
        now += pause
        quiet.receive(client, now)
        received[client].append(now)
    now += last
    gaps = [b - a for times in received for a, b in zip(times, [*times[1:], now], strict=True)]
    assert quiet.longest(now) == max(gaps)
