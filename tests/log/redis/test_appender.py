"""From a node into the log: each message once, or its publisher is told."""

import asyncio
import time

import pytest

from tests.conftest import StartStore
from tests.log.redis.test_session import log_of, peers
from tests.support.peer import Peer, new_prefix
from tests.support.relay import Relay
from tests.support.store import StoreProcess
from wsctl.log.home import Draft, Key
from wsctl.log.idempotency import TTL
from wsctl.log.redis.appender import TOGETHER
from wsctl.log.refusals import (
    CONFIRM_TIMEOUT,
    FULL,
    LATE,
    MOST_BYTES_WAITING,
    MOST_WAITING,
    UNCONFIRMED,
)

pytestmark = pytest.mark.anyio


async def test_what_is_too_late_for_its_publisher_is_not_appended_when_redis_goes_on(
    start_store: StartStore,
) -> None:
    store = start_store()
    async with peers(store, 1) as (node,):
        node.say("in time")
        await node.settle()
        store.stop_process()
        node.say("late")
        await node.settle()
        # Redis may have stopped before it said of the first one that it has it: then it was not asked again.
        assert node.refusals["late"] in (UNCONFIRMED, LATE)
        await node.hears("away")
        store.go_on()
        await node.hears("back")
        node.say("after")
        await node.settle()
        assert [message.data for message in node.got] == ["in time", "after"]
        assert store.command("XLEN", log_of(node)) == 2


async def test_what_was_appended_is_not_appended_again_when_the_answer_is_lost(store: StoreProcess) -> None:
    """The connection ends between the append and its answer, again and again."""
    prefix = new_prefix()
    async with Relay(store.port).running() as relay, Peer(store.url, prefix).running() as other:
        cut_off = Peer(relay.url.replace("http", "redis"), prefix)
        async with cut_off.running() as node:
            for n in range(40):
                node.say(n)
                for _ in range(n % 8):
                    await asyncio.sleep(0)
                relay.cut()
                relay.mend()
                await node.settle()
            got = await other.read(store.command("XLEN", log_of(node)))
            assert got == sorted(set(got)), "in order, none twice"
            assert node.receipts.keys() <= set(got)
            assert node.receipts.keys() | node.refusals.keys() == set(range(40))
            assert all(node.refusals[n] == UNCONFIRMED for n in set(got) - node.receipts.keys())


async def test_a_message_sent_twice_is_appended_once(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        for n in (1, 2, 1, 2, 3):
            node.session.publish(Draft(Key("w", n), "x", n))
        assert await node.read(3) == [1, 2, 3]
        node.say("end")
        await node.settle()
        assert store.command("XLEN", log_of(node)) == 4


async def test_many_messages_share_a_call_and_keep_their_order(store: StoreProcess) -> None:
    async with peers(store, 1, clock=lambda: 0.0) as (node,):  # nothing is late, however busy the machine is
        before = calls(store)
        for n in range(8 * TOGETHER):
            node.say(n)
        assert await node.read(8 * TOGETHER) == list(range(8 * TOGETHER))
        assert calls(store) - before < 20


def calls(store: StoreProcess) -> int:
    line = next(
        row for row in store.command("INFO", "commandstats").split() if row.startswith(b"cmdstat_evalsha")
    )
    return int(line.partition(b"calls=")[2].partition(b",")[0])


async def test_more_than_can_wait_is_refused_at_once(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        await node.session.suspend()
        node.session._appender.suspended = False
        for n in range(MOST_WAITING + 1):
            node.say(n)
        assert node.refusals == {MOST_WAITING: FULL}


async def test_more_bytes_than_can_wait_are_refused_at_once(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        await node.session.suspend()
        node.session._appender.suspended = False
        for n in range(9):
            node.say(f"{n}" + "x" * (MOST_BYTES_WAITING // 8))
        assert [data[0] for data in node.refusals] == ["8"]


async def test_a_publisher_waits_no_longer_than_promised(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        await node.session.suspend()
        node.session._appender.suspended = False
        start = time.monotonic()
        node.say(1)
        await node.settle()
        assert CONFIRM_TIMEOUT <= time.monotonic() - start < 5 * CONFIRM_TIMEOUT  # a machine is busy
        assert node.refusals == {1: LATE}


async def test_of_several_with_one_idempotency_key_the_first_is_published(store: StoreProcess) -> None:
    """Whichever nodes they are given to; the others get its id, as do those that come again."""
    async with peers(store, 2) as nodes:
        told: list[tuple[str, str]] = []
        for n, node in enumerate((*nodes, *nodes)):
            node.log.append(
                "x",
                n,
                None,
                lambda message_id, count: told.append(("receipt", message_id)),
                idempotency_key="k",
                repeated=lambda message_id: told.append(("repeated", message_id)),
            )
            await node.until_true(lambda n=n: len(told) == n + 1)  # type: ignore[misc]
        first = nodes[0].got[0].id
        assert told == [("receipt", first), *[("repeated", first)] * 3]
        nodes[0].log.append("eve", "of another sender", idempotency_key="k")
        nodes[1].log.append("x", "another", idempotency_key="l")
        assert set(await nodes[1].read(3)) == {0, "of another sender", "another"}
        (key,) = store.command("KEYS", f"{nodes[0].session._keys.base}:key:x\0k")
        assert 0 < store.command("TTL", key) <= TTL


async def test_one_that_is_sent_again_with_its_idempotency_key_is_no_repetition(store: StoreProcess) -> None:
    """Its answer was lost: it comes back out of the log, and is taken once."""
    async with peers(store, 1) as (node,):
        for _ in range(2):
            node.session.publish(Draft(Key("w", 1), "x", 1, idempotency_key="k"))
        node.session.publish(Draft(Key("w", 2), "x", 2, idempotency_key="k"))
        node.say("end")
        assert await node.read(2) == [1, "end"]
        assert store.command("XLEN", log_of(node)) == 2


async def test_an_idempotency_key_that_holds_something_else_is_a_new_one(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        base = node.session._keys.base
        store.command("SET", f"{base}:key:x\0a", "what")
        store.command("HSET", f"{base}:key:x\0b", "1-1", "w 1")
        for key in "ab":
            node.log.append("x", key, idempotency_key=key)
        assert await node.read(2) == ["a", "b"]
