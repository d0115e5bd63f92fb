"""The law of the log's homes, at the top of `wsctl/log/home.py`, held against each of them, with suspension,
failure and handovers in between."""

import asyncio
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import strategies as st

from tests.conftest import StartStore
from tests.support.peer import Peer, Speaker, new_prefix
from tests.support.relay import Relay
from tests.support.server import DEADLINE
from tests.support.sizes import examples
from tests.support.store import StoreProcess
from tests.support.worker_peer import WorkerPeer
from wsctl.codes import ErrorCode
from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet
from wsctl.log.history import MessageId
from wsctl.log.home import Away, Home, Kept
from wsctl.log.journal import journal_home
from wsctl.log.message_log import read_id
from wsctl.messages import Message
from wsctl.server.handover.forwarded_log import ForwardedLog, LogRelay
from wsctl.server.workers.group_log import GroupLog

pytestmark = pytest.mark.anyio

STEPS = st.lists(
    st.sampled_from(
        [
            "say",
            "say",
            "say elsewhere",
            "no json",
            "iterate",
            "suspend",
            "resume",
            "cut",
            "mend",
            "remove",
            "move",
            "lose",
        ]
    ),
    max_size=25,
)


class LogHandover:
    """The log of one process, which moves to another, over real packets."""

    def __init__(self, old: Speaker, new: Speaker) -> None:
        ours, theirs = socket.socketpair()
        self.old, self.new = old, new
        self._at_old = Channel(ours, self._receive_at_old, lambda why: self.gone.set())
        self._at_new = Channel(theirs, self._receive_at_new, lambda why: None)
        self._forwarded = ForwardedLog(old.log, self._at_old.send)
        self._relay = LogRelay(new.log, self._at_new.send)
        self._begun = asyncio.Event()
        self.own = old.log.home
        self.gone = asyncio.Event()

    async def begin(self) -> None:
        """The new process has the log, and gives the ids of both."""
        await self.new.log.home.prepare()
        await self._forwarded.send_history(self._taken)
        await self._forwarded.suspend_own()
        self._forwarded.begin_at([])
        self.new.got = list(self.old.got)
        await self._begun.wait()

    async def end(self) -> None:
        """The old process ends, when all that was said there is answered."""
        await self.old.settle()
        self._at_old.close()
        self._at_new.close()
        self._relay.end()
        self.new.log.history.hold(False)
        await self.own.end()

    async def lose(self) -> None:
        """The new process is killed; what it has sent still arrives."""
        await self.new.log.home.suspend()  # so that it ends as if it never said so
        await self.new.log.home.end()
        self._at_new.close()
        await self.gone.wait()
        self._forwarded.give_back(())

    async def _taken(self) -> None: ...

    def _receive_at_old(self, packet: Packet) -> None:
        self._forwarded.receive(packet)

    def _receive_at_new(self, packet: Packet) -> None:
        match packet.kind:
            case "history":
                self._relay.add_history(packet.fields, packet.blobs)
            case "begin":
                self._relay.begin(packet.fields)
                self._begun.set()
            case "publish":
                self._relay.publish(packet.fields, packet.blobs[0])


class Outage(Protocol):
    """Something between the processes and what keeps their messages, or what keeps them itself."""

    def cut(self) -> None:
        """Have it fail from here on."""

    def mend(self) -> None:
        """Have it work again."""


class JournalFolder:
    """The folder of a journal, which can be moved away, and the journal be removed."""

    def __init__(self, at: Path) -> None:
        self._at = at
        self._away = at.with_suffix(".away")
        at.mkdir()
        self.journal = at / "journal"

    def cut(self) -> None:
        if self._at.exists():
            self._at.rename(self._away)

    def mend(self) -> None:
        if self._away.exists():
            self._away.rename(self._at)

    def remove(self) -> None:
        self.journal.unlink(missing_ok=True)


