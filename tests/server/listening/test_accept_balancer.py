"""Who waits for whom, so that all have about as many."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.other_end import no_descriptor_left
from wsctl.server.listening.accept_balancer import AT_LEAST, SLACK, TOLERANCE, AcceptBalancer, create_page


@contextmanager
def several(count: int) -> Iterator[list[AcceptBalancer]]:
    fd = create_page(count)
    made = [AcceptBalancer(fd, number) for number in range(1, count + 1)]
    os.close(fd)
    try:
        yield made
    finally:
        for balancer in made:
            balancer.close()


def test_who_is_alone_waits_for_nobody() -> None:
    with several(3) as (one, _, _):
        assert not any(one.count_accepted(n) for n in range(1, 100))


def test_who_is_ahead_waits_but_takes_some_between_two_pauses() -> None:
    with several(2) as (one, other):
        other.set_count(0)
        paused = [n for n in range(1, 5 * AT_LEAST) if one.count_accepted(n)]
        assert paused == [AT_LEAST, 2 * AT_LEAST, 3 * AT_LEAST, 4 * AT_LEAST]


def test_nobody_waits_for_who_takes_none() -> None:
    with several(2) as (one, other):
        other.set_count(0)
        other.withdraw()
        assert not any(one.count_accepted(n) for n in range(1, 100))
        other.set_count(0)
        one.withdraw(2)
        assert not any(one.count_accepted(n) for n in range(1, 100))


@given(st.integers(0, 2000), st.integers(0, 2000))
def test_a_few_more_than_another_are_no_reason_to_wait(mine: int, least: int) -> None:
    with several(2) as (one, other):
        other.set_count(least)
        waits = [one.count_accepted(mine) for _ in range(AT_LEAST)]
        assert waits == [False] * (AT_LEAST - 1) + [mine > least * (1 + TOLERANCE) + SLACK]


@pytest.mark.parametrize("count", [2, 4, 7])
def test_however_unfair_the_kernel_is_all_get_about_as_many(count: int) -> None:
    with several(count) as all_of_them:
        has, until = [0] * count, [0] * count
        for balancer in all_of_them:
            balancer.set_count(0)
        for moment in range(4000):
            # The first that does not pause is always the fastest.
            first = next((n for n in range(count) if until[n] <= moment), None)
            if first is None:
                continue
            has[first] += 1
            if all_of_them[first].count_accepted(has[first]):
                until[first] = moment + 100
        assert max(has) < 1.2 * min(has)


def test_no_descriptor_is_left() -> None:
    with no_descriptor_left(), several(2) as (one, _):
        one.set_count(1)
