"""The old process's side of a handover: when it begins, its course, and its end."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import pytest
from websockets.frames import Opcode

from tests.support.frames import read
from tests.support.handover import MakeOld, Old, olds, take_over
from tests.support.server import DEADLINE
from tests.support.transport import HandTransport
from tests.support.wires import data_of, frames, turn
from wsctl import __version__
from wsctl.drain.graceful import NotDraining
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.hub.connection import EndReason
from wsctl.hub.presence import SUCCESSOR
from wsctl.log.home import RemoteConnection
from wsctl.server.handover.protocol import VERSION

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make_old() -> AsyncIterator[MakeOld]:
    async with olds() as make:
        yield make


def _why_not(old: Old) -> str:
    with pytest.raises(NotDraining) as refused:
        old.predecessor.begin()
    return str(refused.value)


# When it does not begin


async def test_where_it_cannot_be_it_does_not_begin(make_old: MakeOld) -> None:
    old = make_old()
    old.obstacle = "this is process 1"
    assert _why_not(old) == "this is process 1"
    assert not old.successors.processes
    assert old.predecessor.progress() is None


async def test_two_do_not_go_on_at_once(make_old: MakeOld) -> None:
    old = make_old()
    await old.begin()
    assert "under way" in _why_not(old)
    assert len(old.successors.processes) == 1


async def test_a_server_that_drains_or_was_handed_over_does_not_begin(make_old: MakeOld) -> None:
    draining, handed_over = make_old(), make_old()
    for old in (draining, handed_over):
        old.server.join("bob", tls=True)
    draining.node.driver.drain(60)
    await handed_over.hand_over()
    refused = "the server is draining, and only one that serves can be upgraded: "
    assert _why_not(draining) == f"{refused}'wsctl drain --cancel' takes the drain back, then upgrade it"
    assert _why_not(handed_over).startswith("a successor serves already: ")
    draining.node.driver.signal(signal.SIGTERM)
    final = "its drain cannot be taken back any more, start it anew when it has ended"
    assert _why_not(draining) == refused + final


# Presence


def _told(transport: HandTransport) -> list[list[str]]:
    """Who came and went, as a client was told."""
    found = [read(bytes(f.data)) for f in frames(transport.drain())[0] if f.opcode is Opcode.TEXT]
    return [[f["type"], f["topic"], f["client_id"]] for f in found if f["type"] in ("joined", "left")]


async def test_as_soon_as_connections_move_the_successor_says_who_comes_and_goes(
    make_old: MakeOld,
) -> None:
    old = make_old()
    wire, transport = old.server.join("stays", tls=True)
    old.node.manager.subscribe(wire, {"a": True})
    old.node.presence.learn(
        "node b", [RemoteConnection("bob", 7, ("a",)), RemoteConnection("joe", 8, ("a",))]
    )
    successor = await old.begin_move(topics=True)
    begin = next(packet for packet in successor.heard if packet.kind == "begin")
    assert begin.fields["connections"] == [["stays", wire.serial, ["a"]]]
    assert begin.fields["elsewhere"] == [["node b", "bob", 7, ["a"]], ["node b", "joe", 8, ["a"]]]
    eve, _ = old.server.join("eve", topics=["a"], tls=True)
    told = (await successor.hear("joined")).fields
    assert told == {"id": "eve", "serial": eve.serial, "patterns": ["a"]}
    rows = [["node b", "joe", 8, []], [None, "eve", eve.serial, ["a"]]]
    successor.say("presence", number=1, connections=rows)
    successor.say("presence", number=2, connections=[["successor", "tom", 9, ["*"]]])
    successor.say("listening")
    await old.ended()
    assert _told(transport) == [
        ["joined", "a", "bob"],
        ["joined", "a", "joe"],
        ["left", "a", "joe"],
        ["joined", "a", "eve"],
        ["joined", "a", "tom"],
    ]
    assert old.node.presence.clients("a") == {"stays": 1, "bob": 1, "eve": 1, "tom": 1}
    successor.hang_up()
    async with asyncio.timeout(DEADLINE):
        while old.predecessor.leaving:  # noqa: ASYNC110
            await asyncio.sleep(0)
    await turn()
    assert _told(transport)[5:] == [["left", "a", "tom"]]


async def test_a_connection_moves_with_its_serial_and_what_it_knows_of_others(make_old: MakeOld) -> None:
    old = make_old()
    wire, _ = old.server.join("bob", topics=["a"])
    successor = await old.begin_move(topics=True)
    move = (await successor.hear("move")).fields
    assert (move["serials"], move["presence"]) == ([wire.serial], 0)
    assert old.node.presence.serials(SUCCESSOR) == {wire.serial}


# The course


async def test_the_successor_is_told_everything_in_this_order(make_old: MakeOld) -> None:
    old = make_old()
    old.server.publish("before")
    old.server.join("bob")
    peer = old.listeners.visit()
    successor = await old.hand_over(moves=1)
    await old.predecessor.finish()
    assert await successor.end() == "it hung up"
    assert successor.kinds == ["hello", "history", "begin", "move", "listen", "doors", "over"]
    hello, *_, doors, _ = successor.heard
    assert hello.fields == {"version": VERSION, "release": __version__, "generation": 2}
    with socket.socket(fileno=hello.fds.pop()) as listener:
        assert listener.getsockname() == old.listeners.listener.getsockname()
    os.write(doors.fds[0], b"heard elsewhere")
    assert peer.recv(100) == b"heard elsewhere"
    peer.close()


async def test_it_is_over_only_when_everybody_has_arrived(make_old: MakeOld) -> None:
    old = make_old()
    old.server.join("bob")
    successor = await old.begin_move()
    await successor.hear("listen")
    successor.say("listening")
    await turn()
    assert successor.kinds[-1] == "listen"
    assert old.states[-1] == "moving"
    successor.say("moved", moved=0, lost=1, silence_s=0.0)
    await successor.hear("over")
    assert (await old.ended()).moved == 0


async def test_operators_are_told_how_it_goes(make_old: MakeOld) -> None:
    old = make_old()
    for name in ("alice", "bob"):
        old.server.join(name)
    old.server.join("carol", tls=True)
    successor = await old.begin()
    with _process() as process:
        successor.say("pid", pid=process.pid)
        successor.say("ready")
        await successor.hear("begin")
        old.server.now += 2
        await take_over(successor, moves=1, silence=0.25)
        done = await old.ended()
        assert old.states == ["starting", "moving", "done"]
        assert [progress.successor for progress in old.told] == [process.pid] * 3
        assert (done.total, done.moved, done.staying) == (3, 2, 1)
        assert (done.elapsed_s, done.silence_s, done.error) == (2.0, 0.25, None)
        await old.predecessor.finish()
        assert process.poll() is None


@pytest.mark.parametrize("fails", [False, True])
async def test_how_it_ended_is_the_same_while_it_is_told_and_ever_after(
    make_old: MakeOld, fails: bool
) -> None:
    old = make_old()
    asked: list[HandoverProgress | None] = []

    def ask_a_little_later(_: HandoverProgress) -> None:
        old.server.now += 0.001
        asked.append(old.predecessor.progress())

    old.predecessor._observers = [*old.predecessor._observers, ask_a_little_later]
    successor = await old.begin_move()
    if fails:
        successor.hang_up()
    else:
        await take_over(successor, moves=0)
    ended = await old.ended()
    assert ended.state is (HandoverState.FAILED if fails else HandoverState.DONE)
    assert asked[-1] == old.told[-1] == ended == old.predecessor.progress()


async def test_who_cannot_move_drains_beside_the_successor(make_old: MakeOld) -> None:
    old = make_old()
    wire, transport = old.server.join("bob", tls=True)
    old.server.join("alice")
    await old.hand_over(moves=1)
    assert (old.node.life.phase, old.listeners.listening) == (Phase.DRAINING, None)
    assert list(old.node.manager.active_connections.values()) == [wire]
    assert old.node.manager.tally[EndReason.HANDED_OVER] == 1
    transport.protocol.eof_received()
    assert not old.node.manager.active_connections


async def test_with_nobody_left_the_server_stops(make_old: MakeOld) -> None:
    old = make_old()
    old.server.join("alice")
    await old.hand_over(moves=1)
    assert old.node.driver.stopped.is_set()


async def test_a_signal_meanwhile_is_for_the_successor_too(make_old: MakeOld) -> None:
    old = make_old()
    with _process() as process:
        successor = await old.begin_move()
        successor.say("pid", pid=process.pid)
        old.node.driver.signal(signal.SIGTERM)
        await take_over(successor)
        assert (await old.ended()).state == "done"
        assert await asyncio.to_thread(process.wait, DEADLINE) == -signal.SIGTERM


# The end of this process


async def test_at_the_end_a_successor_that_was_not_ready_is_killed(make_old: MakeOld) -> None:
    old = make_old()
    await old.begin()
    await old.predecessor.finish()
    assert old.successors.processes[0].killed
    told = await old.ended()
    assert (told.state, told.error) == (
        "failed",
        "the server was stopped before its successor was ready",
    )


async def test_at_the_end_one_that_serves_is_told_the_rest_and_lives(make_old: MakeOld) -> None:
    old = make_old()
    old.server.join("bob", tls=True)
    successor = await old.hand_over()
    old.server.publish("." * (1 << 20))
    await old.predecessor.finish()
    assert await successor.end() == "it hung up"
    assert successor.kinds[-1] == "publish"
    assert not old.successors.processes[0].killed


async def test_at_the_end_one_that_serves_lives_though_it_could_not_be_told(make_old: MakeOld) -> None:
    old = make_old()
    old.server.join("bob", tls=True)
    successor = await old.hand_over()
    successor.hang_up()
    await turn()
    assert not old.server.observers
    await old.predecessor.finish()
    assert not old.successors.processes[0].killed


async def test_at_the_end_who_waits_for_a_handover_waits_no_longer(make_old: MakeOld) -> None:
    old = make_old()
    waiting = asyncio.ensure_future(old.predecessor.wait_until_over())
    await turn()
    await old.predecessor.finish()
    async with asyncio.timeout(DEADLINE):
        await waiting
    assert old.predecessor.progress() is None


async def test_who_stayed_goes_on_when_the_successor_is_gone(make_old: MakeOld) -> None:
    old = make_old()
    _, transport = old.server.join("bob", tls=True)
    successor = await old.hand_over()
    old.server.publish("went there")
    await successor.hear("publish")
    successor.hang_up()
    await turn()
    assert not old.server.observers
    old.server.publish("stayed here")
    await turn()
    assert data_of(frames(transport.drain())[0]) == ["went there", "stayed here"]
    assert old.node.life.phase is Phase.DRAINING


@contextmanager
def _process() -> Iterator["subprocess.Popen[bytes]"]:
    """One that does nothing, to have a number that signals can be sent to."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_at_the_end_requests_are_answered_first(make_old: MakeOld) -> None:
    old = make_old()
    await old.hand_over()
    old.listeners.owed = True
    waiting = asyncio.ensure_future(old.predecessor.move_answered(DEADLINE))
    for owed in (True, False):
        await turn()
        assert not waiting.done()
        old.listeners.owed = owed
        old.listeners.changed.notify_all()
    await waiting


async def test_answers_are_not_waited_for_when_the_successor_is_gone(make_old: MakeOld) -> None:
    old = make_old()
    successor = await old.hand_over()
    old.listeners.owed = True
    waiting = asyncio.ensure_future(old.predecessor.move_answered(DEADLINE))
    await turn()
    assert not waiting.done()
    successor.hang_up()
    async with asyncio.timeout(DEADLINE / 2):
        await waiting
