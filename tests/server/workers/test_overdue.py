"""How long workers may take to end."""

import pytest

from tests.support.team import draining
from wsctl.codes import CLOSE_TIMEOUT
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, read_progress
from wsctl.server.diagnostics.stop_time import WORKER_GRACE
from wsctl.server.workers.overdue import Overdue

MORE = CLOSE_TIMEOUT + WORKER_GRACE


def told(remaining: float, phase: Phase = Phase.DRAINING) -> DrainProgress:
    return read_progress(draining(1, phase, remaining_s=remaining)["drain"])  # type: ignore[arg-type]


def ends(time: Overdue) -> float:
    """When it is over; all there is is whole seconds."""
    return next(now for now in range(1000) if time.is_over(now))


@pytest.fixture
def time() -> Overdue:
    found = Overdue(100.0)
    assert not found.is_over(1e9)
    found.begun(1.0)
    return found


def test_who_was_stopped_beyond_the_deadline_has_its_last_seconds() -> None:
    overdue = Overdue(5)
    overdue.begun(100)
    overdue.went_on(500)
    assert not overdue.is_over(500 + MORE - 0.1)
    assert overdue.is_over(500 + MORE)
    overdue.begun(600)
    overdue.went_on(601)
    assert overdue.is_over(605 + MORE)


def test_nobody_who_hangs_has_more_than_a_drain_and_its_closing_handshakes(time: Overdue) -> None:
    assert ends(time) == 101 + MORE


def test_the_deadline_is_what_was_told_last(time: Overdue) -> None:
    time.told(told(10.0), 2.0)
    assert ends(time) == 12 + MORE
    time.told(told(300.0), 3.0)
    assert ends(time) == 303 + MORE


def test_who_has_stopped_has_no_word_in_it(time: Overdue) -> None:
    time.told(told(10.0), 2.0)
    time.told(told(300.0, Phase.STOPPED), 3.0)
    assert ends(time) == 12 + MORE


def test_a_force_leaves_no_time_until_the_next_drain(time: Overdue) -> None:
    time.cut(5.0)
    time.told(told(300.0, Phase.CLOSING), 6.0)
    assert ends(time) == 5 + MORE
    time.begun(7.0)
    time.told(told(20.0), 8.0)
    assert ends(time) == 28 + MORE
