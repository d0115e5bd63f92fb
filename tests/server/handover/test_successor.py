"""The new process's side of a handover."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from tests.support.entries import missed_by
from tests.support.handover import MakeTakeover, Takeover, takeovers
from tests.support.server import DEADLINE
from tests.support.wires import data_of, frames, turn
from wsctl.frame import Batch
from wsctl.server.handover.protocol import STALL_TIMEOUT

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make() -> AsyncIterator[MakeTakeover]:
    async with takeovers() as make_takeover:
        yield make_takeover


# The log


async def test_it_says_when_it_is_ready_and_when_it_listens(make: MakeTakeover) -> None:
    pair = make()
    pair.successor.ready()
    await pair.predecessor.hear("ready")
    assert not pair.successor.begun.is_set()
    assert not pair.successor.may_listen.is_set()
    await pair.begin()
    pair.predecessor.say("listen")
    async with asyncio.timeout(DEADLINE):
        await pair.successor.may_listen.wait()
    pair.successor.listening()
    await pair.predecessor.hear("listening")


async def test_it_goes_on_where_the_other_log_stands(make: MakeTakeover) -> None:
    pair = make(history=2)
    old = pair.old.node.log
    old.restore((99_999_999_999_999, 7), (99_999_999_999_999, 7), [])  # a clock that was ahead
    seen = [old.newest]
    for data, to in (("one", None), ("two", ("bob",)), ("three", ("eve",))):
        pair.old.publish(data, to)
        seen.append(old.newest)
    await pair.begin()
    assert pair.log.newest == old.newest
    for since in seen:
        for name in ("bob", "eve"):
            then, now = (_wires(missed_by(log, since, name)) for log in (old, pair.log))
            assert then == now
    pair.new.publish("four")
    assert pair.log.newest == "99999999999999-11"


async def test_what_was_let_go_of_meanwhile_is_not_kept_here_either(make: MakeTakeover) -> None:
    pair = make(history=1)
    seen = pair.old.node.log.newest
    pair.old.publish("told too early")
    pair.remember(pair.old.node.log.history.entries())
    pair.old.publish("kept")
    await pair.begin()
    assert missed_by(pair.log, seen, "bob") is None
    assert len(pair.log.history) == 1


def _wires(missed: list[Batch] | None) -> list[bytes] | None:
    return None if missed is None else [batch.wire for batch in missed]


async def test_what_is_published_there_gets_its_place_here_and_is_answered(make: MakeTakeover) -> None:
    pair = make()
    _, transport = pair.new.join("bob")
    await pair.begin("alice", "carol")
    pair.publish("for all", sender="alice")
    pair.publish({"for": "two"}, ["bob", "carol"])
    pair.publish("for nobody", ["eve"])
    assert [await pair.message() for _ in range(3)] == [
        ("for all", 3, 1),
        ({"for": "two"}, 2, 2),
        ("for nobody", 0, 3),
    ]
    ids = [tuple(packet.fields["entry"][:2]) for packet in pair.predecessor.heard]
    assert ids == [entry.id for entry in pair.log.history.entries()] == sorted(ids)
    await turn()
    assert data_of(frames(transport.drain())[0]) == ["for all", {"for": "two"}]


async def test_what_is_published_here_goes_to_those_who_are_there_too(make: MakeTakeover) -> None:
    pair = make()
    pair.new.join("bob")
    await pair.begin("alice")
    pair.predecessor.say("joined", id="late")
    pair.predecessor.say("left", id="alice")
    pair.publish("theirs")
    assert await pair.message() == ("theirs", 2, 1)
    receipts: list[int] = []
    for to in (None, ("bob", "late"), ("alice",)):
        pair.log.append("server", "ours", to, lambda _, recipients: receipts.append(recipients))
    assert [(await pair.message())[1:] for _ in range(3)] == [(2, None), (2, None), (0, None)]
    assert receipts == [2, 2, 0]


async def test_of_a_newer_connection_here_the_other_is_told(make: MakeTakeover) -> None:
    pair = make()
    await pair.begin("alice")
    pair.new.join("bob")
    pair.new.join("alice")
    replaced = await pair.predecessor.hear("replaced")
    assert replaced.fields["id"] == "alice"
    assert pair.predecessor.kinds == ["replaced"]


async def test_how_its_home_is_the_other_is_told_for_as_long_as_it_follows(make: MakeTakeover) -> None:
    pair = make()
    pair.log.cut_off("too early")
    await pair.begin("alice")
    pair.log.cut_off("no answer")
    pair.log.back(recovered=False)
    assert (await pair.predecessor.hear("away")).fields == {"why": "no answer"}
    assert (await pair.predecessor.hear("back")).fields == {"recovered": False}
    assert pair.predecessor.kinds == ["away", "back"]


# Alone


@pytest.mark.parametrize("moment", ["at first", "begun", "settled"])
async def test_when_the_predecessor_is_gone_it_serves_with_what_it_has(
    make: MakeTakeover, moment: str, caplog: pytest.LogCaptureFixture
) -> None:
    pair = make(history=1)
    pair.old.publish("before")
    if moment != "at first":
        await pair.begin("alice")
    if moment == "settled":
        pair.predecessor.say("over")
    pair.predecessor.hang_up()
    await _alone(pair)
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == (moment != "settled")
    _, transport = pair.new.join("alice")
    receipts: list[int] = []
    for data in ("one", "two"):
        pair.log.append("server", data, None, lambda _, recipients: receipts.append(recipients))
    await turn()
    assert data_of(frames(transport.drain())[0]) == ["one", "two"]
    assert receipts == [1, 1]
    assert len(pair.log.history) == 1
    assert pair.log.newest > pair.old.node.log.newest


async def _alone(pair: Takeover) -> None:
    """Wait until the successor has noticed that the predecessor is gone."""
    async with asyncio.timeout(DEADLINE):
        for event in (pair.successor.begun, pair.successor.may_listen, pair.successor.settled):
            await event.wait()
    await turn()
    assert pair.successor.predecessor_gone.is_set()
    assert pair.log.follower is None
    assert not pair.new.observers


async def test_clients_that_were_on_their_way_then_arrive(make: MakeTakeover) -> None:
    pair = make()
    _, transport = pair.old.join("bob")
    await pair.begin()
    pair.send(await pair.detach("bob"))
    await turn()
    pair.predecessor.hang_up()
    await _alone(pair)
    pair.new.publish("here")
    await turn()
    assert data_of(frames(transport.drain())[0]) == ["here"]


async def test_a_predecessor_that_hangs_keeps_nobody_from_connecting(make: MakeTakeover) -> None:
    pair = make()
    pair.successor.check(pair.new.now + STALL_TIMEOUT)
    assert not pair.successor.may_listen.is_set()
    await pair.begin()
    pair.successor.check(pair.new.now + STALL_TIMEOUT - 1)
    assert not pair.successor.may_listen.is_set()
    pair.successor.check(pair.new.now + STALL_TIMEOUT)
    assert pair.successor.may_listen.is_set()
