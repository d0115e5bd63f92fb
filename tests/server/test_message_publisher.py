"""Messages that backends publish, with a log whose home is this process, or elsewhere."""

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.homes import HomeElsewhere
from tests.support.server import DEADLINE
from wsctl import messages
from wsctl.control.encoding import encode
from wsctl.control.operations import ControlError, Published
from wsctl.log.home import Draft
from wsctl.log.message_log import MessageLog
from wsctl.log.refusals import AWAY
from wsctl.server.batch_window import LINES_TOGETHER, LINES_UNANSWERED
from wsctl.server.message_publisher import (
    GROWTH,
    MessagePublisher,
    receipt_json,
    repeated_json,
)

pytestmark = pytest.mark.anyio

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)


def lines(count: int) -> bytes:
    return b"".join(b'{"data":%d}\n' % n for n in range(count))


class Elsewhere:
    """A log whose home is elsewhere, and answers when the test says so."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []
        self.log = MessageLog(lambda entry: 0)
        self.log.home = HomeElsewhere(self._take)
        self._taken = asyncio.Semaphore(0)
        self.publisher = MessagePublisher(self.log, 0, lambda: True)

    def _take(self, draft: Draft) -> None:
        self.drafts.append(draft)
        self._taken.release()

    async def takes(self, count: int) -> None:
        """Wait for so many more drafts."""
        async with asyncio.timeout(DEADLINE):
            for _ in range(count):
                await self._taken.acquire()

    def refuse_all(self) -> None:
        drafts, self.drafts[:] = list(self.drafts), []
        for draft in drafts:
            self.log.refuse(draft.key, AWAY)


async def test_lines_are_given_to_a_home_elsewhere_as_groups_and_never_too_many_at_a_time() -> None:
    elsewhere = Elsewhere()
    count = LINES_UNANSWERED + LINES_TOGETHER
    publishing = asyncio.create_task(elsewhere.publisher.publish_lines(lines(count)))
    await elsewhere.takes(LINES_UNANSWERED)
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(elsewhere.drafts) == LINES_UNANSWERED
    elsewhere.refuse_all()
    await elsewhere.takes(LINES_TOGETHER)
    elsewhere.refuse_all()
    answers = (await publishing).text.splitlines()
    assert [json.loads(line)["error"]["code"] for line in answers] == ["degraded"] * count


async def test_a_server_that_closes_publishes_nothing_and_in_the_middle_of_a_batch_no_more() -> None:
    log, is_open = MessageLog(lambda entry: 0), True
    publisher = MessagePublisher(log, 0, lambda: is_open)
    batch = publisher.open_batch(lines(LINES_TOGETHER + 1))
    batch.begin()
    is_open = False
    await batch.finish()
    assert json.loads(batch.text().splitlines()[-1])["error"]["code"] == "closing"
    assert log.published == LINES_TOGETHER
    with pytest.raises(ControlError):
        publisher.open_batch(lines(1))


@given(JSON_VALUES, st.booleans())
def test_json_that_is_read_and_written_again_is_not_longer_than_it_is_said_to_be(
    data: Any, ascii_only: bool
) -> None:
    written = json.dumps(data, ensure_ascii=ascii_only, separators=(",", ":"))
    if any(0xD800 <= ord(letter) < 0xE000 for letter in written):
        return
    line = f'{{"data":{written}}}'.encode()
    assert len(messages.encode({"data": json.loads(written)})) <= GROWTH * len(line)


@pytest.mark.parametrize("repeated", [None, True])
def test_a_receipt_is_written_as_the_encoder_would_write_it(repeated: bool | None) -> None:
    answer = Published("1-0", 0 if repeated else 3, repeated=repeated)
    written = repeated_json("1-0") if repeated else receipt_json("1-0", 3)
    assert written == json.dumps(encode(answer), separators=(",", ":"))


@pytest.mark.parametrize("number", ["1e15", "9e15", "1e9", "1E308", "-1e15"])
async def test_numbers_that_become_long_are_within_their_bound_too(number: str) -> None:
    line = f'{{"data":[{",".join([number] * 100)}]}}'.encode()
    assert len(messages.encode(json.loads(line))) <= GROWTH * len(line)
