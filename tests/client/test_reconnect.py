"""When and to which server a client connects again."""

import asyncio
import json
import random

import pytest

from tests.support.server import DEADLINE
from wsctl.client.reconnect import (
    FARTHEST,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    Backoff,
    Failover,
    ReconnectSchedule,
)
from wsctl.client.target import Target

# The pauses


def highest(_low: float, high: float) -> float:
    return high


def test_the_ceiling_doubles_up_to_the_cap() -> None:
    backoff = Backoff(highest)
    assert [backoff.pause() for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_each_pause_is_drawn_from_the_whole_range() -> None:
    drawn: list[tuple[float, float]] = []

    def record(low: float, high: float) -> float:
        drawn.append((low, high))
        return low

    backoff = Backoff(record)
    assert [backoff.pause() for _ in range(3)] == [0, 0, 0]
    assert drawn == [(0, FIRST_PAUSE), (0, 2 * FIRST_PAUSE), (0, 4 * FIRST_PAUSE)]


def test_after_a_reset_it_starts_over() -> None:
    backoff = Backoff(highest)
    for _ in range(5):
        backoff.pause()
    backoff.reset()
    assert backoff.pause() == FIRST_PAUSE


def test_it_never_fails_however_often_it_is_asked() -> None:
    backoff = Backoff(random.Random(1).uniform)
    assert all(0 <= backoff.pause() <= LONGEST_PAUSE for _ in range(5000))


# Which of several servers


A, B, C = (Target(f"http://{name}") for name in "abc")


def test_the_only_server_is_tried_again_and_again_with_pauses() -> None:
    failover = Failover(A)
    assert [(failover.advance(), failover.target) for _ in range(3)] == [(False, A)] * 3


def test_who_is_turned_away_tries_each_of_the_others_before_it_waits() -> None:
    failover = Failover(A, (B, C))
    assert failover.target == A
    tried = [(failover.advance(), failover.target) for _ in range(4)]
    assert tried == [(True, B), (True, C), (False, A), (True, B)]


def test_behind_each_connection_the_own_server_is_first_again() -> None:
    failover = Failover(A, (B, C))
    failover.advance()
    assert failover.target == B
    failover.reset()
    assert failover.target == A


# The moment that a server names


class Connection:
    """A connection with a schedule, whose time passes when the test says so.

    Attributes:
        slept: the pauses that were begun.
        closed: set when it was closed.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.closed = asyncio.Event()
        self._moments: list[asyncio.Event] = []
        self.schedule = ReconnectSchedule(self._close, self._sleep)

    async def shutdown(self, **fields: object) -> None:
        """A `shutdown` frame came, and what it begins has begun."""
        self.schedule.update({"type": "shutdown", "deadline_s": 60, "reason": "x"} | fields)
        await asyncio.sleep(0)

    async def pass_time(self) -> None:
        """Every pause that was begun is over."""
        for moment in self._moments:
            moment.set()
        for _ in range(3):
            await asyncio.sleep(0)

    async def _sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._moments.append(asyncio.Event())
        await self._moments[-1].wait()

    async def _close(self) -> None:
        self.closed.set()


@pytest.mark.anyio
async def test_it_leaves_at_the_moment_that_was_named() -> None:
    connection = Connection()
    await connection.shutdown(reconnect_in_s=12.5)
    assert (connection.slept, connection.schedule.started) == ([12.5], False)
    await connection.pass_time()
    assert connection.schedule.started
    async with asyncio.timeout(DEADLINE):
        await connection.closed.wait()


@pytest.mark.anyio
async def test_the_longest_moment_is_still_taken() -> None:
    connection = Connection()
    await connection.shutdown(reconnect_in_s=FARTHEST)
    assert connection.slept == [FARTHEST]


@pytest.mark.anyio
async def test_a_drain_that_names_no_moment_plans_nothing() -> None:
    connection = Connection()
    await connection.shutdown()
    assert connection.slept == []


@pytest.mark.anyio
async def test_a_deadline_that_moves_leaves_the_plan_as_it_is() -> None:
    connection = Connection()
    await connection.shutdown(reconnect_in_s=12.5)
    await connection.shutdown(deadline_s=5)
    await connection.pass_time()
    assert (connection.slept, connection.closed.is_set()) == ([12.5], True)


@pytest.mark.anyio
async def test_a_drain_that_was_cancelled_forgets_the_plan() -> None:
    connection = Connection()
    await connection.shutdown(reconnect_in_s=12.5)
    await connection.shutdown(deadline_s=None)
    await connection.pass_time()
    assert not connection.schedule.started
    await connection.shutdown(reconnect_in_s=3)
    await connection.pass_time()
    assert connection.closed.is_set()


@pytest.mark.anyio
async def test_a_later_plan_replaces_the_one_before() -> None:
    connection = Connection()
    await connection.shutdown(reconnect_in_s=12.5)
    await connection.shutdown(reconnect_in_s=3)
    connection.schedule.cancel()
    await connection.pass_time()
    assert (connection.slept, connection.closed.is_set()) == ([12.5, 3], False)


@pytest.mark.anyio
async def test_once_it_has_begun_there_is_no_way_back_and_no_second_one() -> None:
    connection = Connection()
    await connection.shutdown(reconnect_in_s=0)
    await connection.pass_time()
    await connection.shutdown(deadline_s=None)
    await connection.shutdown(reconnect_in_s=1)
    assert (connection.slept, connection.schedule.started) == ([0], True)


@pytest.mark.parametrize(
    "nonsense", ["NaN", "-1", "Infinity", "1e999", f"{FARTHEST + 1}", "9" * 400, '"5"', "null", "[]"]
)
@pytest.mark.anyio
async def test_a_moment_that_cannot_be_meant_is_none(nonsense: str) -> None:
    connection = Connection()
    await connection.shutdown(reconnect_in_s=json.loads(nonsense))
    assert connection.slept == []
