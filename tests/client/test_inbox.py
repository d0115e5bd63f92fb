"""The law of what waits for a program."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.server import DEADLINE
from wsctl.client.inbox import MAX_WAITING, Inbox, InboxEnded
from wsctl.client.stream_state import Item
from wsctl.messages import Message

pytestmark = pytest.mark.anyio


def message(number: int) -> Message:
    return Message(f"{number}-0", 0.0, "eve", number)


async def taken(inbox: Inbox, count: int) -> list[Item]:
    async with asyncio.timeout(DEADLINE):
        return [await inbox.get() for _ in range(count)]


async def test_a_full_one_makes_the_writer_wait() -> None:
    inbox = Inbox()
    for number in range(MAX_WAITING):
        await inbox.put(message(number))
    assert inbox.full
    waiting = asyncio.ensure_future(inbox.put(message(MAX_WAITING)))
    await asyncio.sleep(0)
    assert not waiting.done()
    assert inbox.waiting == MAX_WAITING
    assert await inbox.get() == message(0)
    async with asyncio.timeout(DEADLINE):
        await waiting
    assert await taken(inbox, MAX_WAITING) == [message(n) for n in range(1, MAX_WAITING + 1)]


async def test_a_reader_waits_for_what_comes() -> None:
    inbox = Inbox()
    waiting = asyncio.ensure_future(taken(inbox, 2))
    for number in range(2):
        await inbox.put(message(number))
    assert await waiting == [message(0), message(1)]


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 4))
def test_whenever_readers_are_cancelled_everything_comes_once_and_in_order(
    patient: list[bool], limit: int
) -> None:
    async def run() -> list[Item]:
        inbox = Inbox(limit)
        writing = asyncio.ensure_future(write(inbox))
        got: list[Item] = []
        for stays in [*patient, *[True] * 20]:
            reading = asyncio.ensure_future(inbox.get())
            if not stays:
                await asyncio.sleep(0)
                reading.cancel()
            try:
                got.append(await reading)
            except asyncio.CancelledError:
                continue
            except InboxEnded:
                break
        await writing
        return got

    async def write(inbox: Inbox) -> None:
        for number in range(20):
            await inbox.put(message(number))
        inbox.end()

    got = asyncio.run(run())
    assert got == [message(n) for n in range(20)][: len(got)]
    assert len(got) == 20


async def test_the_end_comes_behind_what_is_there() -> None:
    inbox = Inbox()
    await inbox.put(message(1))
    inbox.end()
    assert await taken(inbox, 1) == [message(1)]
    with pytest.raises(InboxEnded):
        await inbox.get()


async def test_the_end_reaches_who_waits() -> None:
    inbox = Inbox()
    waiting = asyncio.ensure_future(inbox.get())
    await asyncio.sleep(0)
    inbox.end()
    with pytest.raises(InboxEnded):
        await asyncio.wait_for(waiting, DEADLINE)


async def test_a_closed_one_takes_everything_and_gives_nothing() -> None:
    inbox = Inbox(1)
    await inbox.put(message(1))
    waiting = asyncio.ensure_future(inbox.put(message(2)))
    await asyncio.sleep(0)
    inbox.close()
    async with asyncio.timeout(DEADLINE):
        await waiting
        for number in range(10):
            await inbox.put(message(number))
    assert inbox.waiting == 0
    with pytest.raises(InboxEnded):
        await inbox.get()


async def test_while_the_reader_waits_for_what_stands_behind_it_nothing_is_too_much() -> None:
    inbox = Inbox(1)
    await inbox.put(message(0))
    waiting = asyncio.ensure_future(inbox.put(message(1)))
    await asyncio.sleep(0)
    assert not waiting.done()
    with inbox.unlimited():
        async with asyncio.timeout(DEADLINE):
            await waiting
            await inbox.put(message(2))
    after = asyncio.ensure_future(inbox.put(message(3)))
    await asyncio.sleep(0)
    assert not after.done()
    assert await taken(inbox, 4) == [message(n) for n in range(4)]
    await after
