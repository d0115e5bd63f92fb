"""A node and its Redis: there, away and back."""

import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.conftest import StartStore
from tests.support.entries import missed_by
from tests.support.peer import Peer, new_prefix
from tests.support.relay import Relay
from tests.support.store import StoreProcess
from wsctl.log.home import RemoteConnection
from wsctl.log.message_log import written
from wsctl.log.redis.reasons import ANSWER_TIMEOUT
from wsctl.log.redis.stream_size import LEAST_KEPT
from wsctl.log.refusals import AWAY

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def peers(store: StoreProcess, count: int, **how: Any) -> AsyncIterator[list[Peer]]:
    async with AsyncExitStack() as stack:
        prefix = new_prefix()
        each = [Peer(store.url, prefix, **how) for _ in range(count)]
        yield [await stack.enter_async_context(peer.running()) for peer in each]


@asynccontextmanager
async def near_and_far(store: StoreProcess) -> AsyncIterator[tuple[Peer, Peer, Relay]]:
    """Two nodes, and the road between the store and the second one."""
    prefix = new_prefix()
    async with Relay(store.port).running() as relay:
        url = relay.url.replace("http", "redis")
        async with Peer(store.url, prefix).running() as near, Peer(url, prefix).running() as far:
            yield near, far, relay


def log_of(peer: Peer) -> str:
    return peer.session._keys.log


async def test_all_deliver_in_one_order_and_the_publisher_gets_its_receipt(store: StoreProcess) -> None:
    async with peers(store, 3) as nodes:
        for n in range(30):
            nodes[n % 3].say(n)
        for node in nodes:
            assert sorted(await node.read(30)) == list(range(30))
            assert node.got == nodes[0].got
            await node.settle()
        ids = {message.data: message.id for message in nodes[0].got}
        assert {n: nodes[n % 3].receipts[n] for n in range(30)} == {n: (ids[n], 0) for n in range(30)}


