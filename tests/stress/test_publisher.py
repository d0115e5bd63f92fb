"""Messages at a steady rate, from the connected clients in turn."""

import asyncio

import pytest

from tests.support.server import DEADLINE
from tests.support.stress import Hub
from wsctl.client.events import Opened
from wsctl.stress.publisher import CATCH_UP, Publisher
from wsctl.stress.statistics import RunStatistics

pytestmark = pytest.mark.anyio

IDS = ("a-1", "a-2", "a-3")


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 100.0

    async def sleep(self, seconds: float) -> None:
        self.now += max(0.0, seconds)
        await asyncio.sleep(0)


class Run:
    """A publisher of ten messages a second for these clients, and when it sent what."""

    def __init__(self, *connected: int) -> None:
        self.hub, self.statistics, self.time = Hub(), RunStatistics(IDS), Time()
        self.clients = [self.hub.session(name) for name in IDS]
        self.times: list[float] = []
        self.hold_up = 0.0
        for client in connected:
            self.statistics.record(client, Opened({}), 0.0)

    async def until(self, count: int) -> None:
        """Publish until so many messages were sent."""
        enough = asyncio.Event()

        def sent(*_: object) -> None:
            if len(self.hub.sent) > len(self.times):
                self.times.append(self.time.now)
                self.time.now += self.hold_up
                self.hold_up = 0.0
            if len(self.times) >= count:
                enough.set()

        self.hub.deliver = sent
        publisher = Publisher(
            self.clients,
            self.statistics,
            rate=10.0,
            size=64,
            clock=lambda: self.time.now,
            sleep=self.time.sleep,
        )
        task = asyncio.create_task(publisher.run())
        async with asyncio.timeout(DEADLINE):
            await enough.wait()
        task.cancel()
        await asyncio.wait([task])


async def test_clients_send_in_turn() -> None:
    run = Run(0, 1, 2)
    await run.until(6)
    assert run.hub.sent[:6] == ["a-1", "a-2", "a-3"] * 2


async def test_messages_are_evenly_spaced() -> None:
    run = Run(0, 1, 2)
    await run.until(5)
    assert run.times[:5] == pytest.approx([100.0, 100.1, 100.2, 100.3, 100.4])


async def test_nobody_sends_more_because_another_is_away() -> None:
    run = Run(0, 2)
    await run.until(4)
    assert run.hub.sent[:4] == ["a-1", "a-3"] * 2
    assert run.times[:4] == pytest.approx([100.0, 100.2, 100.3, 100.5])


async def test_a_message_that_could_not_be_sent_is_unconfirmed() -> None:
    run = Run(0, 1)
    run.clients[0].connected = False
    await run.until(1)
    assert run.hub.sent[0] == "a-2"
    assert run.statistics.ledger.unconfirmed >= 1


async def test_a_short_delay_is_made_up_for() -> None:
    run = Run(0, 1, 2)
    run.hold_up = 0.35
    await run.until(6)
    assert run.times[:6] == pytest.approx([100.0, 100.35, 100.35, 100.35, 100.4, 100.5])


async def test_of_a_long_delay_only_the_last_second_is_made_up_for() -> None:
    run = Run(0, 1, 2)
    run.hold_up = 60.0
    await run.until(20)
    at_once = sum(at == pytest.approx(160.0) for at in run.times)
    assert at_once == pytest.approx(10 * CATCH_UP + 1, abs=1)
