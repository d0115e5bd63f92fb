"""Messages that come one by one during an upgrade, with a home of the log that answers when the test says."""

import asyncio

import pytest

from tests.support.homes import HomeElsewhere
from wsctl.control.operations import ControlError, PublishRequest
from wsctl.log.home import Draft, Refusal
from wsctl.log.message_log import MessageLog
from wsctl.log.refusals import AWAY
from wsctl.server.batch_window import REST, BatchWindow
from wsctl.server.grouped_messages import GroupedMessages
from wsctl.server.message_publisher import MessagePublisher

pytestmark = pytest.mark.anyio


class Process:
    """A process during an upgrade, at which messages come in. `now` is its clock, and its rests end when the
    test says so."""

    def __init__(self) -> None:
        self.now = 0.0
        self.is_upgrading = self.is_open = True
        self.rests: list[float] = []
        self.rested = asyncio.Event()
        self.drafts: list[Draft] = []
        self.refused: dict[int, Refusal] = {}
        self.log = MessageLog(lambda entry: 0)
        self.log.home = HomeElsewhere(self.drafts.append)
        turns = BatchWindow(lambda: self.is_upgrading, lambda: self.now, self._rest)
        self.publisher = MessagePublisher(self.log, 20, lambda: self.is_open, grouped=GroupedMessages(turns))

    async def _rest(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.rested.clear()
        await self.rested.wait()

    def receive(self, *messages: object) -> None:
        for n in messages:
            self.publisher.submit_single(
                PublishRequest(n),
                lambda message_id, recipients: None,
                lambda message_id: None,
                lambda why, n=n: self.refused.update({n: why}),  # type: ignore[misc]
            )

    async def taken(self) -> list[object]:
        """Return what the log has been given, in order, once it gets no more."""
        for _ in range(20):
            await asyncio.sleep(0)
        return [draft.data for draft in self.drafts]

    async def answer_all(self, after: float = 0.0) -> None:
        self.now += after
        drafts, self.drafts[:] = list(self.drafts), []
        for draft in drafts:
            self.log.refuse(draft.key, AWAY)
        await self.taken()


async def test_what_comes_while_the_last_ones_rest_is_published_together_in_order_behind_the_rest() -> None:
    process = Process()
    process.receive(1)
    assert await process.taken() == [1]
    process.receive(2, 3)
    assert await process.taken() == [1]
    await process.answer_all(after=0.1)
    assert process.refused == {1: AWAY}
    assert process.rests == [pytest.approx(REST * 0.1)]
    process.receive(4)
    assert await process.taken() == []
    process.rested.set()
    assert await process.taken() == [2, 3, 4]
    await process.answer_all()
    process.rested.set()
    await process.taken()
    process.is_upgrading = False
    process.receive(5)
    assert [draft.data for draft in process.drafts] == [5]


async def test_what_may_not_be_published_is_refused_at_once_and_what_waits_when_the_process_closes_too() -> (
    None
):
    process = Process()
    for wrong in (float("nan"), "x" * 21):
        with pytest.raises(ControlError):
            process.receive(wrong)
    process.receive(1)
    await process.taken()
    process.receive(2)
    process.is_open = False
    await process.answer_all()
    process.rested.set()
    assert await process.taken() == []
    assert (process.refused[2].code, process.refused[2].text) == (
        "degraded",
        "the server is closing its clients",
    )
    with pytest.raises(ControlError):
        process.receive(3)
