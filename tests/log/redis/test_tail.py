"""Out of the log: what is there at the start, and what comes."""

import logging

import pytest

from tests.log.redis.test_session import log_of, peers
from tests.support.entries import as_message
from tests.support.peer import Peer, new_prefix
from tests.support.store import StoreProcess
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
            assert len(late.log.after(start, "bob") or ()) == 20


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
            assert [late.log.after(since, "bob") is None for since in ids] == [True, False, False]
