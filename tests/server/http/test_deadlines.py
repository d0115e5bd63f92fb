"""How long an HTTP connection may stay in each of its states."""

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.hub.connection import STALL_TIMEOUT
from wsctl.server.http.deadlines import (
    BODY_RATE,
    BODY_TIMEOUT,
    HEAD_TIMEOUT,
    IDLE_TIMEOUT,
    LATE_BODY_TIMEOUT,
    MAX_UNREAD,
    TIMEOUTS,
    Deadlines,
    Stage,
)


def at_most(deadlines: Deadlines, since: float, seconds: float) -> None:
    """It is overdue exactly after so many seconds."""
    assert not deadlines.overdue(since + seconds - 0.1)
    assert deadlines.overdue(since + seconds)


def test_a_head_has_its_time_from_the_beginning() -> None:
    deadlines = Deadlines(100.0)
    deadlines.received(1, 109.0)
    at_most(deadlines, 100.0, HEAD_TIMEOUT)


def test_a_later_head_has_it_from_its_first_byte() -> None:
    deadlines = Deadlines(0.0)
    for step in (deadlines.requested, deadlines.ended, deadlines.answered):
        step(5.0)
    at_most(deadlines, 5.0, IDLE_TIMEOUT)
    deadlines.received(1, 12.0)
    deadlines.received(1, 20.0)
    at_most(deadlines, 12.0, HEAD_TIMEOUT)


def test_a_body_has_more_time_the_more_has_come() -> None:
    deadlines = Deadlines(0.0)
    deadlines.requested(1.0)
    at_most(deadlines, 1.0, BODY_TIMEOUT)
    deadlines.received(10 * BODY_RATE, 2.0)
    at_most(deadlines, 1.0, BODY_TIMEOUT + 10)


def test_behind_an_answer_the_rest_of_a_body_is_waited_for_shortly() -> None:
    deadlines = Deadlines(0.0)
    deadlines.requested(1.0)
    deadlines.answered(2.0)
    deadlines.received(MAX_UNREAD, 3.0)
    assert not deadlines.too_much
    at_most(deadlines, 2.0, LATE_BODY_TIMEOUT)
    deadlines.received(1, 4.0)
    assert deadlines.too_much
    deadlines.ended(5.0)
    assert not deadlines.too_much
    at_most(deadlines, 5.0, IDLE_TIMEOUT)


def test_the_application_has_its_own_time() -> None:
    deadlines = Deadlines(0.0)
    deadlines.requested(0.0)
    deadlines.ended(0.0)
    assert deadlines.busy
    assert not deadlines.overdue(1e6)


STEPS = st.sampled_from(["received", "requested", "ended", "answered"])


@given(st.lists(STEPS, max_size=30))
def test_whatever_happens_every_state_but_the_applications_own_ends(steps: list[str]) -> None:
    deadlines = Deadlines(0.0)
    for now, step in enumerate(steps):
        if step == "received":
            deadlines.received(BODY_RATE, float(now))
        else:
            getattr(deadlines, step)(float(now))
    assert deadlines.overdue(1000.0) is (TIMEOUTS[deadlines.stage] < inf)


@pytest.mark.parametrize("between", [[100], [100, 200, 300], [50, 100, 150]], ids=str)
def test_what_is_written_in_between_is_no_progress(between: list[int]) -> None:
    deadlines = Deadlines(0.0)
    assert not deadlines.stalled(5.0, between[0])
    for second, unsent in enumerate(between, 5):
        assert not deadlines.stalled(float(second), unsent)
    assert not deadlines.stalled(5.0 + STALL_TIMEOUT - 0.1, between[-1])
    assert deadlines.stalled(5.0 + STALL_TIMEOUT, between[-1])


def test_what_is_taken_is_progress() -> None:
    deadlines = Deadlines(0.0)
    for second in range(100):
        assert not deadlines.stalled(float(second), 1000 - second)
    assert not deadlines.stalled(100.0, 0)
    assert not deadlines.stalled(1000.0, 5)
    assert deadlines.stage is Stage.HEAD
