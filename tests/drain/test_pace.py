"""The moments of a drain: when clients are asked to leave, when those who stay are closed, and when the last
will have left."""

from itertools import pairwise
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.drain.pace import SLOT, WINDOW, Forecast, Spread, moments

SECONDS = st.floats(0.001, 10_000)
CLIENTS = st.integers(1, 200)


@given(CLIENTS, SECONDS)
def test_moments_are_even_and_all_before_the_end_of_the_window(count: int, window: float) -> None:
    when = moments(count, window)
    assert len(when) == count
    assert when[0] == 0
    assert when[-1] < window
    gaps = [later - earlier for earlier, later in pairwise(when)]
    assert all(abs(gap - window / count) < window * 1e-9 for gap in gaps)


def test_nobody_has_no_moments() -> None:
    assert moments(0, 10.0) == []


def test_nothing_is_due_before_a_spread_begins_and_the_last_at_its_end() -> None:
    spread = Spread(110.0, 120.0)
    assert spread.next_at() == 110.0
    assert spread.due(109.0, 9) == 0
    assert spread.due(110.0, 4) == 0
    assert [spread.due(now, active) for now, active in ((117.4, 4), (119.9, 2), (120.0, 1))] == [2, 1, 1]


def test_a_spread_of_no_time_closes_nobody_before_its_end() -> None:
    spread = Spread(120.0, 120.0)
    assert spread.next_at() == 120.0
    assert spread.due(119.9, 7) == 0


MEANWHILE = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3)), max_size=30)
"""Looks at a spread: the share of it that has passed, and how many left since the look before."""


@given(SECONDS, SECONDS, CLIENTS, MEANWHILE)
def test_a_spread_closes_its_share_and_never_more(
    begin: float, length: float, of: int, looks: list[tuple[float, int]]
) -> None:
    spread, active = Spread(begin, begin + length), of
    spread.due(begin, active)
    for share, leaving in sorted(looks):
        now = begin + length * share
        active -= min(leaving, active)
        due = spread.due(now, active)
        active -= due
        gone = of - active
        passed = of * (now - begin) / length
        assert gone >= floor(passed - 1e-6)
        assert due == 0 or gone <= passed + 1e-6
        assert spread.due(now, active) == 0, "what is due once is not due twice"
        assert active == 0 or share >= 1 or spread.next_at() > now


@given(SECONDS, SECONDS, CLIENTS)
def test_whoever_looks_when_told_to_closes_them_one_by_one(begin: float, length: float, of: int) -> None:
    spread, active = Spread(begin, begin + length), of
    looks = 0
    while active:
        active -= spread.due(spread.next_at(), active)
        looks += 1
    assert looks <= of + 1
    assert spread.due(begin + length, 0) == 0


FAR = 10_000.0


def test_while_nobody_leaves_nothing_can_be_told() -> None:
    forecast = Forecast(100.0, 50)
    forecast.observe(110.0, 50)
    assert forecast.eta_s(110.0, 50, FAR) is None


def test_it_takes_the_rate_since_the_beginning() -> None:
    forecast = Forecast(100.0, 50)
    for now, active in ((101.0, 48), (105.0, 42), (110.0, 40)):
        forecast.observe(now, active)
    assert forecast.eta_s(110.0, 40, FAR) == pytest.approx(40.0)
    assert forecast.eta_s(120.0, 40, FAR) == pytest.approx(80.0)


def test_it_forgets_what_was_longer_ago_than_its_window() -> None:
    forecast = Forecast(100.0, 50)
    forecast.observe(101.0, 20)
    forecast.observe(140.0, 19)
    assert forecast.eta_s(140.0, 19, FAR) == pytest.approx(19 * WINDOW)
    assert forecast.eta_s(140.0 + WINDOW + 0.1, 19, FAR) is None


def test_it_never_tells_of_a_time_after_the_deadline() -> None:
    forecast = Forecast(100.0, 50)
    forecast.observe(110.0, 49)
    assert forecast.eta_s(110.0, 49, 160.0) == 50.0
    forecast.observe(159.0, 48)
    assert forecast.eta_s(161.0, 48, 160.0) == 0.0


def test_a_rush_in_the_first_moment_is_no_more_than_a_second_s_worth() -> None:
    forecast = Forecast(100.0, 50)
    forecast.observe(100.001, 30)
    assert forecast.eta_s(100.001, 30, FAR) == pytest.approx(1.5 * SLOT)


@given(
    st.lists(st.tuples(st.floats(0, 5), st.integers(0, 40)), max_size=200),
    st.floats(0, 50),
)
def test_whoever_leaves_the_forecast_has_its_bounds(
    course: list[tuple[float, int]], deadline_in: float
) -> None:
    now, active = 1000.0, 400
    forecast, gone_at = Forecast(now, active), float("-inf")
    for seconds, wish in course:
        now += seconds
        leaving = min(wish, active)
        active -= leaving
        gone_at = now if leaving else gone_at
        forecast.observe(now, active)
        eta = forecast.eta_s(now, active, now + deadline_in)
        assert eta is None or 0 <= eta <= deadline_in + 1e-9
        if active and now - gone_at < WINDOW - SLOT:
            assert eta is not None
        if now - gone_at > WINDOW:
            assert eta is None
    assert len(vars(forecast)["_slots"]) <= WINDOW / SLOT + 1
