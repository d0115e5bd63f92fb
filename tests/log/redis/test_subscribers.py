"""Who subscribes at other nodes, as every node knows it."""

import json

import pytest

from tests.conftest import StartStore
from tests.log.redis.test_session import near_and_far, peers
from tests.support.peer import Peer, new_prefix
from tests.support.store import StoreProcess
from wsctl.log.home import RemoteConnection
from wsctl.log.redis.scripts import CHANGES, SUBSCRIBE
from wsctl.log.redis.subscribers import TOGETHER

pytestmark = pytest.mark.anyio


async def knows(node: Peer, topic: str, *names: str) -> None:
    """Wait until just these clients of other nodes subscribe to a topic, as a node knows it."""
    await node.until_true(lambda: node.elsewhere.names(topic) == sorted(names))


async def test_all_nodes_know_who_subscribes_at_the_others(store: StoreProcess) -> None:
    async with peers(store, 3) as (one, two, three):
        one.join("ann", patterns=["a.*"])
        two.join("bob", patterns=["a.b", "c"])
        two.join("nobody")
        await knows(three, "a.b", "ann", "bob")
        await knows(one, "a.b", "bob")
        await knows(two, "a.b", "ann")
        two.subscribe("bob", "c")
        two.subscribe("nobody", ">")
        await knows(three, "a.b", "ann", "nobody")
        one.leave("ann")
        await knows(three, "a.b", "nobody")
        two.subscribe("nobody")
        await knows(three, "a.b")
        await knows(three, "c", "bob")


async def test_a_receipt_counts_the_subscribers_of_all_nodes(store: StoreProcess) -> None:
    async with peers(store, 3, per_id=2) as (one, two, three):
        two.join("bob", "bob", patterns=["a"])
        three.join("eve", patterns=["*"])
        three.join("joe", patterns=["b"])
        three.join("sam")
        await knows(one, "a", "bob", "bob", "eve")
        await knows(one, "b", "eve", "joe")
        one.say("a", topic="a")
        one.say("b", topic="b")
        one.say("none", topic="c.d")
        one.say("bob", ("bob", "joe", "sam"), topic="a")
        await one.settle()
        assert {data: count for data, (_, count) in one.receipts.items()} == {
            "a": 3,
            "b": 2,
            "none": 0,
            "bob": 2,
        }


async def test_who_begins_later_knows_all_that_is_there(store: StoreProcess) -> None:
    prefix = new_prefix()
    count = 3 * TOGETHER
    async with Peer(store.url, prefix).running() as one:
        one.join(*(f"c{n}" for n in range(count)), patterns=["a"])
        one.join("last", patterns=["b"])
        await one.until_true(lambda: one.session.subscribers.reported == count + 1)
        async with Peer(store.url, prefix).running() as late:
            await knows(late, "b", "last")
            assert late.elsewhere.count("a") == count


