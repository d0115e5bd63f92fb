"""The rate of one client."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.hub.bucket import PATIENCE, REMINDER, TokenBucket
from wsctl.settings import Rate

RATES = st.builds(Rate, st.sampled_from([0.5, 1, 3, 20, 1000]), st.integers(1, 40))


@examples(100)
@given(RATES, st.lists(st.sampled_from([0, 0.001, 0.05, 0.3, 1, 2.5, 30]), max_size=80))
def test_no_interval_admits_more_than_the_burst_and_the_rate_allow(rate: Rate, pauses: list[float]) -> None:
    now, bucket = 100.0, TokenBucket(rate.burst, 100.0)
    admitted = []
    for pause in pauses:
        now += pause
        if bucket.take(rate, now):
            admitted.append(now)
    for i, began in enumerate(admitted):
        for j, ended in enumerate(admitted[i:], 1):
            assert j <= rate.burst + rate.per_second * (ended - began) + 1e-6


def test_the_burst_passes_at_once_and_then_the_rate() -> None:
    rate, bucket = Rate(2, 3), TokenBucket(3, 0.0)
    assert [bucket.take(rate, 0.0) for _ in range(4)] == [True, True, True, False]
    assert not bucket.take(rate, 0.4)
    assert bucket.take(rate, 0.5)
    assert not bucket.take(rate, 0.6)


def test_who_keeps_to_the_rate_is_never_refused() -> None:
    rate, bucket = Rate(4, 1), TokenBucket(1, 0.0)
    assert all(bucket.take(rate, n / 4) for n in range(200))


def test_patience_ends_after_ten_bursts_of_refusals() -> None:
    rate, bucket = Rate(1, 2), TokenBucket(2, 0.0)
    for _ in range(2 + PATIENCE * 2):
        bucket.take(rate, 0.0)
    assert not bucket.exhausted(rate)
    bucket.take(rate, 0.0)
    assert bucket.exhausted(rate)


def test_a_client_that_was_quiet_is_forgiven() -> None:
    rate, bucket = Rate(1, 2), TokenBucket(2, 0.0)
    for _ in range(10):
        bucket.take(rate, 0.0)
    assert bucket.refused == 8
    assert bucket.take(rate, 1.0)  # half refilled: still the same spell
    assert bucket.refused == 8
    assert bucket.take(rate, 4.0)
    assert bucket.refused == 0


@pytest.mark.parametrize("later", [REMINDER, 5.0])
def test_the_client_is_told_once_a_second(later: float) -> None:
    bucket = TokenBucket(1, 0.0)
    assert bucket.remind(0.0)
    assert not bucket.remind(REMINDER - 0.01)
    assert bucket.remind(later)
