"""What blocks the event loop is named."""

import logging
import signal
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.server import DEADLINE
from wsctl.codes import CLOSE_TIMEOUT
from wsctl.drain.signals import FORCE_AFTER
from wsctl.server.asgi.notice import ShutdownState
from wsctl.server.asgi.watchdog import BLOCKED, OVERDUE, EndDeadline, LoopWatch


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def watch(clock: Clock) -> Iterator[LoopWatch]:
    watch = LoopWatch(clock)
    yield watch
    watch.stop()


def in_another_thread(watch: LoopWatch) -> None:
    thread = threading.Thread(target=watch.look)
    thread.start()
    thread.join(DEADLINE)


def slow_code(watch: LoopWatch) -> None:
    in_another_thread(watch)


def test_the_code_that_blocks_the_loop_is_named_once(
    watch: LoopWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.now = BLOCKED - 0.1
    slow_code(watch)
    assert caplog.records == []
    clock.now = BLOCKED
    slow_code(watch)
    slow_code(watch)
    (record,) = caplog.records
    assert "blocked" in record.getMessage()
    assert f"in_another_thread ({__file__}:" in record.getMessage()


def test_the_end_is_logged_with_how_long_it_took(
    watch: LoopWatch, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    clock.now = BLOCKED
    slow_code(watch)
    with caplog.at_level(logging.WARNING):
        watch.alive(5.0)
        watch.alive(6.0)
    assert [getattr(r, "fields", {}).get("for_s") for r in caplog.records] == [None, 5.0]
    clock.now = 6.0 + BLOCKED
    slow_code(watch)
    assert len(caplog.records) == 3


def test_the_thread_looks_by_itself_and_ends_when_it_is_told(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    watch = LoopWatch(clock)
    watch.start()
    clock.now = BLOCKED
    until = time.monotonic() + DEADLINE
    while not caplog.records and time.monotonic() < until:
        time.sleep(0.01)
    watch.stop()
    assert len(caplog.records) == 1
    assert not any(thread.name == "wsctl-loop-watch" for thread in threading.enumerate())


LONGEST = 100.0
"""The time of a drain that a signal begins."""

LAST = CLOSE_TIMEOUT + OVERDUE
"""Seconds that a drain has behind its deadline, on a loop that is blocked."""


@pytest.fixture
def state(clock: Clock) -> ShutdownState:
    return ShutdownState(clock)


@pytest.fixture
def deadline(state: ShutdownState) -> EndDeadline:
    return EndDeadline(state, LONGEST)


def passes_at(deadline: EndDeadline, clock: Clock, moment: float) -> bool:
    clock.now = moment - 0.1
    before = deadline.has_passed()
    clock.now = moment
    return not before and deadline.has_passed()


def test_a_process_that_was_not_asked_to_end_has_no_deadline(deadline: EndDeadline, clock: Clock) -> None:
    clock.now = 1e9
    assert not deadline.has_passed()


def test_a_signal_of_which_the_loop_knows_nothing_sets_one(deadline: EndDeadline, clock: Clock) -> None:
    clock.now = 5.0
    deadline.note_signal(signal.SIGTERM)
    clock.now = 50.0
    deadline.note_signal(signal.SIGTERM)
    assert passes_at(deadline, clock, 5.0 + LONGEST + LAST)


def test_the_deadline_of_the_drain_counts_where_there_is_one(
    deadline: EndDeadline, state: ShutdownState, clock: Clock
) -> None:
    deadline.note_signal(signal.SIGTERM)
    state.begin(500.0, "SIGTERM")
    assert passes_at(deadline, clock, 500.0 + LAST)


def test_ctrl_c_again_leaves_only_the_last_seconds(deadline: EndDeadline, clock: Clock) -> None:
    deadline.note_signal(signal.SIGINT)
    deadline.note_signal(signal.SIGINT)  # the same one, passed on
    clock.now = FORCE_AFTER
    deadline.note_signal(signal.SIGINT)
    assert passes_at(deadline, clock, FORCE_AFTER + LAST)


def test_a_loop_that_is_blocked_beyond_the_deadline_ends_the_process(
    deadline: EndDeadline, state: ShutdownState, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[str] = []
    watch = LoopWatch(clock, deadline, lambda: ends.append("ended"))
    state.begin(1.0, "SIGTERM")
    clock.now = 1.0 + LAST
    watch.alive(clock.now)
    watch.look()
    assert ends == []  # it runs
    clock.now += BLOCKED
    in_another_thread(watch)
    assert ends == ["ended"]
    assert (
        "the process ends, as its drain has: the event loop is blocked by" in caplog.records[-1].getMessage()
    )
