"""A handover that fails: the server goes on as if nothing had been asked."""

import signal
from collections.abc import AsyncIterator

import pytest

from tests.support.handover import MakeOld, Old, olds, take_over
from tests.support.other_end import OtherEnd
from tests.support.wires import data_of, frames, turn
from wsctl import messages
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverProgress
from wsctl.frame import Batch
from wsctl.hub.connection import EndReason

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make_old() -> AsyncIterator[MakeOld]:
    async with olds() as make:
        yield make


async def _failed(old: Old) -> HandoverProgress:
    """How it failed, after which nothing of it is left."""
    told = await old.ended()
    assert old.states.count("failed") == 1
    assert old.told[-1] == told
    assert told.error
    assert "\n" not in told.error
    assert not old.server.observers
    assert old.listeners.listening
    assert old.node.manager.tally[EndReason.HANDED_OVER] == 0
    assert all(process.code is not None for process in old.successors.processes)
    return told


# Before anything has changed


async def test_a_successor_that_cannot_be_started(make_old: MakeOld) -> None:
    old = make_old()
    old.successors.error = FileNotFoundError("no such program")
    await old.ask()
    told = await _failed(old)
    assert told.error == "the successor cannot be started: no such program"
    assert old.node.life.phase is Phase.SERVING


async def test_a_successor_that_is_not_ready_in_time_is_killed(make_old: MakeOld) -> None:
    old = make_old(patience=0.01)
    await old.begin()
    told = await _failed(old)
    assert told.error == "the successor was not ready within 0.01 seconds"
    assert old.successors.processes[0].killed
    assert old.node.life.phase is Phase.SERVING


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (0, "the successor ended: the log says why"),
        (7, "the successor ended with exit code 7: the log says why"),
        (-signal.SIGSEGV, "the successor was killed by SIGSEGV"),
    ],
)
async def test_a_successor_that_ends_before_it_is_ready(make_old: MakeOld, code: int, why: str) -> None:
    old = make_old()
    old.successors.code = code
    (await old.begin()).hang_up()
    assert (await _failed(old)).error == why
    assert old.node.life.phase is Phase.SERVING


@pytest.mark.parametrize("hangs_up", [False, True])
async def test_a_successor_that_refuses_is_believed(make_old: MakeOld, hangs_up: bool) -> None:
    old = make_old()
    old.successors.code = 3
    successor = await old.begin()
    successor.say("refused", why="it is a Tuesday")
    if hangs_up:
        successor.hang_up()
    assert (await _failed(old)).error == "the successor refused: it is a Tuesday"


async def test_a_drain_that_begins_meanwhile_goes_on(make_old: MakeOld) -> None:
    old = make_old()
    old.server.join("bob")
    successor = await old.begin()
    old.node.driver.drain(60)
    successor.say("ready")
    assert (await _failed(old)).error == (
        "it was too late: the server is draining, and only one that serves can be upgraded: "
        "'wsctl drain --cancel' takes the drain back, then upgrade it"
    )
    assert old.successors.processes[0].killed
    assert old.node.life.phase is Phase.DRAINING
    assert not old.node.driver.stopped.is_set()


# When the log and some of the clients were given away already


async def _until(moment: str, old: Old) -> OtherEnd:
    """A handover that has come so far; alice has moved if it was that far."""
    successor = await old.begin()
    successor.say("ready")
    if moment == "ready":
        return successor
    await successor.hear("begin" if moment == "begin" else "move")
    if moment in {"listen", "over"}:
        successor.say("moved", moved=1, lost=0, silence_s=0.0)
        await successor.hear(moment)
    return successor


@pytest.mark.parametrize("moment", ["ready", "begin", "move", "listen", "over"])
@pytest.mark.parametrize("how", ["it hangs up", "it talks nonsense"])
async def test_whenever_the_successor_is_lost_those_who_are_here_are_served(
    make_old: MakeOld, moment: str, how: str
) -> None:
    old = make_old()
    old.successors.code = -signal.SIGKILL
    alice, _ = old.server.join("alice")
    _, transport = old.server.join("bob", tls=True)
    successor = await _until(moment, old)
    if how == "it hangs up":
        successor.hang_up()
    else:
        await turn()
        successor.garble()
    told = await _failed(old)
    gone = "; clients that were with it or on the way, and connect here again: 1"
    assert told.moved == 0
    assert told.error == "the successor was killed by SIGKILL" + (gone if alice.end_reason else "")
    assert old.node.life.phase is Phase.SERVING
    _, newcomer = old.server.join("alice")
    old.server.publish("still here")
    await turn()
    for each in (transport, newcomer):
        assert data_of(frames(each.drain())[0]) == ["still here"]


async def test_one_that_does_not_listen_in_the_end_is_given_up(make_old: MakeOld) -> None:
    old = make_old(patience=0.2)
    old.server.join("alice")
    await _until("over", old)
    told = await _failed(old)
    assert told.error
    assert "did not listen within 0.2 seconds" in told.error
    assert old.successors.processes[0].killed


async def test_what_was_published_meanwhile_gets_its_place_once(make_old: MakeOld) -> None:
    old = make_old()
    old.successors.code = -signal.SIGKILL
    _, transport = old.server.join("bob", tls=True)
    receipts: list[tuple[str, int]] = []
    successor = await old.begin_move()
    for n, data in enumerate(("answered", "unanswered", "neither"), 1):
        old.node.log.append("server", data, None, lambda *receipt: receipts.append(receipt))
        assert (await successor.hear("publish")).fields == {
            "key": [old.node.log.writer, n],
            "sender": "server",
            "to": None,
            "again": False,
        }
    place = (int(old.node.log.newest.partition("-")[0]) + 60_000, 0)
    message = messages.message(messages.Message(f"{place[0]}-0", 0.0, "server", "answered"))
    told = {"entry": [*place, None], "recipients": 5, "key": [old.node.log.writer, 1]}
    successor.say("message", [Batch((message,)).wire], **told)
    successor.hang_up()
    assert (await _failed(old)).state == "failed"
    await turn()
    assert data_of(frames(transport.drain())[0]) == ["answered", "unanswered", "neither"]
    assert receipts == [(f"{place[0]}-{n}", recipients) for n, recipients in enumerate((5, 1, 1))]
    old.server.publish("after")
    assert old.node.log.newest == f"{place[0]}-3"


async def test_a_signal_meanwhile_drains_the_server_then(make_old: MakeOld) -> None:
    old = make_old()
    old.successors.code = 1
    old.server.join("bob", tls=True)
    successor = await old.begin_move()
    old.node.driver.signal(signal.SIGTERM)
    assert not old.node.driver.progress()
    successor.hang_up()
    assert (await _failed(old)).state == "failed"
    assert old.node.life.phase is Phase.DRAINING


async def test_the_next_one_can_succeed(make_old: MakeOld) -> None:
    old = make_old()
    old.server.join("alice")
    old.successors.code = 1
    (await _until("move", old)).hang_up()
    await _failed(old)
    old.successors.code = None
    wire, _ = old.server.join("alice")
    again = await old.begin_move(number=2)
    await take_over(again, moves=1)
    told = await old.ended()
    assert (told.state, told.moved, told.total, told.staying, told.error) == ("done", 1, 1, 0, None)
    assert again.heard[0].fields["generation"] == 2
    assert wire.end_reason is EndReason.HANDED_OVER
    assert not old.successors.processes[1].killed
