"""Connections that arrive in the new process."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from tests.support.handover import MakeTakeover, takeovers
from tests.support.other_end import pipes
from tests.support.server import DEADLINE
from tests.support.wires import client, close_of, data_of, frames, turn
from wsctl.frame import TEXT

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make() -> AsyncIterator[MakeTakeover]:
    async with takeovers() as make_takeover:
        yield make_takeover


async def test_clients_go_on_and_have_missed_nothing(make: MakeTakeover) -> None:
    pair = make()
    transports = [pair.old.join(name)[1] for name in ("alice", "bob")]
    pair.old.publish("before")
    await pair.begin()
    detached = await pair.detach("alice", "bob")
    pair.publish("on their way", ["bob"])
    assert await pair.message() == ("on their way", 1, 1)
    pair.new.now = pair.old.now + 0.5
    pair.send(detached)
    assert (await pair.predecessor.hear("moved")).fields == {"moved": 2, "lost": 0, "silence_s": 0.5}
    pair.publish("here")
    assert await pair.message() == ("here", 2, 2)
    await turn()
    heard = [data_of(frames(transport.drain())[0]) for transport in transports]
    assert heard == [["before", "here"], ["before", "on their way", "here"]]
    transports[0].peer.send(client(TEXT, b"heard"))
    assert await pair.message() == ("heard", 2, None)


async def test_whatever_the_history_holds_nobody_who_moves_misses_anything(make: MakeTakeover) -> None:
    pair = make(history=0)
    _, transport = pair.old.join("bob")
    await pair.begin()
    detached = await pair.detach("bob")
    for n in range(3):
        pair.publish(n)
    pair.send(detached)
    pair.predecessor.say("over")
    pair.publish(3)
    async with asyncio.timeout(DEADLINE):
        await pair.successor.settled.wait()
    assert [(await pair.message())[1] for _ in range(4)] == [1, 1, 1, 1]
    await turn()
    assert data_of(frames(transport.drain())[0]) == [0, 1, 2, 3]
    assert len(pair.log.history) == 0


async def test_of_whom_nobody_knows_what_they_missed_come_back(make: MakeTakeover) -> None:
    pair = make()
    _, transport = pair.old.join("bob")
    await pair.begin()
    (bob,) = await pair.detach("bob")
    bob.snapshot = replace(bob.snapshot, seen="1-1")
    pair.send([bob])
    await pair.predecessor.hear("moved")
    assert close_of(frames(transport.drain())[0]) == (1012, "the server is restarting: reconnect")
    assert not pair.new.node.manager.active_connections


async def test_of_two_connections_of_an_id_the_newer_stays_wherever_it_is(make: MakeTakeover) -> None:
    pair = make()
    for name in ("newer here", "newer there", "newer there later"):
        pair.old.join(name)
    await pair.begin()
    detached = await pair.detach("newer here", "newer there", "newer there later")
    newer, _ = pair.new.join("newer here")
    pair.send(detached)
    pair.predecessor.say("joined", id="newer there")
    await pair.predecessor.hear("moved")
    pair.predecessor.say("joined", id="newer there later")
    pair.publish("to whom it may concern")
    assert await pair.message() == ("to whom it may concern", 3, 1)
    assert list(pair.new.node.manager.active_connections.values()) == [newer]
    for transport in pair.old.transports:
        assert close_of(frames(transport.drain())[0])[0] == 4501


async def test_who_came_while_an_older_connection_departed_is_the_newer_one(make: MakeTakeover) -> None:
    pair = make()
    _, older = pair.old.join("bob")
    await pair.begin()
    detached = await pair.detach("bob")
    pair.old.now += 1
    _, newer = pair.old.join("bob")
    pair.predecessor.say("joined", id="bob")
    pair.send(detached, replaced=["bob"])
    await pair.predecessor.hear("moved")
    assert pair.new.node.manager.active_connections == {}
    pair.publish("to the one that is there")
    assert await pair.message() == ("to the one that is there", 1, 1)
    await pair.move("bob")
    assert list(pair.new.node.manager.clients) == ["bob"]
    assert close_of(frames(older.drain())[0])[0] == 4501
    pair.new.publish("to the newer one")
    await turn()
    assert data_of(frames(newer.drain())[0])[-1] == "to the newer one"


async def test_who_hung_up_on_the_way_holds_up_nobody(make: MakeTakeover) -> None:
    pair = make()
    for name in ("gone", "bob"):
        pair.old.join(name)
    gone, bob = pair.old.transports
    await pair.begin()
    gone.peer.close()
    told = await pair.move("gone", "bob")
    assert told["moved"] + told["lost"] == 2
    await turn()
    assert list(pair.new.node.manager.clients) == ["bob"]
    pair.publish("still")
    assert await pair.message() == ("still", 1, 1)
    await turn()
    assert data_of(frames(bob.drain())[0]) == ["still"]


async def test_a_descriptor_that_is_no_socket_is_counted_as_lost(make: MakeTakeover) -> None:
    pair = make()
    for name in ("alice", "bob"):
        pair.old.join(name)
    await pair.begin()
    detached = await pair.detach("alice", "bob")
    os.close(detached[0].fd)
    detached[0].fd = pipes(1)[0]
    pair.send(detached)
    moved = await pair.predecessor.hear("moved")
    assert (moved.fields["moved"], moved.fields["lost"]) == (1, 1)
    assert list(pair.new.node.manager.clients) == ["bob"]


async def test_who_has_said_nothing_says_it_here(make: MakeTakeover) -> None:
    pair = make()
    await pair.begin()
    ours, peer = socket.socketpair()
    pair.predecessor.say("doors", (), [ours.detach()])
    with peer:
        peer.send(b"GET /")
        async with asyncio.timeout(DEADLINE):
            assert await pair.heard.get() == b"GET /"
