"""What blocks the event loop is named."""

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from tests.support.server import DEADLINE
from wsctl.server.asgi.watchdog import BLOCKED, LoopWatch


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
