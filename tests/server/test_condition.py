"""A condition that several tasks wait for."""

import asyncio

import pytest

from wsctl.server.condition import Condition

pytestmark = pytest.mark.anyio


async def test_each_wait_ends_with_the_next_notification() -> None:
    condition = Condition()
    condition.notify_all()
    waiting = [asyncio.ensure_future(condition.wait()) for _ in range(2)]
    await asyncio.sleep(0)
    assert not any(wait.done() for wait in waiting)
    condition.notify_all()
    await asyncio.gather(*waiting)


async def test_what_is_true_already_is_not_waited_for() -> None:
    assert await Condition().wait_for(lambda: True)


async def test_it_is_asked_again_after_each_notification() -> None:
    condition, answers = Condition(), iter([False, False, True])
    asked: list[bool] = []

    def true() -> bool:
        asked.append(next(answers))
        return asked[-1]

    waiting = asyncio.ensure_future(condition.wait_for(true))
    for count in (1, 2):
        await asyncio.sleep(0)
        assert len(asked) == count
        condition.notify_all()
        await asyncio.sleep(0)
    assert await waiting


async def test_in_the_end_it_says_what_is_so() -> None:
    condition = Condition()
    assert not await condition.wait_for(lambda: False, 0.001)
    seen: list[int] = []
    # True only when it is asked at the end, of which nobody told.
    assert await condition.wait_for(lambda: len(seen) > 0 or bool(seen.append(1)), 0.001)
