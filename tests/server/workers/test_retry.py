"""How often a worker that dies is started again, and when one that refused."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.workers.retry import (
    LONGEST_PAUSE,
    MAX_RESTARTS,
    REFUSAL_PAUSE,
    RESTART_PAUSE,
    RESTART_WINDOW,
    RestartLimit,
    StartFailureLog,
    refusal_pause,
)


def test_the_pauses_grow_up_to_the_longest() -> None:
    pauses = [refusal_pause(n) for n in range(2000)]
    assert (pauses[0], pauses[1], pauses[-1]) == (REFUSAL_PAUSE, 2 * REFUSAL_PAUSE, LONGEST_PAUSE)
    assert pauses == sorted(pauses)


def test_a_reason_is_told_when_it_changes_and_when_it_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    failures = StartFailureLog()
    for why in ("no Redis", "no Redis", "no file", "no file", None, "no file"):
        failures.record(why) if why else failures.clear()
    told = [record.fields["why"] for record in caplog.records]  # type: ignore[attr-defined]
    assert told == ["no Redis", "no file", "no file"]


def test_each_pause_is_twice_the_one_before_until_it_is_given_up() -> None:
    restarts = RestartLimit()
    pauses = [restarts.next(0.0) for _ in range(MAX_RESTARTS + 1)]
    assert pauses == [*(RESTART_PAUSE * 2**n for n in range(MAX_RESTARTS)), None]


def test_a_worker_that_lived_long_enough_begins_anew() -> None:
    restarts = RestartLimit()
    for _ in range(MAX_RESTARTS):
        restarts.next(0.0)
    assert restarts.next(RESTART_WINDOW) == RESTART_PAUSE


@given(st.lists(st.floats(0, 30), max_size=40))
def test_there_are_never_more_within_the_window(pauses: list[float]) -> None:
    restarts, now, granted = RestartLimit(), 0.0, []
    for pause in pauses:
        now += pause
        recent = [at for at in granted if now - at < RESTART_WINDOW]
        if restarts.next(now) is None:
            assert len(recent) == MAX_RESTARTS
        else:
            assert len(recent) < MAX_RESTARTS
            granted.append(now)