async def test_a_killed_redis_that_kept_its_data_loses_nothing(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        one.say("before")
        await other.read(1)
        store.kill()
        await one.hears("away")
        await other.hears("away")
        one.say("meanwhile")
        assert one.refusals["meanwhile"] == AWAY
        store.restart()
        await one.hears("back")
        await other.hears("back")
        one.say("after")
        assert await other.read(2) == ["before", "after"]
        assert [what for what in other.told if what != ("turn", 0)] == ["before", "away", "back", "after"]


async def test_a_redis_without_its_data_has_lost_messages_and_is_gone_on_with(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        one.say("before")
        await other.read(1)
        await one.settle()  # or it does not know that there was anything to lose
        before = other.log.newest
        store.kill()
        await one.hears("away")
        await other.hears("away")
        store.restart(empty=True)
        await one.hears("lost")
        await other.hears("lost")
        for node in (one, other):
            assert missed_by(node.log, before, "bob") is None
            assert missed_by(node.log, node.log.newest, "bob") == []
            assert node.log.newest != before
        one.say("after")
        assert await other.read(2) == ["before", "after"]
        assert [what for what in other.told if what != ("turn", 0)] == ["before", "away", "lost", "after"]


async def test_ids_go_on_behind_what_was_seen_when_the_clock_of_an_empty_redis_is_behind(
    store: StoreProcess,
) -> None:
    async with peers(store, 1) as (node,):
        store.command("XADD", log_of(node), "9999999999999-7", "of", "a clock far ahead")
        await node.until_seen("9999999999999-7")
        store.command("DEL", log_of(node))
        node.say("after")
        await node.read(1)
        assert node.log.position > (9999999999999, 7)
        assert node.told == ["lost", "after"]


async def test_who_was_cut_off_for_more_than_is_kept_is_told_that_messages_are_lost(
    store: StoreProcess,
) -> None:
    async with near_and_far(store) as (near, far, relay):
        near.say("seen")
        await far.read(1)
        seen = far.log.newest
        relay.cut()
        await far.hears("away")
        for n in range(LEAST_KEPT + 500):
            near.say(n)
            if n % 100 == 99:  # each has a second to be published, which a busy machine takes for so many
                await near.settle()
        relay.mend()
        await far.hears("lost", LEAST_KEPT + 499)
        kept = [what for what in far.told if isinstance(what, int)]
        assert kept == list(range(kept[0], LEAST_KEPT + 500))
        assert len(kept) >= LEAST_KEPT
        assert far.told.index("lost") < far.told.index(kept[0])
        assert far.told.count("lost") == 1
        assert missed_by(far.log, seen, "bob") is None


async def test_who_was_cut_off_before_the_first_message_has_missed_none(store: StoreProcess) -> None:
    async with near_and_far(store) as (near, far, relay):
        relay.cut()
        await far.hears("away")
        near.say(1)
        await near.settle()
        relay.mend()
        await far.read(1)
        assert far.told[-2:] == ["back", 1]
        assert "lost" not in far.told


async def test_an_entry_in_front_of_which_others_are_gone_is_not_taken_for_the_next(
    store: StoreProcess,
) -> None:
    """A node that was slow, or slept, may be overtaken by the trimming between two of its signs of life."""
    async with peers(store, 1) as (node,):
        node.say("seen")
        await node.read(1)
        seen = node.log.newest
        ms, sequence = node.log.position
        gone, after = written((ms, sequence + 1)), written((ms, sequence + 2))
        words = ("p", gone, "w", "other", "n", 1, "r", 0, "t", "", "m", '{"ts":1,"from":"x","data":"next"}')
        store.command("XADD", log_of(node), after, *words)
        await node.hears("next")
        assert node.told == ["seen", "lost", "next"]
        assert missed_by(node.log, seen, "bob") is None
        assert len(missed_by(node.log, gone, "bob") or ()) == 1


async def test_messages_deleted_at_the_end_of_the_log_are_lost_too(store: StoreProcess) -> None:
    async with near_and_far(store) as (near, far, relay):
        relay.cut()
        await far.hears("away")
        near.say(1)
        await near.settle()
        store.command("XTRIM", log_of(near), "MAXLEN", 0)
        relay.mend()
        await far.hears("lost")
        near.say(2)
        await far.read(1)
        assert far.told[-2:] == ["lost", 2]
        assert far.told.count("lost") == 1


async def test_a_full_redis_is_as_good_as_none(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        store.command("CONFIG", "SET", "maxmemory", 1)
        await node.hears("away")
        assert "OOM" in node.reasons[0] or "memory" in node.reasons[0]
        store.command("CONFIG", "SET", "maxmemory", 0)
        await node.hears("back")
        node.say(1)
        assert await node.read(1) == [1]


async def test_a_connection_that_is_lost_and_made_again_is_not_worth_a_word(store: StoreProcess) -> None:
    async with near_and_far(store) as (near, far, relay):
        near.say(1)
        await far.read(1)
        relay.cut()
        relay.mend()
        near.say(2)
        far.say(3)
        assert sorted(await far.read(3)) == [1, 2, 3]
        assert sorted(far.told) == [1, 2, 3]
        await far.settle()
        assert far.receipts.keys() == {3}


async def test_a_redis_that_hangs_is_noticed_and_its_return_too(
    start_store: StartStore, caplog: pytest.LogCaptureFixture
) -> None:
    store = start_store()
    with caplog.at_level(logging.INFO, "wsctl.shared"):
        async with peers(store, 1) as (node,):
            store.stop_process()
            await node.hears("away")
            assert node.reasons == [f"no answer within {ANSWER_TIMEOUT:g} s"]
            store.go_on()
            await node.hears("back")
            assert node.session.why is None
    assert [record.message for record in caplog.records] == ["Redis is away", "Redis is back"]


async def test_however_often_it_was_tried_it_is_tried_again(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        store.kill()
        await node.hears("away")
        node.session.availability.failures = 100_000
        store.restart()
        await node.hears("back")


async def test_nobody_waits_for_a_turn_that_nobody_can_give(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        store.kill()
        await node.hears("away")
        node.told.clear()
        node.session.want_turn(True)
        assert node.told == [("turn", 0)]


async def test_a_successor_goes_on_as_the_node_that_its_predecessor_was(store: StoreProcess) -> None:
    prefix = new_prefix()
    successor = Peer(store.url, prefix)
    async with Peer(store.url, prefix).running() as other, Peer(store.url, prefix).running() as old:
        old.join("bob", "eve")
        old.say("old")
        await old.read(1)
        point = await old.session.suspend()
        old.say("under way")
        other.say("meanwhile")
        await other.read(2)
        history = old.log.history
        successor.log.restore(old.log.position, history.floor, history.entries())
        successor.clients = {"bob"}
        successor.connections = {"bob": old.connections["bob"]}
        successor.session.resume_at(point, [RemoteConnection("bob", *old.connections["bob"])])
        old.log.move_to(successor.session)
        assert sorted(await successor.read(2)) == ["meanwhile", "under way"]
        assert sorted(await other.read(3)) == ["meanwhile", "old", "under way"]
        # Eve left when nobody told Redis.
        await other.knows(successor.session.node, "bob")
        assert other.session.lease.peers.keys() == {other.session.node, successor.session.node}
        assert "lost" not in successor.told
        await successor.session.end()