async def test_who_uses_no_topics_pays_nothing(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        one.join("bob")
        other.join("eve")
        await other.knows(one.session.node, "bob")
        keys = store.command("KEYS", f"{one.session._keys.base}:*")
        assert not [key for key in keys if b":subs:" in key or key.endswith(b":presence")]


async def test_the_subscribers_of_a_node_that_has_ended_are_gone(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        one.join("bob", patterns=["a"])
        other.join("eve", patterns=["a"])
        await knows(other, "a", "bob")
        await one.session.end()
        other.session.lease.renew_soon()
        await knows(other, "a")
        await other.session.end()
        assert store.command("KEYS", f"{one.session._keys.base}:*") == []
        # What was under way.
        told = (one.session._keys.base, one.session.node, 5, json.dumps(["bob", ["a"]]))
        await one.session.redis.run(SUBSCRIBE, [one.session._keys.log], *told)
        assert store.command("KEYS", f"{one.session._keys.base}:*") == []
        await one.session.redis.drop()


async def test_the_subscribers_of_a_node_whose_lease_has_ended_are_gone_until_it_is_there_again(
    store: StoreProcess,
) -> None:
    async with peers(store, 2) as (dead, one):
        dead.join("bob", patterns=["a"])
        await knows(one, "a", "bob")
        await dead.session.suspend()
        store.command("ZADD", f"{dead.session._keys.base}:lease", 1, dead.session.node)
        await knows(one, "a")
        dead.session.resume([RemoteConnection("bob", dead.connections["bob"][0], ("a",))])
        await knows(one, "a", "bob")


async def test_what_redis_forgets_is_told_again(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        one.join("bob", "eve", patterns=["a"])
        await knows(other, "a", "bob", "eve")
        store.command("FLUSHALL")
        one.leave("eve")
        one.join("ann", patterns=["a"])
        await knows(other, "a", "ann", "bob")
        subs = f"{one.session._keys.base}:subs:{one.session.node}"
        await other.until_true(lambda: store.command("HLEN", subs) == 2)


async def test_an_outage_leaves_all_as_it_is_and_what_changed_meanwhile_is_told(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        one.join("bob", "eve", patterns=["a"])
        await knows(other, "a", "bob", "eve")
        store.kill()
        await other.hears("away")
        assert other.elsewhere.names("a") == ["bob", "eve"]
        one.leave("eve")
        one.join("ann", patterns=["a"])
        store.restart(empty=True)
        await knows(other, "a", "ann", "bob")


async def test_who_missed_changes_reads_all_again(store: StoreProcess) -> None:
    async with near_and_far(store) as (near, far, relay):
        near.join("bob", patterns=["a"])
        await knows(far, "a", "bob")
        relay.cut()
        await far.hears("away")
        near.leave("bob")
        near.join("eve", patterns=["a"])
        await near.until_true(lambda: near.session.subscribers.reported == 1)
        store.command("XTRIM", near.session._keys.presence, "MAXLEN", 0)
        relay.mend()
        await knows(far, "a", "eve")


async def test_a_change_in_front_of_which_others_are_gone_is_noticed(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        one.join("bob", patterns=["a"])
        await knows(other, "a", "bob")
        base = one.session._keys.base
        store.command("HSET", f"{base}:nodes", "third", json.dumps(one.about()))
        store.command("ZADD", f"{base}:lease", 1 << 52, "third")
        store.command("HSET", f"{base}:subs:third", 7, json.dumps(["hidden", ["a"]]))
        words = ("p", "1-1", "n", "third", "8", json.dumps(["told", ["a"]]))
        store.command("XADD", one.session._keys.presence, "*", *words)
        await knows(other, "a", "bob", "hidden")


async def test_no_more_changes_are_kept_than_may_be(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        node.join("bob", patterns=["a"])
        await node.until_true(lambda: node.session.subscribers.reported == 1)
        told = ("n", "third", "8", json.dumps(["told", ["a"]]))
        many = "for n = 1, ARGV[1] do redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2)) end"
        store.command("EVAL", many, 1, node.session._keys.presence, 2 * CHANGES, *told)
        for n in range(10):
            node.subscribe("bob", f"a.{n}")
            await node.until_true(lambda: node.session.subscribers.reported == 1)
        length = store.command("XLEN", node.session._keys.presence)
        assert CHANGES <= length < 1.5 * CHANGES


async def test_a_successor_changes_nothing_for_the_others(store: StoreProcess) -> None:
    prefix = new_prefix()
    successor = Peer(store.url, prefix)
    async with Peer(store.url, prefix).running() as other, Peer(store.url, prefix).running() as old:
        old.join("bob", "eve", patterns=["a"])
        await knows(other, "a", "bob", "eve")
        length = store.command("XLEN", old.session._keys.presence)
        point = await old.session.suspend()
        here = [RemoteConnection(name, serial, ("a",)) for name, (serial,) in old.connections.items()]
        successor.log.restore(old.log.position, old.log.history.floor, old.log.history.entries())
        successor.session.resume_at(point, here)
        successor.say("hello")
        assert await other.read(1) == ["hello"]
        assert store.command("XLEN", old.session._keys.presence) == length
        await successor.session.end()


async def test_a_successor_of_a_release_without_topics_gets_what_that_one_skipped(
    store: StoreProcess,
) -> None:
    prefix = new_prefix()
    successor = Peer(store.url, prefix)
    async with Peer(store.url, prefix).running() as other, Peer(store.url, prefix).running() as old:
        start = old.log.newest
        for data, topic in (("one", None), ("two", "a"), ("three", None), ("four", "b")):
            other.say(data, topic=topic)
        await old.read(4)
        point = await old.session.suspend()
        history = [entry for entry in old.log.history.entries() if entry.topic is None]
        successor.log.restore(history[-1].id, old.log.history.floor, history)
        told = {name: value for name, value in point.items() if name != "size"} | {"without_topics": True}
        successor.session.resume_at(told, [])
        recovery = successor.log.missed(start, "bob", ["a"])
        assert (recovery.recovered, recovery.lost) == (False, ("a",)), "it does not know yet"
        assert successor.log.missed(start, "bob").recovered
        successor.say("end")
        await successor.read(1)
        recovery = successor.log.missed(start, "bob", ["a"])
        found = [json.loads(payload)["data"] for batch in recovery.missed for payload in batch.payloads]
        assert (found, recovery.recovered, recovery.lost) == (["one", "two", "three", "end"], True, ())
        assert [entry.topic for entry in successor.log.history.entries()] == [None, "a", None, "b", None]
        assert successor.session._size.has_topics
        assert "lost" not in successor.told
        await successor.session.end()


async def test_a_successor_of_a_release_without_topics_tells_what_its_clients_subscribe_to(
    start_store: StartStore,
) -> None:
    store, prefix = start_store(), new_prefix()
    successor = Peer(store.url, prefix)
    async with Peer(store.url, prefix).running() as other, Peer(store.url, prefix).running() as old:
        old.join("bob")
        point = await old.session.suspend()
        assert point.keys() == {"node", "seen", "inbox"}, "an older process knows no other fields"
        successor.session.resume_at(point, [RemoteConnection("bob", 5)])
        successor.connections, successor.clients = {"bob": [5]}, {"bob"}
        successor.subscribe("bob", "a")
        await knows(other, "a", "bob")
        await successor.session.end()
