"""One Redis, and what may be wrong with it."""

import asyncio

import pytest

from tests.support.store import StoreProcess
from wsctl.hub.shared.store import Store

pytestmark = pytest.mark.anyio


async def test_whoever_is_cancelled_while_it_asks_does_not_go_on(store: StoreProcess) -> None:
    """At whatever moment, the one at which the answer comes too."""
    asked = Store(store.url, None)
    await asked.ask("PING")
    for turns in range(60):
        task = asyncio.create_task(asked.ask("PING"))
        for _ in range(turns % 20):
            await asyncio.sleep(0)
        before = task.done()
        task.cancel()
        await asyncio.wait([task])
        assert before or task.cancelled()
    await asked.drop()
