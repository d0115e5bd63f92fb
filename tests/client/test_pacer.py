"""A client that keeps the rate which its server has named."""

import heapq
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.client.pacer import UNCONFIRMED_AFTER, Pacer
from wsctl.hub.bucket import TokenBucket
from wsctl.settings import Rate


def welcomed(per_second: float, burst: int, **left: int) -> Pacer:
    pacer = Pacer()
    pacer.welcome({"rate": {"per_second": per_second, "burst": burst, **left}}, 0.0)
    return pacer


@pytest.mark.parametrize(
    "frame", [{}, {"rate": None}, {"rate": {"per_second": 0, "burst": 1}}, {"rate": "x"}]
)
def test_without_a_rate_nothing_waits(frame: dict[str, object]) -> None:
    pacer = Pacer()
    pacer.welcome(frame, 0.0)
    for _ in range(1000):
        assert pacer.pause(0.0) == 0
        pacer.sent(0.0)
    assert not pacer.limited


def test_what_is_left_may_be_sent_at_once_and_the_rest_at_the_rate() -> None:
    pacer = welcomed(10, 4, left=2)
    for _ in range(2):
        assert pacer.pause(0.0) == 0
        pacer.sent(0.0)
    assert pacer.pause(0.0) == pytest.approx(0.101, abs=0.001)
    for _ in range(2):
        pacer.confirm(0.0)
    assert pacer.pause(0.2) == 0


def test_tokens_come_back_from_the_confirmation_on_where_the_bucket_was_full() -> None:
    pacer = welcomed(10, 1)
    pacer.sent(0.0)
    assert pacer.pause(1.0) == pytest.approx(UNCONFIRMED_AFTER - 1)
    pacer.confirm(1.5)
    assert pacer.pause(1.5) > 0.1
    assert pacer.pause(1.62) == 0


def test_what_nobody_confirms_counts_as_confirmed_after_a_while() -> None:
    pacer = welcomed(10, 1)
    pacer.sent(0.0)
    assert pacer.pause(UNCONFIRMED_AFTER) > 0
    assert pacer.pause(UNCONFIRMED_AFTER + 0.2) == 0


def test_after_a_refusal_it_waits_for_a_whole_token() -> None:
    pacer = welcomed(10, 5)
    pacer.sent(0.0)
    pacer.refused(0.0)
    assert pacer.pause(0.0) > 0.1


@given(
    per_second=st.sampled_from([0.5, 7, 20, 1000]),
    burst=st.integers(1, 50),
    seed=st.integers(0, 1 << 32),
    slowest=st.sampled_from([0.0, 0.01, 0.5]),
)
def test_whatever_the_network_does_the_server_refuses_nothing(
    per_second: float, burst: int, seed: int, slowest: float
) -> None:
    rate, pacer, chance = Rate(per_second, burst), welcomed(per_second, burst), random.Random(seed)
    server = TokenBucket(burst, 0.0)
    now, arrived, answered = 0.0, 0.0, 0.0
    confirmations: list[float] = []
    for _ in range(100):
        while (pause := pacer.pause(now)) > 0:
            until = now + pause
            if confirmations and confirmations[0] <= until:
                now = max(now, heapq.heappop(confirmations))
                pacer.confirm(now)
            else:
                now = until + 1e-9
        pacer.sent(now)
        arrived = max(arrived, now + chance.uniform(0, slowest))  # in the order in which they were sent
        assert server.take(rate, arrived)
        answered = max(answered, arrived + chance.uniform(0, slowest))
        heapq.heappush(confirmations, answered)
