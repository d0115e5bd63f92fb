"""Connections on their way to a successor."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from itertools import chain
from typing import Any

import pytest

from tests.support.frames import read
from tests.support.handover import Listeners, Successors
from tests.support.server import DEADLINE
from tests.support.wires import Server, client, close_of, data_of, frames, turn
from wsctl.codes import ErrorCode
from wsctl.frame import TEXT
from wsctl.hub.connection import EndReason
from wsctl.ipc.framing import MAX_FDS, Packet
from wsctl.log.home import Draft, Home, Refusal
from wsctl.server.credentials.permissions import Claimed
from wsctl.server.handover.mover import (
    AHEAD,
    BYTES_TOGETHER,
    LAST_HEADS,
    TOGETHER,
    ClientReporter,
    ConnectionMover,
)
from wsctl.server.handover.successor_process import HandoverFailed, SuccessorProcess
from wsctl.server.websocket.snapshot import decode_snapshots

pytestmark = pytest.mark.anyio

PACKETS = AHEAD // TOGETHER
"""So many of connections go before there is an answer."""


class Move:
    """A server whose clients are to move, and the successor's end of it. To be made on a running loop."""

    def __init__(self, *, knows_topics: bool = True, knows_streams: bool = True, **options: Any) -> None:
        self.server = Server(**options)
        self.node = self.server.node
        self.listeners = Listeners()
        self._successors = Successors()
        self._successor_process = SuccessorProcess(self._successors.spawn, self._take, lambda: None)
        self.successor = self._successors.ends[0]
        self.process = self._successors.processes[0]
        self.mover = ConnectionMover(
            self.server.services,
            self.listeners,
            self._successor_process,
            knows_topics=knows_topics,
            knows_streams=knows_streams,
        )
        node, send = self.node, self._successor_process.send
        self.reporter = ClientReporter(node.manager, node.intake.allowances, node.clock, send)

    @property
    def here(self) -> list[str]:
        return list(self.node.manager.clients)

    def answer(self, moved: int, lost: int = 0, silence_s: float = 0.0) -> None:
        self.successor.say("moved", moved=moved, lost=lost, silence_s=silence_s)

    async def dispose(self) -> None:
        await self._successor_process.kill()
        self._successors.dispose()
        self.listeners.listener.close()
        self.server.dispose()

    def _take(self, packet: Packet) -> None:
        assert packet.kind == "moved"
        self.mover.count_arrivals(packet.fields)


Make = Callable[..., Move]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with AsyncExitStack() as stack:

        def move(**options: Any) -> Move:
            made = Move(**options)
            stack.push_async_callback(made.dispose)
            return made

        yield move


def _names(packet: Packet) -> list[str]:
    return [snapshot.client_id for snapshot in decode_snapshots(packet.fields["rows"], packet.blobs)]


async def test_clients_move_with_their_sockets_those_connected_longest_first(make: Make) -> None:
    move = make()
    names = ["zoe", "bob", "alice"]
    transports = [move.server.join(name)[1] for name in names]
    peers = [transport.peer for transport in transports]
    for transport in transports:
        transport.drain()
    await move.mover.move_connections()
    packet = await move.successor.hear("move")
    assert _names(packet) == names
    for fd, peer in zip(packet.fds, peers, strict=True):
        os.write(fd, b"from the successor")
        assert peer.recv(100) == b"from the successor"
    assert move.here == []
    await turn()
    assert all(transport.lost for transport in transports)
    assert move.node.manager.tally[EndReason.HANDED_OVER] == 3


@pytest.mark.parametrize(("knows_streams", "here"), [(True, []), (False, ["eve"])])
async def test_a_successor_that_knows_of_no_event_streams_gets_none(
    make: Make, knows_streams: bool, here: list[str]
) -> None:
    move = make(knows_streams=knows_streams)
    move.server.join_stream("eve")
    move.server.join("zoe")
    await move.mover.move_connections()
    assert move.here == here
    assert "zoe" in _names(await move.successor.hear("move"))


@pytest.mark.parametrize(("knows_topics", "here"), [(True, []), (False, ["bob", "eve", "dan"])])
async def test_a_successor_that_knows_of_no_topics_gets_no_client_that_needs_them(
    make: Make, knows_topics: bool, here: list[str]
) -> None:
    move = make(knows_topics=knows_topics)
    move.server.join("bob", topics=["a"])
    move.server.join("eve", commands=True)
    move.server.join("dan", claimed=Claimed(publish=()))
    move.server.join("zoe")
    await move.mover.move_connections()
    assert move.here == here
    assert "zoe" in _names(await move.successor.hear("move"))


