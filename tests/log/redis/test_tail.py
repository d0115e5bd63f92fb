"""Out of the log: what is there at the start, and what comes."""

import logging

import pytest

from tests.log.redis.test_session import log_of, peers
from tests.support.entries import as_message, missed_by
from tests.support.peer import Peer, new_prefix
from tests.support.store import StoreProcess
from wsctl.log.redis.stream_size import LEAST_KEPT
from wsctl.messages import Message

pytestmark = pytest.mark.anyio


def kept(peer: Peer) -> list[Message]:
    return [as_message(entry) for entry in peer.log.history.entries()]


async def test_who_comes_later_can_resume_whoever_has_seen_anything(store: StoreProcess) -> None:
    prefix = new_prefix()
    async with Peer(store.url, prefix).running() as one:
        start = one.log.newest
        for n in range(20):
            one.say(n)
        await one.read(20)
        async with Peer(store.url, prefix).running() as late:
            assert late.got == []
            assert late.log.newest == one.log.newest
            assert kept(late) == kept(one)
            assert len(missed_by(late.log, start, "bob") or ()) == 20


@pytest.mark.parametrize(("most", "most_bytes"), [(7, 1 << 20), (1000, 700), (0, 1 << 20)])
async def test_no_more_is_loaded_than_is_kept(most: int, most_bytes: int, store: StoreProcess) -> None:
    prefix = new_prefix()
    async with Peer(store.url, prefix).running() as one:
        for n in range(40):
            one.say(n)
        await one.read(40)
        bounds = {"history": most, "history_bytes": most_bytes}
        async with Peer(store.url, prefix, **bounds).running() as late:  # type: ignore[arg-type]
            history = late.log.history
            assert len(history) <= most
            assert history.bytes <= most_bytes
            assert (len(history) > 0) is (most > 0)
            assert kept(late) == kept(one)[40 - len(history) :]
            assert late.log.newest == one.log.newest


async def test_what_is_no_message_is_skipped_by_all_alike(
    store: StoreProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async with peers(store, 2) as nodes:
        with caplog.at_level(logging.DEBUG, "wsctl.shared"):
            nodes[0].say(1)
            await nodes[0].settle()
            for words in (("a", "stranger"), ("p", "0-1", "w", "w", "n", 1, "r", 0, "t", "", "m", "what")):
                store.command("XADD", log_of(nodes[0]), "*", *words)
            nodes[0].say(2)
            for node in nodes:
                assert await node.read(2) == [1, 2]
                assert "lost" not in node.told
                assert node.session.unreadable.count == 2
    told = "something in Redis cannot be read: it is skipped"
    assert [record.message for record in caplog.records] == [told] * 2, "once a node"


async def test_messages_before_a_gap_are_not_loaded(store: StoreProcess) -> None:
    async with peers(store, 1) as (node,):
        for n in range(3):
            node.say(n)
        await node.read(3)
        ids = [message.id for message in node.got]
        store.command("XDEL", log_of(node), ids[1])
        prefix = node.session._keys.prefix
        async with Peer(store.url, prefix).running() as late:
            assert [missed_by(late.log, since, "bob") is None for since in ids] == [True, False, False]


async def test_messages_of_all_topics_are_in_one_order_at_all_nodes(store: StoreProcess) -> None:
    async with peers(store, 2) as (one, other):
        for n, topic in enumerate(["a.b", None, "c", "a.b", None]):
            (one, other)[n % 2].say(n, topic=topic)
            await one.read(n + 1)
        assert await other.read(5) == list(range(5))
        assert [message.topic for message in other.got] == ["a.b", None, "c", "a.b", None]
        assert other.got == one.got
        async with Peer(store.url, one.session._keys.prefix).running() as late:
            assert kept(late) == one.got


async def test_a_release_without_topics_finds_no_body_in_a_message_with_one(store: StoreProcess) -> None:
    """It wants all of these fields, or skips the entry; a message with a topic it would send to everybody."""
    async with peers(store, 1) as (node,):
        node.say("to some", ("bob",), topic="a")
        node.say("to all")
        await node.read(2)
        rows = store.command("XRANGE", log_of(node), "-", "+")
        names = [set(fields[::2]) for _, fields in rows]
        assert names[0] == {b"p", b"w", b"n", b"r", b"t", b"c", b"b"}
        assert names[1] == {b"p", b"w", b"n", b"r", b"t", b"m"}
        assert [fields[-2] for _, fields in rows] == [b"b", b"m"], "its size is that of the last value"


async def test_a_busy_topic_pushes_no_quiet_one_out_of_the_log(store: StoreProcess) -> None:
    async with peers(store, 1, history=10) as (node,):
        node.say("quiet", topic="quiet")
        await node.read(1)
        await say_many(node, 2 * LEAST_KEPT, topic="busy")
        await node.session.lease.renew()
        late = Peer(store.url, node.session._keys.prefix, history=10)
        loaded = (await late.session._tail.begin_at(node.session._tail.seen)).entries
        assert as_message(loaded[0]).data == "quiet"
        assert len(loaded) == 1 + 2 * LEAST_KEPT
        await late.session.redis.drop()


async def test_a_log_with_topics_is_bounded_by_the_bytes_of_all_together(store: StoreProcess) -> None:
    async with peers(store, 1, history=10, history_bytes=100_000) as (node,):
        await say_many(node, 4 * LEAST_KEPT, topic="a", size=100)
        await node.session.lease.renew()
        length = store.command("XLEN", log_of(node))
        assert LEAST_KEPT <= length < 2 * LEAST_KEPT
        node.say("next")
        assert (await node.read(4 * LEAST_KEPT + 1))[-1] == "next"
        assert "lost" not in node.told


async def test_a_log_whose_topics_are_long_gone_is_bounded_by_the_number_again(
    store: StoreProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wsctl.log.redis.stream_size.MOST_WITH_TOPICS", 3 * LEAST_KEPT)
    async with peers(store, 1, history=10) as (node,):
        node.say("quiet", topic="quiet")
        await node.read(1)
        await say_many(node, 2 * LEAST_KEPT)
        assert store.command("XLEN", log_of(node)) > 2 * LEAST_KEPT
        await say_many(node, 2 * LEAST_KEPT)
        assert store.command("XLEN", log_of(node)) < 2 * LEAST_KEPT


async def test_what_is_older_than_may_be_is_dropped_to_the_last_entry(store: StoreProcess) -> None:
    async with peers(store, 1, ttl=0.2) as (node,):
        node.say("old", topic="a")
        await node.read(1)
        await node.until_true(lambda: store.command("XLEN", log_of(node)) == 0)
        async with Peer(store.url, node.session._keys.prefix).running() as late:
            assert kept(late) == []
            assert late.log.newest == node.log.newest
            late.say("young")
            assert await node.read(2) == ["old", "young"]
        assert "lost" not in node.told


async def say_many(node: Peer, count: int, *, topic: str | None = None, size: int = 0) -> None:
    """Publish so many messages, and wait until all are read."""
    before = len(node.got)
    for n in range(count):
        node.say((before, n, "x" * size), topic=topic)
        if n % 100 == 99:
            await node.settle()
    assert len(await node.read(before + count)) == before + count
