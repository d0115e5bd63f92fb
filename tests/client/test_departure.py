"""When a client leaves because its server asked for it."""

import asyncio
import json

import pytest

from tests.support.server import DEADLINE
from wsctl.client.departure import LONGEST, Departure

pytestmark = pytest.mark.anyio


class Exit:
    """A departure whose time passes when the test says so.

    Attributes:
        slept: the pauses that were begun.
        left: set when it has left.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.left = asyncio.Event()
        self._moments: list[asyncio.Event] = []
        self.departure = Departure(self._leave, self._sleep)

    async def hear(self, **fields: object) -> None:
        """A `shutdown` frame came, and what it begins has begun."""
        self.departure.hear({"type": "shutdown", "deadline_s": 60, "reason": "x"} | fields)
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

    async def _leave(self) -> None:
        self.left.set()


async def test_it_leaves_at_the_moment_that_was_named() -> None:
    door = Exit()
    await door.hear(reconnect_in_s=12.5)
    assert (door.slept, door.departure.begun) == ([12.5], False)
    await door.pass_time()
    assert door.departure.begun
    async with asyncio.timeout(DEADLINE):
        await door.left.wait()


async def test_the_longest_moment_is_still_taken() -> None:
    door = Exit()
    await door.hear(reconnect_in_s=LONGEST)
    assert door.slept == [LONGEST]


async def test_a_drain_that_names_no_moment_plans_nothing() -> None:
    door = Exit()
    await door.hear()
    assert door.slept == []


async def test_a_deadline_that_moves_leaves_the_plan_as_it_is() -> None:
    door = Exit()
    await door.hear(reconnect_in_s=12.5)
    await door.hear(deadline_s=5)
    await door.pass_time()
    assert (door.slept, door.left.is_set()) == ([12.5], True)


async def test_a_drain_that_was_cancelled_forgets_the_plan() -> None:
    door = Exit()
    await door.hear(reconnect_in_s=12.5)
    await door.hear(deadline_s=None)
    await door.pass_time()
    assert not door.departure.begun
    await door.hear(reconnect_in_s=3)
    await door.pass_time()
    assert door.left.is_set()


async def test_a_later_plan_replaces_the_one_before() -> None:
    door = Exit()
    await door.hear(reconnect_in_s=12.5)
    await door.hear(reconnect_in_s=3)
    door.departure.cancel()
    await door.pass_time()
    assert (door.slept, door.left.is_set()) == ([12.5, 3], False)


async def test_once_it_has_begun_there_is_no_way_back_and_no_second_one() -> None:
    door = Exit()
    await door.hear(reconnect_in_s=0)
    await door.pass_time()
    await door.hear(deadline_s=None)
    await door.hear(reconnect_in_s=1)
    assert (door.slept, door.departure.begun) == ([0], True)


@pytest.mark.parametrize(
    "nonsense", ["NaN", "-1", "Infinity", "1e999", f"{LONGEST + 1}", "9" * 400, '"5"', "null", "[]"]
)
async def test_a_moment_that_cannot_be_meant_is_none(nonsense: str) -> None:
    door = Exit()
    await door.hear(reconnect_in_s=json.loads(nonsense))
    assert door.slept == []
