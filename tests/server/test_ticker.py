"""What is due once a second."""

import asyncio

import pytest

from tests.support.server import DEADLINE
from wsctl.server import ticker
from wsctl.server.ticker import Ticker

pytestmark = pytest.mark.anyio


async def test_every_job_is_called_with_the_time_and_how_late_that_was_is_noted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ticker, "INTERVAL", 0.0)
    seen: list[tuple[str, float]] = []
    ticked = asyncio.Event()
    made = Ticker(lambda: 7.0, [lambda now: seen.append(("first", now))])

    def second(now: float) -> None:
        seen.append(("second", now))
        if len(seen) >= 6:
            ticked.set()

    made.jobs.append(second)
    running = asyncio.create_task(made.run())
    async with asyncio.timeout(DEADLINE):
        await ticked.wait()
    running.cancel()
    assert seen[:6] == [("first", 7.0), ("second", 7.0)] * 3
    assert sum(made.lateness.counts) >= 2
    assert made.lateness.total == 0.0
