"""How often a worker that dies is started again."""

from hypothesis import given
from hypothesis import strategies as st

from wsctl.lifecycle.restarts import FIRST_PAUSE, MOST, WINDOW, Restarts


def test_each_pause_is_twice_the_one_before_until_it_is_given_up() -> None:
    restarts = Restarts()
    pauses = [restarts.next(0.0) for _ in range(MOST + 1)]
    assert pauses == [*(FIRST_PAUSE * 2**n for n in range(MOST)), None]


def test_a_worker_that_lived_long_enough_begins_anew() -> None:
    restarts = Restarts()
    for _ in range(MOST):
        restarts.next(0.0)
    assert restarts.next(WINDOW) == FIRST_PAUSE


@given(st.lists(st.floats(0, 30), max_size=40))
def test_there_are_never_more_within_the_window(pauses: list[float]) -> None:
    restarts, now, granted = Restarts(), 0.0, []
    for pause in pauses:
        now += pause
        recent = [at for at in granted if now - at < WINDOW]
        if restarts.next(now) is None:
            assert len(recent) == MOST
        else:
            assert len(recent) < MOST
            granted.append(now)
