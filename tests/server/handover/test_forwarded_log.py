"""The log and the clients of a process in which another one gives the ids."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from tests.support.entries import missed_by
from tests.support.handover import Successors
from tests.support.wires import Server, data_of, frames, turn
from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.frame import Batch
from wsctl.hub.presence import connected_here
from wsctl.ipc.framing import Packet
from wsctl.log.history import Entry
from wsctl.log.home import Refusal
from wsctl.log.message_log import MessageLog
from wsctl.log.refusals import UNCONFIRMED
from wsctl.log.transfer import TOGETHER
from wsctl.server.handover.forwarded_log import ENDED, ForwardedLog, LogRelay
from wsctl.server.handover.mover import ClientReporter
from wsctl.server.handover.successor_process import SuccessorProcess

pytestmark = pytest.mark.anyio


class HomeObserverStandIn:
    """Writes down what it is told."""

    def __init__(self, told: list[object]) -> None:
        self._told = told

    def cut_off(self, why: str) -> None:
        self._told.append(why)

    def back(self, recovered: bool) -> None:
        self._told.append(recovered)


class FollowingServer:
    """A server that can follow; `leader` hears what it forwards. To be made on a running loop."""

    def __init__(self) -> None:
        self.server = Server(history=1000, max_queue=0)
        self.log = self.server.node.log
        self._successors = Successors()
        self._successor_process = SuccessorProcess(self._successors.spawn, lambda packet: None, lambda: None)
        self.leader = self._successors.ends[0]
        node, send = self.server.node, self._successor_process.send
        self.send = send
        self.forwarded = ForwardedLog(node.log, send)
        self.reporter = ClientReporter(node.manager, node.intake.allowances, node.clock, send)
        self.receipts: list[tuple[str, int]] = []

    def publish(self, data: object, to: tuple[str, ...] | None = None) -> None:
        self.log.append("server", data, to, lambda *receipt: self.receipts.append(receipt))

    def place(self, data: object, *, own: int | None, to: tuple[str, ...] | None = None) -> str:
        """A message has got its id from the leader, who says that it is for seven; maybe one of ours."""
        ms, sequence = self.log.position
        message_id = f"{ms + 1000}-{sequence}"
        message = messages.message(messages.Message(message_id, 0.0, "server", data, to))
        fields = {
            "entry": [ms + 1000, sequence, to and list(to)],
            "recipients": 7,
            "key": own and [self.log.writer, own],
        }
        self.forwarded.receive(Packet("message", fields, [Batch((message,)).wire], []))
        return message_id

    def begin(self) -> None:
        """From here on the leader gives the ids."""
        self.reporter.begin()
        self.forwarded.begin_at(connected_here(self.server.node.manager))

    async def prepare(self) -> None:
        await self.forwarded.send_history(self._successor_process.take_all)

    async def dispose(self) -> None:
        await self._successor_process.kill()
        self._successors.dispose()
        self.server.dispose()


@pytest.fixture
async def make() -> AsyncIterator[Callable[[], FollowingServer]]:
    async with AsyncExitStack() as stack:

        def follower() -> FollowingServer:
            made = FollowingServer()
            stack.push_async_callback(made.dispose)
            return made

        yield follower


Make = Callable[[], FollowingServer]


async def test_it_gives_away_what_it_knows(make: Make) -> None:
    old = make()
    bob, _ = old.server.join("bob")
    alice, _ = old.server.join("alice", tls=True)
    old.server.node.manager.subscribe(alice, {"a": True, "b.*": False})
    old.publish("for all")
    old.publish("for bob", ("bob",))
    old.begin()
    begin = await old.leader.hear("begin")
    assert old.leader.kinds == ["history", "begin"]
    entries = old.log.history.entries()
    history = old.leader.heard[0]
    assert history.fields["entries"] == [[*entries[0].id, None], [*entries[1].id, ["bob"]]]
    assert history.blobs == [entry.batch.wire for entry in entries]
    floor = old.log.history.floor
    assert begin.fields == {
        "position": list(old.log.position),
        "floor": list(floor),
        "floors": {"everybody": list(floor), "other": list(floor), "topics": []},
        "here": ["bob", "alice"],
        "shared": None,
        "topics": True,
        "connections": [["bob", bob.serial], ["alice", alice.serial, ["a", "b.*"]]],
        "elsewhere": [],
    }


@pytest.mark.parametrize("prepared", [False, True])
async def test_a_long_history_goes_in_pieces_of_a_bounded_size(make: Make, prepared: bool) -> None:
    old = make()
    for size in (10, TOGETHER // 3, TOGETHER // 3, TOGETHER // 3, TOGETHER * 3, 20, 30):
        old.publish("." * size)
    if prepared:
        await old.prepare()
    old.begin()
    await old.leader.hear("begin")
    *pieces, _ = old.leader.heard
    assert [len(piece.blobs) for piece in pieces] == [4, 1, 2]
    wires = [entry.batch.wire for entry in old.log.history.entries()]
    assert [wire for piece in pieces for wire in piece.blobs] == wires


async def test_what_is_said_while_the_history_goes_goes_behind_it_and_nothing_twice(make: Make) -> None:
    old = make()
    for data in ("one", "two"):
        old.publish(data)
    await old.prepare()
    old.publish("three")
    old.begin()
    await old.leader.hear("begin")
    assert [len(packet.blobs) for packet in old.leader.heard] == [2, 1, 0]
    wires = [wire for packet in old.leader.heard for wire in packet.blobs]
    assert wires == [entry.batch.wire for entry in old.log.history.entries()]


async def test_without_a_history_none_is_sent(make: Make) -> None:
    old = make()
    await old.prepare()
    old.begin()
    await old.leader.hear("begin")
    assert old.leader.kinds == ["begin"]


async def test_what_is_published_here_goes_there_and_is_not_sent_before_it_is_back(make: Make) -> None:
    old = make()
    _, transport = old.server.join("bob")
    old.begin()
    old.publish({"é": [1, None]}, ("bob", "eve"))
    published = await old.leader.hear("publish")
    told = {"key": [old.log.writer, 1], "sender": "server", "to": ["bob", "eve"], "again": False}
    assert published.fields == told
    assert published.blobs == [messages.encode({"data": {"é": [1, None]}})]
    await turn()
    assert data_of(frames(transport.drain())[0]) == []
    assert old.receipts == []
    message_id = old.place({"é": [1, None]}, own=1, to=("bob", "eve"))
    assert data_of(frames(transport.drain())[0]) == [{"é": [1, None]}]
    assert old.receipts == [(message_id, 7)]


async def test_what_others_published_comes_between_and_in_the_leaders_order(make: Make) -> None:
    old = make()
    _, transport = old.server.join("bob")
    old.begin()
    old.publish("mine 1")
    old.publish("mine 2")
    ids = [
        old.place("theirs", own=None),
        old.place("mine 1", own=1),
        old.place("for eve", own=None, to=("eve",)),
        old.place("mine 2", own=2),
    ]
    await turn()
    assert data_of(frames(transport.drain())[0]) == ["theirs", "mine 1", "mine 2"]
    assert old.receipts == [(ids[1], 7), (ids[3], 7)]
    assert old.log.newest == ids[-1]
    missed = missed_by(old.log, ids[0], "eve")
    assert missed is not None
    assert len(missed) == 3


async def test_in_the_end_ids_are_given_here_again_and_nobody_is_told(make: Make) -> None:
    old = make()
    _, transport = old.server.join("bob")
    old.begin()
    old.publish("unanswered")
    old.reporter.end()
    old.forwarded.give_back(connected_here(old.server.node.manager))
    old.publish("after")
    old.server.join("alice")
    await turn()
    assert data_of(frames(transport.drain())[0]) == ["unanswered", "after"]
    assert [recipients for _, recipients in old.receipts] == [1, 1]
    await old.leader.hear("publish")
    assert old.leader.kinds == ["begin", "publish"]


async def test_how_the_leaders_home_is_those_hear_who_are_here(make: Make) -> None:
    old = make()
    told: list[object] = []
    old.log.observers.append(HomeObserverStandIn(told))
    old.begin()
    old.forwarded.receive(Packet("away", {"why": "no answer"}, [], []))
    old.forwarded.receive(Packet("back", {"recovered": False}, [], []))
    assert told == ["no answer", False]


async def test_when_the_leader_is_lost_while_its_home_is_away_the_own_one_is_there(make: Make) -> None:
    old = make()
    told: list[object] = []
    old.log.observers.append(HomeObserverStandIn(told))
    old.begin()
    old.forwarded.receive(Packet("away", {"why": "no answer"}, [], []))
    old.reporter.end()
    old.forwarded.give_back(connected_here(old.server.node.manager))
    assert told == ["no answer", True]


@pytest.mark.parametrize(
    ("fields", "code"), [({"code": "degraded"}, ErrorCode.DEGRADED), ({}, ErrorCode.UNCONFIRMED)]
)
async def test_what_the_leader_refuses_is_refused_here(
    make: Make, fields: dict[str, str], code: ErrorCode
) -> None:
    """An older release does not say whether it may be published after all."""
    old = make()
    old.begin()
    refusals: list[Refusal] = []
    old.log.append("server", "refused", refused=refusals.append)
    told = {"key": [old.log.writer, 1], "why": "Redis is away"}
    for _ in range(2):
        old.forwarded.receive(Packet("unpublished", told | fields, [], []))
    assert refusals == [Refusal(code, "Redis is away")]
    assert old.receipts == []


async def test_once_it_has_hung_up_nothing_waits_for_an_answer(make: Make) -> None:
    here = make()
    here.begin()
    told: list[Refusal] = []
    here.log.append("server", "under way", refused=told.append)
    assert not told
    here.forwarded.hang_up()
    here.log.append("server", "too late", refused=told.append)
    assert told == [UNCONFIRMED, ENDED]


async def test_a_successor_of_an_earlier_release_gets_no_message_with_a_topic(make: Make) -> None:
    old = make()
    old.forwarded = ForwardedLog(old.log, old.send, topics=False)
    old.log.append("server", "for all")
    old.log.append("server", "for some", topic="a")
    old.begin()
    refused: list[Refusal] = []
    old.log.append("server", "for some", topic="a", refused=refused.append)
    old.log.append("server", "for all")
    await old.leader.hear("publish")
    assert [why.code for why in refused] == [ErrorCode.DEGRADED]
    history, begin, publish = old.leader.heard
    assert [len(row) for row in history.fields["entries"]] == [3]
    assert "floors" not in begin.fields
    assert publish.fields["key"][1] == 2


def test_what_the_predecessor_had_before_the_handover_is_not_sent_to_it() -> None:
    sent: list[str] = []
    relay = LogRelay(MessageLog(lambda entry: 0), lambda kind, fields, blobs=(): sent.append(kind))
    relay.begin({"position": [5, 1], "floor": [1, 0], "here": ["bob"], "topics": True})
    batch = Batch((messages.message(messages.Message("5-1", 0.0, "server", "x")),))
    assert [relay.relay(Entry(at, batch, None), 0, None) for at in ((5, 0), (5, 1), (5, 2))] == [1, 1, 1]
    assert sent == ["message"]


def test_a_predecessor_of_an_earlier_release_gets_no_message_with_a_topic() -> None:
    sent: list[str] = []
    relay = LogRelay(MessageLog(lambda entry: 0), lambda kind, fields, blobs=(): sent.append(kind))
    relay.begin({"position": [5, 1], "floor": [1, 0], "here": ["bob"]})
    topical = Entry(
        (6, 0), Batch((messages.message(messages.Message("6-0", 0.0, "server", "x")),)), None, "a"
    )
    assert (relay.relay(topical, 3, None), sent) == (0, [])
    assert relay.relay(topical._replace(topic=None), 3, None) == 1
    assert sent == ["message"]
