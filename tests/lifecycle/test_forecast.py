"""When the last client will have left."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.lifecycle.forecast import SLOT, WINDOW, Forecast

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