class JournalSpeaker(Speaker):
    """A process whose log has its home in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.log.move_to(journal_home(str(path), "normal", self.log))


class World:
    """One process at first, which may be replaced by another; with a store, or a parent, there is a second
    one elsewhere. `stores` says whether the home has what the history of a process does not.
    Where the processes keep their messages in a file, that is in a `folder`.

    Attributes:
        living: the processes that are there.
        speakers: those and the ones that ended in peace: all that they said was answered.
        said: how many messages were published, with numbers from 1 on as data.
        said_by_lost: those of processes that were killed.
    """

    def __init__(
        self,
        make: Callable[[], Speaker],
        relay: Relay | None,
        elsewhere: Speaker | None,
        *,
        stores: bool,
        folder: JournalFolder | None = None,
    ) -> None:
        self.stores = stores
        self._make = make
        self._folder = folder
        self._outage: Outage | None = relay or folder
        self.elsewhere = elsewhere
        self._now = make()
        self._handover: LogHandover | None = None
        self._suspended = False
        self.said = 0
        self.said_by_lost: set[int] = set()
        self.living = [self._now, *([elsewhere] if elsewhere else [])]
        self.speakers = list(self.living)
        self._by: defaultdict[Speaker, set[int]] = defaultdict(set)

    async def begin(self) -> None:
        for process in self.living:
            await process.log.home.begin()

    async def step(self, what: str) -> None:
        if what == "say":
            self._say(self._now)
        elif what == "say elsewhere":
            self._say(self._handover.new if self._handover else self.elsewhere or self._now)
        elif what == "no json":
            with pytest.raises(ValueError, match="JSON"):
                self._now.log.append("x", float("nan"))
        else:
            await self._change(what)

    async def _change(self, what: str) -> None:
        match what:
            case "iterate":
                await asyncio.sleep(0.002)
            case "cut" if self._outage:
                self._outage.cut()
            case "mend" if self._outage:
                self._outage.mend()
            case "remove" if self._folder:
                self._folder.remove()
            case "suspend":
                await self._suspend()
            case "resume":
                self._resume()
            case "move":
                await self._move()
            case "lose":
                await self._lose()

    async def settle(self) -> None:
        """Everything works, and nothing is under way."""
        self._resume()
        if self._outage:
            self._outage.mend()
        for process in self.living:
            await process.settle()
            assert process.log.home.why is None or await self._is_back(process)
        newest = max(process.log.position for process in self.living)
        for process in self.living:
            await process.until(partial(self._has, process, newest))

    async def end(self) -> None:
        if self._handover:
            await self._handover.end()
            self.living.remove(self._handover.old)
        for process in self.living:
            await process.log.home.end()

    def _say(self, process: Speaker) -> None:
        self.said += 1
        self._by[process].add(self.said)
        topic = (None, "a", "b.c", None)[self.said % 4]
        process.say(self.said, ("bob",) if self.said % 3 == 2 else None, topic)

    async def _suspend(self) -> None:
        if not self._handover and not self._suspended:
            await self._now.log.home.suspend()
            self._suspended = True

    def _resume(self) -> None:
        if self._suspended:
            log = self._now.log
            log.home.resume(())
            log.move_to(log.home)
            self._suspended = False

    def _has(self, process: Speaker, newest: MessageId) -> bool:
        return process.log.position >= newest

    async def _is_back(self, process: Speaker) -> bool:
        await process.until(lambda: process.log.home.why is None)
        return True

    async def _move(self) -> None:
        """Begin a handover, or end the one that there is."""
        if self._handover:
            await self.settle()
            await self._handover.end()
            self.living.remove(self._handover.old)
            self._now, self._handover = self._handover.new, None
        else:
            self._resume()
            new = self._make()
            self._handover = LogHandover(self._now, new)
            self.living.append(new)
            self.speakers.append(new)
            await self._handover.begin()

    async def _lose(self) -> None:
        if self._handover:
            lost, handover, self._handover = self._handover.new, self._handover, None
            await handover.lose()
            self.living.remove(lost)
            self.speakers.remove(lost)
            self.said_by_lost |= self._by[lost]


@asynccontextmanager
async def living(world: World) -> AsyncIterator[World]:
    await world.begin()
    try:
        yield world
    finally:
        await world.end()


@pytest.fixture
def store(start_store: StartStore) -> StoreProcess:
    alone: StoreProcess = start_store()
    return alone


FIRST = pytest.mark.parametrize("first", [[], ["move"]], ids=["alone", "in a handover"])
"""With the second one the home that is tried at first is a successor."""

LOSSES = ["say", "say elsewhere", *["iterate"] * 10, "say", "lose", "say", "move", "say", "lose", "say"]
MOVES = ["suspend", "say", "resume", "say", "move", "say", "iterate", "say elsewhere", "move", "say"]
OUTAGES = ["say", "cut", "say", "iterate", "say", "mend", "say elsewhere", "suspend", "say", "move", "lose"]
REMOVALS = [
    "say",
    *["iterate"] * 5,
    "remove",
    "say",
    "iterate",
    "move",
    "say",
    "remove",
    "say",
    "move",
    "say",
]


@FIRST
@examples(100)
@example(LOSSES)
@example(MOVES)
@given(STEPS)
async def test_memory_keeps_the_law(first: list[str], steps: list[str]) -> None:
    async with living(World(Speaker, None, None, stores=False)) as world:
        await hold_the_law(world, [*first, *steps])


@FIRST
@examples(100)
@example(LOSSES)
@example(MOVES)
@given(STEPS)
async def test_the_parent_of_workers_keeps_the_law(first: list[str], steps: list[str]) -> None:
    group = GroupLog(100, 1 << 20)
    other = WorkerPeer(group, 2)
    made = [other]

    def make() -> WorkerPeer:
        made.append(WorkerPeer(group, 1))
        return made[-1]

    async with living(World(make, None, other, stores=False)) as world:
        await hold_the_law(world, [*first, *steps])
        assert [entry.id for entry in group.log.history.entries()] == places(world.living[0].got)
    for worker in made:
        worker.close()
        worker.parents.channel.close()


@FIRST
@examples(4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(LOSSES)
@example(MOVES)
@example(OUTAGES)
@given(STEPS)
async def test_redis_keeps_the_law(store: StoreProcess, first: list[str], steps: list[str]) -> None:
    prefix = new_prefix()
    async with Relay(store.port).running() as relay:
        url = relay.url.replace("http", "redis")
        async with living(
            World(lambda: Peer(url, prefix), relay, Peer(store.url, prefix), stores=True)
        ) as world:
            await hold_the_law(world, [*first, *steps])


@FIRST
@examples(40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(LOSSES)
@example(MOVES)
@example(OUTAGES)
@example(REMOVALS)
@given(STEPS)
async def test_a_journal_keeps_the_law(
    tmp_path_factory: pytest.TempPathFactory, first: list[str], steps: list[str]
) -> None:
    folder = JournalFolder(tmp_path_factory.mktemp("j") / "f")
    async with living(
        World(lambda: JournalSpeaker(folder.journal), None, None, stores=True, folder=folder)
    ) as world:
        await hold_the_law(world, [*first, *steps])


async def hold_the_law(world: World, steps: list[str]) -> None:
    start = world.living[0].log.position
    for step in steps:
        await world.step(step)
    await world.settle()
    got = list(world.living[0].got)
    ids = places(got)
    assert ids == sorted(set(ids)), "they are in order"
    assert len({message.data for message in got}) == len(got), "no message has two ids"
    assert all(process.got == got for process in world.living), "they are the same everywhere"
    of = {message.data: message.id for message in got}
    for speaker in world.speakers:
        assert {data: message_id for data, (message_id, _) in speaker.receipts.items()}.items() <= of.items()
        refused = {data for data, why in speaker.refusals.items() if why.code is ErrorCode.DEGRADED}
        assert not refused & of.keys(), "what is refused is not published"
        answered = speaker.receipts.keys() | speaker.refusals.keys()
        assert len(answered) == len(speaker.receipts) + len(speaker.refusals)
    heard = [data for speaker in world.speakers for data in (*speaker.receipts, *speaker.refusals)]
    assert set(of) - set(heard) <= world.said_by_lost
    assert sorted(heard) == sorted(set(range(1, world.said + 1)) - world.said_by_lost)
    await check_kept(world, start)


def places(got: Sequence[Message]) -> list[MessageId]:
    found = [read_id(message.id) for message in got]
    return [place for place in found if place]


async def check_kept(world: World, start: MessageId) -> None:
    """What was delivered is kept: where there is a store, any range of it can be loaded."""
    log = world.living[0].log
    home = (world.elsewhere or world.living[-1]).log.home  # the successor's, in a handover
    ids = places(world.living[0].got)
    for after, rest in [(start, ids), *((known, ids[place + 1 :]) for place, known in enumerate(ids[:3]))]:
        kept = await loaded(home, after, log.position)
        assert [entry.id for entry in kept.entries] == (rest if world.stores else [])
        assert kept.floor == (after if rest and world.stores else log.position)
    assert [entry.id for entry in log.history.entries()] == ids


async def loaded(home: Home, after: MessageId, until: MessageId) -> Kept:
    """The range; a file may be opened just now, and that may fail though nothing is wrong any more."""
    async with asyncio.timeout(DEADLINE):
        while True:
            try:
                return await home.load(after, until, 1000, 1 << 20)
            except Away:
                await asyncio.sleep(0.005)
