"""The window of all batches of one process, with a home of the log that answers when the test says so."""

import asyncio
import json

import pytest

from tests.support.homes import HomeElsewhere
from wsctl.control.operations import PublishRequest
from wsctl.log.home import Draft
from wsctl.log.message_log import MessageLog
from wsctl.log.refusals import AWAY
from wsctl.server.batch_window import (
    LATE,
    LEAST_UNANSWERED,
    LINES_TOGETHER,
    LINES_UNANSWERED,
    LONGEST_REST,
    REST,
    BatchWindow,
)
from wsctl.server.message_publisher import MessagePublisher, make_reader

pytestmark = pytest.mark.anyio


class Process:
    """A process at which batches come in. `now` is its clock.

    Attributes:
        rests: the seconds of each rest, which takes none here.
    """

    def __init__(self) -> None:
        make_reader(PublishRequest)
        self.now = 0.0
        self.is_upgrading = False
        self.is_open = True
        self.rests: list[float] = []
        self.drafts: list[Draft] = []
        self.log = MessageLog(lambda entry: 0)
        self.log.home = HomeElsewhere(self.drafts.append)
        self.window = BatchWindow(lambda: self.is_upgrading, lambda: self.now, self._rest)
        self.publisher = MessagePublisher(self.log, 0, lambda: self.is_open, self.window)

    async def _rest(self, seconds: float) -> None:
        self.rests.append(seconds)

    def receive(self, name: str, count: int) -> "asyncio.Task[list[str]]":
        """Begin with a batch of so many lines; return what becomes of each."""
        batch = self.publisher.open_batch(b'{"data":"%b"}\n' % name.encode() * count)

        async def finish() -> list[str]:
            await batch.finish()
            return [json.loads(line)["error"]["code"] for line in batch.text().splitlines()]

        batch.begin()
        return asyncio.create_task(finish())

    async def take(self) -> dict[str, int]:
        """Return how many lines of each batch the log has, once it gets no more."""
        for _ in range(100):
            await asyncio.sleep(0)
        names = [draft.data for draft in self.drafts]
        return {name: names.count(name) for name in names}

    def answer_all(self, after: float = 0.0) -> None:
        self.now += after
        drafts, self.drafts[:] = list(self.drafts), []
        for draft in drafts:
            self.log.refuse(draft.key, AWAY)

    async def answer_until(self, *batches: "asyncio.Task[list[str]]", after: float = 0.0) -> None:
        while not all(batch.done() for batch in batches):
            await self.take()
            self.answer_all(after)


async def test_all_batches_together_never_give_the_log_more_than_one_may() -> None:
    process = Process()
    batches = [process.receive(str(n), LINES_UNANSWERED) for n in range(16)]
    assert sum((await process.take()).values()) == LINES_UNANSWERED
    process.answer_all()
    assert sum((await process.take()).values()) == LINES_UNANSWERED
    await process.answer_until(*batches)
    for batch in batches:
        assert await batch == ["degraded"] * LINES_UNANSWERED


async def test_batches_give_their_lines_in_turn_and_a_short_one_does_not_wait_for_a_long_one() -> None:
    process = Process()
    long = process.receive("long", 9 * LINES_UNANSWERED)
    await process.take()
    short = process.receive("short", 1)
    process.answer_all()
    assert (await process.take())["short"] == 1
    process.answer_all()
    assert await short == ["degraded"]
    assert not long.done()
    await process.answer_until(long)


async def test_late_answers_make_the_window_smaller_down_to_its_least_and_prompt_ones_larger_again() -> None:
    process = Process()
    batch = process.receive("a", 9 * LINES_UNANSWERED)
    sizes = []
    for _ in range(7):
        await process.take()
        process.answer_all(after=LATE)
        sizes.append(process.window.size)
    assert sizes == [512, 256, 128, 64, LEAST_UNANSWERED, LEAST_UNANSWERED, LEAST_UNANSWERED]
    assert await process.take() == {"a": LEAST_UNANSWERED}
    await process.answer_until(batch, after=LATE / 2)
    assert process.window.size == LINES_UNANSWERED


async def test_during_an_upgrade_one_group_is_under_way_at_a_time_with_a_rest_behind_it() -> None:
    process = Process()
    process.is_upgrading = True
    batches = [process.receive(name, 2 * LINES_TOGETHER) for name in ("a", "b")]
    for name in ("a", "b", "a"):
        assert await process.take() == {name: LINES_TOGETHER}
        process.answer_all(after=LONGEST_REST / REST / 2)
    assert await process.take() == {"b": LINES_TOGETHER}
    assert process.rests == [LONGEST_REST / 2] * 3
    process.answer_all(after=100)
    await asyncio.gather(*batches)
    assert process.rests[3:] == [LONGEST_REST]


async def test_what_is_left_of_batches_is_refused_at_once_when_the_process_takes_no_more() -> None:
    process = Process()
    batches = [process.receive(name, 2 * LINES_UNANSWERED) for name in ("a", "b")]
    assert sum((await process.take()).values()) == LINES_UNANSWERED
    process.is_open = False
    process.answer_all()
    assert await process.take() == {}
    answers = [answer for batch in batches for answer in await batch]
    assert answers.count("degraded") == LINES_UNANSWERED
    assert answers.count("closing") == 3 * LINES_UNANSWERED
