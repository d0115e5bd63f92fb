"""When a worker that died or refused is started again, and when one that does not end counts as hung."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_parent import draining
from wsctl.codes import CLOSE_TIMEOUT
from wsctl.control.encoding import decode
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress
from wsctl.server.diagnostics.stop_time import WORKER_GRACE
from wsctl.server.workers.supervision import (
    LONGEST_PAUSE,
    MAX_RESTARTS,
    REFUSAL_PAUSE,
    RESTART_PAUSE,
    RESTART_WINDOW,
    RestartLimit,
    ShutdownDeadline,
    StartFailureLog,
    refusal_pause,
)

MORE = CLOSE_TIMEOUT + WORKER_GRACE


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
    pauses = [restarts.next_pause(0.0) for _ in range(MAX_RESTARTS + 1)]
    assert pauses == [*(RESTART_PAUSE * 2**n for n in range(MAX_RESTARTS)), None]


def test_a_worker_that_lived_long_enough_begins_anew() -> None:
    restarts = RestartLimit()
    for _ in range(MAX_RESTARTS):
        restarts.next_pause(0.0)
    assert restarts.next_pause(RESTART_WINDOW) == RESTART_PAUSE


@given(st.lists(st.floats(0, 30), max_size=40))
def test_there_are_never_more_within_the_window(pauses: list[float]) -> None:
    restarts, now, granted = RestartLimit(), 0.0, []
    for pause in pauses:
        now += pause
        recent = [at for at in granted if now - at < RESTART_WINDOW]
        if restarts.next_pause(now) is None:
            assert len(recent) == MAX_RESTARTS
        else:
            assert len(recent) < MAX_RESTARTS
            granted.append(now)


def told(remaining: float, phase: Phase = Phase.DRAINING) -> DrainProgress:
    return decode(DrainProgress, draining(1, phase, remaining_s=remaining)["drain"])  # type: ignore[arg-type]


def ends(deadline: ShutdownDeadline) -> float:
    """When it is over; all there is is whole seconds."""
    return next(now for now in range(1000) if deadline.has_passed(now))


@pytest.fixture
def deadline() -> ShutdownDeadline:
    found = ShutdownDeadline(100.0)
    assert not found.has_passed(1e9)
    found.start(1.0)
    return found


def test_who_was_stopped_beyond_the_deadline_has_its_last_seconds() -> None:
    deadline = ShutdownDeadline(5)
    deadline.start(100)
    deadline.extend(500)
    assert not deadline.has_passed(500 + MORE - 0.1)
    assert deadline.has_passed(500 + MORE)
    deadline.start(600)
    deadline.extend(601)
    assert deadline.has_passed(605 + MORE)


def test_nobody_who_hangs_has_more_than_a_drain_and_its_closing_handshakes(
    deadline: ShutdownDeadline,
) -> None:
    assert ends(deadline) == 101 + MORE


def test_the_deadline_is_what_was_told_last(deadline: ShutdownDeadline) -> None:
    deadline.update(told(10.0), 2.0)
    assert ends(deadline) == 12 + MORE
    deadline.update(told(300.0), 3.0)
    assert ends(deadline) == 303 + MORE


def test_who_has_stopped_has_no_word_in_it(deadline: ShutdownDeadline) -> None:
    deadline.update(told(10.0), 2.0)
    deadline.update(told(300.0, Phase.STOPPED), 3.0)
    assert ends(deadline) == 12 + MORE


def test_a_force_leaves_no_time_until_the_next_drain(deadline: ShutdownDeadline) -> None:
    deadline.expire(5.0)
    deadline.update(told(300.0, Phase.CLOSING), 6.0)
    assert ends(deadline) == 5 + MORE
    deadline.start(7.0)
    deadline.update(told(20.0), 8.0)
    assert ends(deadline) == 28 + MORE