async def test_they_have_been_sent_everything_up_to_what_the_successor_is_told(make: Make) -> None:
    move = make()
    _, transport = move.server.join("bob")
    move.server.publish("just now")
    await move.mover.move_connections()
    packet = await move.successor.hear("move")
    (snapshot,) = decode_snapshots(packet.fields["rows"], packet.blobs)
    assert snapshot.seen == move.node.log.newest
    assert packet.fields["at"] == move.server.now
    assert data_of(frames(transport.drain())[0]) == ["just now"]


async def test_who_cannot_move_stays(make: Make) -> None:
    move = make()
    staying, _ = move.server.join("secret", tls=True)
    move.server.join("bob")
    closing, _ = move.server.join("alice")
    closing.close(1012, "restart", EndReason.FORCED)
    await move.mover.move_connections()
    assert _names(await move.successor.hear("move")) == ["bob"]
    assert move.here == ["secret"]
    assert (staying.end_reason, closing.end_reason) == (None, EndReason.FORCED)


async def test_who_is_far_behind_moves_alone(make: Make) -> None:
    move = make(max_queue=0, history=10)
    names = ["one", "two", "three"]
    for name in names:
        move.server.join(name, room=1000)
    for _ in range(3):
        move.server.publish("." * (BYTES_TOGETHER // 8))
    move.node.manager.flush()
    await move.mover.move_connections()
    packets = [await move.successor.hear("move") for _ in range(2)]
    assert list(map(_names, packets)) == [["one", "two"], ["three"]]


async def test_for_whom_no_descriptor_is_left_stays(make: Make) -> None:
    move = make()
    for name in ("bob", "alice"):
        move.server.join(name)
    move.server.transports[0].sock.close()
    await move.mover.move_connections()
    assert _names(await move.successor.hear("move")) == ["alice"]
    assert move.here == ["bob"]
    await move.mover.move_connections()


async def test_with_nobody_to_move_nothing_is_said(make: Make) -> None:
    move = make()
    move.server.join("secret", tls=True)
    await move.mover.move_connections()
    await move.mover.move_latecomers()
    await move.mover.wait_for_arrivals()
    move.mover.move_silent()
    await turn()
    assert move.successor.kinds == []


async def test_only_so_many_are_under_way_until_the_successor_answers(make: Make) -> None:
    move = make()
    names = [f"c{n}" for n in range(AHEAD + TOGETHER + 1)]
    for name in names:
        move.server.join(name)
    moving = asyncio.ensure_future(move.mover.move_connections())
    moved = [await move.successor.hear("move") for _ in range(PACKETS)]
    await turn()
    assert move.successor.kinds == ["move"] * PACKETS
    assert move.here == names[PACKETS * TOGETHER :]
    while not moving.done():
        move.answer(TOGETHER - 1, lost=1)
        moved.append(await move.successor.hear("move"))
        await turn()
    assert list(chain.from_iterable(map(_names, moved))) == names
    assert max(len(packet.fds) for packet in moved) == TOGETHER <= MAX_FDS


async def test_it_is_over_when_the_successor_has_told_of_everybody(make: Make) -> None:
    move = make()
    for n in range(TOGETHER + 1):
        move.server.join(f"c{n}")
    await move.mover.move_connections()
    arrived = asyncio.ensure_future(move.mover.wait_for_arrivals())
    await move.successor.hear("move")
    move.answer(TOGETHER - 2, lost=2, silence_s=0.5)
    await turn()
    assert not arrived.done()
    move.answer(1, silence_s=0.25)
    async with asyncio.timeout(DEADLINE):
        await arrived
    assert (move.mover.moved, move.mover.lost, move.mover.silence) == (TOGETHER - 1, 2, 0.5)


async def test_when_the_successor_is_lost_the_rest_stays(make: Make) -> None:
    move = make()
    for n in range(PACKETS * TOGETHER + 5):
        move.server.join(f"c{n}")
    moving = asyncio.ensure_future(move.mover.move_connections())
    for _ in range(PACKETS):
        await move.successor.hear("move")
    move.process.code = 9
    move.successor.hang_up()
    with pytest.raises(HandoverFailed, match="exit code 9"):
        await moving
    assert len(move.here) == 5


async def test_connections_that_said_nothing_say_it_to_the_successor(make: Make) -> None:
    move = make()
    peers = [move.listeners.visit() for _ in range(TOGETHER + 1)]
    move.mover.move_silent()
    first, second = [await move.successor.hear("doors") for _ in range(2)]
    assert [len(first.fds), len(second.fds)] == [TOGETHER, 1]
    for fd, peer in zip([*first.fds, *second.fds], peers, strict=True):
        peer.send(b"hello")
        assert os.read(fd, 100) == b"hello"
        peer.close()


async def test_whose_request_was_under_way_moves_too(make: Make) -> None:
    move = make()
    move.listeners.heads = 1
    moving = asyncio.ensure_future(move.mover.move_latecomers())
    await turn()
    move.server.join("late")
    move.listeners.heads = 0
    assert _names(await move.successor.hear("move")) == ["late"]
    async with asyncio.timeout(DEADLINE):
        await moving


class Later(Home):
    """A home that gives an id when it is told to."""

    def __init__(self) -> None:
        self.drafts: list[Draft] = []

    def publish(self, draft: Draft) -> None:
        self.drafts.append(draft)


async def test_a_client_that_awaits_an_answer_moves_when_it_has_that(make: Make) -> None:
    move = make()
    wire, transport = move.server.join("bob", commands=True)
    log = move.node.log
    log.move_to(home := Later())
    command = client(TEXT, b'{"type":"publish","ref":1,"data":"hello"}')
    wire.data_received(command + command)
    await move.mover.move_connections()
    assert (move.here, wire.can_move, len(home.drafts)) == (["bob"], False, 2)
    moving = asyncio.ensure_future(move.mover.move_latecomers())
    await turn()
    assert not transport.reading
    log.refuse(home.drafts[0].key, Refusal(ErrorCode.DEGRADED, "not now"))
    assert not wire.can_move
    log.refuse(home.drafts[1].key, Refusal(ErrorCode.DEGRADED, "not now"))
    assert _names(await move.successor.hear("move")) == ["bob"]
    async with asyncio.timeout(DEADLINE):
        await moving
    answers = [read(bytes(frame.data)) for frame in frames(transport.drain())[0][1:]]
    assert [(answer["ref"], answer["code"]) for answer in answers] == [(1, "degraded")] * 2


async def test_a_client_that_is_never_answered_is_not_waited_for_and_read_from_again(make: Make) -> None:
    move = make()
    wire, transport = move.server.join("bob", commands=True)
    move.node.log.move_to(Later())
    wire.data_received(client(TEXT, b'{"type":"publish","data":"hello"}'))
    moving = asyncio.ensure_future(move.mover.move_latecomers())
    await turn()
    assert (moving.done(), transport.reading) == (False, False)
    move.server.now += LAST_HEADS
    async with asyncio.timeout(DEADLINE):
        await moving
    assert (move.here, transport.reading) == (["bob"], True)


async def test_a_request_that_never_becomes_whole_is_not_waited_for(make: Make) -> None:
    move = make()
    move.listeners.heads = 1
    moving = asyncio.ensure_future(move.mover.move_latecomers())
    await turn()
    assert not moving.done()
    move.server.now += LAST_HEADS
    async with asyncio.timeout(DEADLINE):
        await moving


async def test_who_comes_and_goes_is_told_but_not_who_moves(make: Make) -> None:
    move = make()
    mover, _ = move.server.join("mover")
    move.reporter.begin()
    wire, bob = move.server.join("bob")
    move.server.node.manager.subscribe(wire, {"a": False})
    os.close(mover.detach().fd)
    bob.protocol.eof_received()
    left = await move.successor.hear("left")
    assert move.successor.kinds == ["joined", "subscribed", "left"]
    assert move.successor.heard[0].fields == left.fields == {"id": "bob", "serial": wire.serial}
    assert move.successor.heard[1].fields == {"id": "bob", "serial": wire.serial, "patterns": ["a"]}


async def test_in_the_end_nobody_is_told(make: Make) -> None:
    move = make()
    for _ in range(2):  # also of one that has not begun
        move.reporter.end()
        move.reporter.begin()
    move.reporter.end()
    move.server.join("bob")
    move.reporter.begin()
    wire, _ = move.server.join("eve")
    assert (await move.successor.hear("joined")).fields == {"id": "eve", "serial": wire.serial}


async def test_who_was_replaced_there_is_closed_here(make: Make) -> None:
    move = make()
    wire, transport = move.server.join("bob")
    other, _ = move.server.join("alice")
    move.reporter.begin()
    for name, serial in (("bob", None), ("bob", None), ("alice", wire.serial), ("nobody", other.serial)):
        move.reporter.replaced(name, serial)
    assert (wire.end_reason, other.end_reason) == (EndReason.EVICTED, None)
    assert close_of(frames(transport.drain())[0])[0] == 4501
