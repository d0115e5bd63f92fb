"""A journal as the home of a log: in which order things are written and told, and what happens when the disk
does not do what it should. What all homes have in common is in tests/log/test_home.py."""

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from tests.support.faulty_journal import Disk
from tests.support.journals import open_journal
from tests.support.peer import Speaker
from tests.support.server import DEADLINE
from wsctl.codes import ErrorCode
from wsctl.errors import CannotStart
from wsctl.log import refusals
from wsctl.log.history import MessageId
from wsctl.log.home import Away, Draft, Key
from wsctl.log.journal.errors import MAKE_ROOM, UnusableJournal
from wsctl.log.journal.home import TAKEN_TOGETHER, JournalHome
from wsctl.log.journal.reader import summarize, verify
from wsctl.log.message_log import MessageLog, read_id

pytestmark = pytest.mark.anyio

FULL_DISK = UnusableJournal("its disk is full", MAKE_ROOM)
BROKEN_DISK = UnusableJournal("an error of the disk", "check the disk", certain=False)


class JournalPeer(Speaker):
    """A process whose log has its home in a journal, on a disk that a test can break."""

    def __init__(
        self,
        path: Path,
        disk: Disk | None = None,
        *,
        wall: Callable[[], float] | None = None,
        history: int = 100,
        ttl: float = 0.0,
    ) -> None:
        super().__init__(history=history)
        self.disk = disk or Disk()
        more: dict[str, Any] = {"wall": wall} if wall else {}
        if wall:
            self.log = MessageLog(self._deliver, history, 1 << 20, wall, ttl)
            self.log.observers.append(self)
        self.home = JournalHome(str(path), self.log, full=False, opening=self.disk.opening, **more)  # type: ignore[arg-type]
        self.log.move_to(self.home)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["JournalPeer"]:
        await self.home.begin()
        try:
            yield self
        finally:
            self.disk.hangs = False
            self.disk.turns.release()
            await self.home.end()

    async def hanging(self) -> None:
        """Have the disk hang, with one message in the commit."""
        self.disk.hangs = True
        self.disk.reached.clear()
        self.say("hanging")
        await asyncio.to_thread(self.disk.reached.wait, DEADLINE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def peer(path: Path) -> AsyncIterator[JournalPeer]:
    async with JournalPeer(path).running() as peer:
        yield peer


async def test_nothing_is_delivered_before_it_is_written(peer: JournalPeer) -> None:
    await peer.hanging()
    assert not peer.got
    peer.disk.turns.release()
    assert await peer.read(1) == ["hanging"]


async def test_all_that_waits_is_written_by_one_commit(peer: JournalPeer) -> None:
    await peer.hanging()
    for n in range(50):
        peer.say(n)
    peer.disk.hangs = False
    peer.disk.turns.release()
    assert await peer.read(51) == ["hanging", *range(50)]
    assert peer.disk.commits == [1, 50]


async def test_much_that_was_written_is_taken_piece_by_piece(peer: JournalPeer) -> None:
    await peer.hanging()
    for n in range(3 * TAKEN_TOGETHER):
        peer.say(n)
    peer.disk.hangs = False
    peer.disk.turns.release()
    sizes, count = [], 0
    async with asyncio.timeout(DEADLINE):
        while count < 3 * TAKEN_TOGETHER + 1:
            await asyncio.sleep(0)
            sizes.append(len(peer.got) - count)
            count = len(peer.got)
    assert max(sizes) <= TAKEN_TOGETHER + 1, "beside the one of the commit before"


async def test_the_event_loop_never_waits_for_the_disk(path: Path) -> None:
    """It calls nothing of the system's files and nothing of SQLite, from the beginning to the end."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, call: Any) -> None:
        module = getattr(call, "__module__", None) or type(getattr(call, "__self__", None)).__module__
        if event == "c_call" and module in {"posix", "sqlite3", "_sqlite3", "_io", "fcntl"}:
            name = f"{frame.f_code.co_filename}:{call.__name__}"
            if "/wsctl/" in name:
                found.add(name)

    peer = JournalPeer(path)
    sys.setprofile(note)
    try:
        await peer.home.begin()
        for n in range(300):
            peer.say(n)
        await peer.settle()
        os.unlink(path)
        peer.say("refused")
        await peer.settle()
        await peer.hears("back")
        await peer.home.load((0, 0), peer.log.position, 10, 1000)
        await peer.home.suspend()
        peer.home.resume(())
        peer.say("again")
        await peer.settle()
        await peer.home.end()
    finally:
        sys.setprofile(None)
    assert not found
    assert "again" in peer.told


async def test_a_commit_that_failed_refuses_its_messages(peer: JournalPeer) -> None:
    peer.disk.fails = peer.disk.fails_to_open = FULL_DISK
    peer.say(1)
    await peer.settle()
    assert peer.refusals == {1: refusals.AWAY}
    assert peer.told == ["away"]
    assert peer.home.why == f"the journal {peer.home.path}: its disk is full"
    peer.say(2)
    assert peer.refusals[2] == refusals.AWAY, "while it is away, at once"
    peer.disk.fails = peer.disk.fails_to_open = None
    await peer.hears("back")
    assert peer.home.why is None
    peer.say(3)
    assert await peer.read(1) == [3]
    assert peer.told == ["away", "back", 3]


async def test_what_waits_behind_a_commit_that_failed_is_refused_too(peer: JournalPeer) -> None:
    await peer.hanging()
    peer.say("behind")
    peer.disk.fails = BROKEN_DISK
    peer.disk.turns.release()
    await peer.settle()
    assert {data: why.code for data, why in peer.refusals.items()} == {
        "hanging": ErrorCode.UNCONFIRMED,
        "behind": ErrorCode.DEGRADED,
    }


async def test_a_message_of_which_nobody_knew_is_delivered_when_it_is_found(peer: JournalPeer) -> None:
    peer.disk.fails, peer.disk.writes_first = BROKEN_DISK, True
    peer.say("found")
    await peer.settle()
    assert peer.refusals["found"].code is ErrorCode.UNCONFIRMED
    peer.disk.fails = None
    await peer.hears("found", "back")
    peer.say("next")
    assert await peer.read(2) == ["found", "next"]
    assert not peer.receipts.keys() & {"found"}


async def test_a_disk_that_hangs_is_told_in_time(peer: JournalPeer) -> None:
    await peer.hanging()
    peer.say("waits")
    await peer.settle()
    assert peer.refusals["hanging"] == refusals.UNCONFIRMED
    assert peer.refusals["waits"] in (refusals.LATE, refusals.AWAY), "which of them, the millisecond tells"
    await peer.hears("away")
    assert peer.home.why == f"the journal {peer.home.path}: a commit takes longer than 1 s"
    peer.disk.hangs = False
    peer.disk.turns.release()
    await peer.hears("hanging", "back")
    assert [message.data for message in peer.got] == ["hanging"]


async def test_no_more_wait_than_may(peer: JournalPeer) -> None:
    await peer.hanging()
    for n in range(refusals.MOST_WAITING):
        peer.say(n)
    assert peer.refusals == {refusals.MOST_WAITING - 1: refusals.FULL}
    assert peer.home.waiting == refusals.MOST_WAITING


async def test_a_clock_that_is_set_back_does_not_reorder_ids(path: Path) -> None:
    ids: list[MessageId] = []
    for now in (2000.0, 1500.0, 1000.0):
        async with JournalPeer(path, wall=partial(float, now)).running() as peer:
            peer.say(1)
            peer.say(2)
            await peer.settle()
            ids += [read_id(each.id) or (0, 0) for each in peer.got]
    assert ids == [(2_000_000, n) for n in range(1, 7)]


async def test_a_new_journal_begins_behind_the_clock(path: Path) -> None:
    async with JournalPeer(path, wall=lambda: 3000.0).running() as peer:
        assert peer.log.position == (3_000_000, 0)
    async with JournalPeer(path, wall=lambda: 9000.0).running() as peer:
        assert peer.log.position == (3_000_000, 0), "and stays where it was: nothing is missing since"


def missed(peer: JournalPeer, since: str, client_id: str) -> list[object] | None:
    found, recovered, _ = peer.log.missed(since, client_id)
    return list(found) if recovered else None


async def test_a_client_that_has_seen_the_newest_misses_nothing_after_a_restart(path: Path) -> None:
    async with JournalPeer(path).running() as peer:
        peer.say(1)
        peer.say(2, ("bob",))
        await peer.settle()
        seen = [each.id for each in peer.got]
    async with JournalPeer(path).running() as peer:
        assert missed(peer, seen[1], "bob") == []
        assert len(missed(peer, seen[0], "bob") or []) == 1
        assert missed(peer, seen[0], "eve") == []
        assert missed(peer, "1-1", "bob") is None
        peer.say(3)
        assert await peer.read(1) == [3]


async def test_a_client_that_saw_a_busy_topic_last_recovers_a_quiet_one_after_a_restart(path: Path) -> None:
    async with JournalPeer(path, history=5).running() as peer:
        for n, topic in enumerate(["busy"] * 10 + ["quiet"] + ["busy"] * 10):
            peer.say(n, topic=topic)
            await peer.settle()
        seen = peer.got[3].id
    async with JournalPeer(path, history=5).running() as peer:
        found, recovered, lost = peer.log.missed(seen, "bob", ["quiet"])
        assert ([batch.wire for batch in found] != [], recovered, lost) == (True, True, ())
        assert peer.log.missed(seen, "bob", [">"]).lost == ("busy",)
        assert peer.log.missed("1-1", "bob", [">"]).lost == (">",)


async def test_what_becomes_too_old_goes_from_the_file_while_nothing_is_published(path: Path) -> None:
    now = [1000.0]
    peer = JournalPeer(path, wall=lambda: now[0], ttl=60.0)
    async with peer.running():
        peer.say(1, topic="a")
        await peer.settle()
        now[0] = 1100.0
        peer.log.expire()
        assert len(peer.log.history) == 0
        await peer.until_true(lambda: list(verify(str(path))) == [] and summarize(str(path)).messages == 0)


async def test_a_smaller_history_forgets_what_is_older(path: Path) -> None:
    async with JournalPeer(path).running() as peer:
        for n in range(20):
            peer.say(n)
        await peer.settle()
        ids = [each.id for each in peer.got]
    async with JournalPeer(path, history=5).running() as peer:
        assert missed(peer, ids[13], "bob") is None
        assert len(missed(peer, ids[14], "bob") or []) == 5
        peer.say(20)
        await peer.settle()
        peer.say(21)
        await peer.settle()
    with closing(open_journal(path)) as file:
        assert len(file) <= 6


async def test_it_cannot_start_with_what_cannot_be_used(path: Path) -> None:
    os.mkdir(path)
    with pytest.raises(CannotStart) as failure:
        await JournalPeer(path).home.begin()
    said = f"--journal {path}: it is not a regular file; name a file"
    assert str(failure.value) == said


async def test_what_was_published_before_the_end_is_written(path: Path) -> None:
    async with JournalPeer(path).running() as peer:
        for n in range(200):
            peer.say(n)
    assert peer.receipts.keys() == set(range(200))
    peer.say("late")
    assert peer.refusals == {"late": refusals.AWAY}


async def test_two_never_write(path: Path) -> None:
    async with JournalPeer(path).running() as first:
        with pytest.raises(CannotStart, match=f"the process {os.getpid()} writes it"):
            await JournalPeer(path).home.begin()
        point = await first.home.suspend()
        second = JournalPeer(path)
        second.home.resume_at(point, ())
        second.say(1)
        await second.settle()
        first.home.resume(())
        await first.hears("away")
        assert "writes it" in (first.home.why or "")
        await second.home.suspend()
        await first.hears(1, "back")


async def test_one_that_cannot_be_closed_in_time_goes_on(peer: JournalPeer) -> None:
    await peer.hanging()
    with pytest.raises(Away, match="cannot be closed"):
        await peer.home.suspend()
    peer.home.resume(())
    peer.log.move_to(peer.home)
    peer.disk.hangs = False
    peer.disk.turns.release()
    await peer.hears("hanging")
    peer.say(1)
    assert await peer.read(2) == ["hanging", 1]


async def test_a_successor_says_that_what_was_away_is_back(path: Path) -> None:
    async with JournalPeer(path).running() as first:
        first.disk.fails = first.disk.fails_to_open = FULL_DISK
        first.say(1)
        await first.hears("away")
        point = await first.home.suspend()
        second = JournalPeer(path)
        second.home.resume_at(point, ())
        assert second.home.why
        await second.hears("back")
        await second.home.end()


async def test_a_draft_that_comes_again_is_written_once(peer: JournalPeer) -> None:
    answers: list[tuple[str, int]] = []
    refused: list[object] = []
    key = Key("other", 1)
    for again in (False, True):
        peer.log.append(
            "x", "hi", None, lambda *told: answers.append(told), refused=refused.append, key=key, again=again
        )
        await peer.until_true(lambda: not peer.log.drafts)
    assert [message.data for message in peer.got] == ["hi"]
    assert answers == [(peer.got[0].id, 0)] * 2
    assert not refused


async def test_a_draft_that_comes_again_while_it_is_written_is_written_once(peer: JournalPeer) -> None:
    await peer.hanging()
    peer.log.move_to(peer.home)
    peer.disk.hangs = False
    peer.disk.turns.release()
    await peer.settle()
    peer.say("next")
    assert await peer.read(2) == ["hanging", "next"]


async def test_what_may_be_written_elsewhere_is_refused_as_unconfirmed(peer: JournalPeer) -> None:
    peer.disk.fails = peer.disk.fails_to_open = FULL_DISK
    peer.say(1)
    await peer.hears("away")
    refused: list[Any] = []
    peer.log.append("x", 2, refused=refused.append, key=Key("other", 1), again=True)
    assert [why.code for why in refused] == [ErrorCode.UNCONFIRMED]


async def test_commits_are_counted(path: Path) -> None:
    peer, commits = JournalPeer(path), list[tuple[float, int]]()
    peer.home.committed = lambda seconds, messages: commits.append((seconds, messages))
    async with peer.running():
        assert peer.home.bytes > 0
        peer.say(1)
        await peer.settle()
        peer.say(2)
        await peer.settle()
        await asyncio.sleep(0)
    assert [count for _, count in commits] == [1, 1]
    assert all(0 < seconds < DEADLINE for seconds, _ in commits)


async def test_one_thread_writes(path: Path) -> None:
    async with JournalPeer(path).running() as peer:
        peer.say(1)
        await peer.settle()
        assert [each.name for each in threading.enumerate()].count("wsctl journal") == 1
    await peer.until_true(lambda: "wsctl journal" not in [each.name for each in threading.enumerate()])


async def test_while_it_is_closed_nothing_can_be_loaded(path: Path) -> None:
    peer = JournalPeer(path)
    with pytest.raises(Away, match="is not open"):
        await peer.home.load((0, 0), (9, 0), 1, 1)


async def test_a_log_that_moves_here_brings_what_it_has(path: Path) -> None:
    """As from a process of an older release, whose home was its memory."""
    peer = JournalPeer(path)
    before = Speaker()
    for n in range(3):
        before.say(n)
    history = before.log.history
    peer.log.restore(before.log.position, history.floor, history.entries())
    peer.log.append("x", 3)
    await peer.settle()
    assert await peer.read(1) == [3]
    await peer.home.end()
    with closing(open_journal(path)) as file:
        assert len(file) == 4
        assert file.floor == history.floor


def test_a_draft_has_what_a_journal_needs() -> None:
    queued = {"key", "sender", "data", "to", "again", "shown", "topic", "idempotency_key", "traceparent"}
    assert queued == set(Draft._fields)
