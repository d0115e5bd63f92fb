"""The rates over the last seconds that a status has."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.control.status import DeliveryTime
from wsctl.hub.traffic import Durations
from wsctl.server.status_reporter import RATE_WINDOW, DeliveryMeter, RateMeter


def test_there_is_no_rate_before_two_samples() -> None:
    meter = RateMeter()
    assert meter.rates() == ()
    meter.sample(1.0, 5)
    assert meter.rates() == ()


def test_each_counter_has_its_own_rate() -> None:
    meter = RateMeter()
    meter.sample(10.0, 0, 100)
    meter.sample(12.0, 10, 100)
    assert meter.rates() == (5.0, 0.0)


def test_what_lies_before_the_window_no_longer_counts() -> None:
    meter = RateMeter()
    meter.sample(0.0, 0)
    for second in range(1, RATE_WINDOW + 2):
        meter.sample(float(second), 1000)
    assert meter.rates() == (0.0,)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=40))
def test_a_rate_lies_between_the_slowest_and_the_fastest_second(growth: list[int]) -> None:
    meter, total = RateMeter(), 0
    for second, more in enumerate(growth):
        total += more
        meter.sample(float(second), total)
    window = growth[1:][-RATE_WINDOW:]
    assert min(window) - 0.1 <= meter.rates()[0] <= max(window) + 0.1


def test_the_delivery_time_is_that_of_the_last_ten_seconds() -> None:
    durations = Durations()
    meter = DeliveryMeter(durations)
    assert meter.recent() == DeliveryTime(0, None, None)
    durations.note(9.0)
    meter.sample()
    for seconds in (0.001, 0.003):
        durations.note(seconds)
    assert meter.recent() == DeliveryTime(2, 0.002, 0.005)
    for _ in range(RATE_WINDOW + 1):
        meter.sample()
    assert meter.recent() == DeliveryTime(0, None, None)
