"""Idempotency keys in a journal: what was published by one is not published again, whatever happened."""

import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.log.journal.test_home import BROKEN_DISK, JournalPeer
from tests.log.test_idempotency import Answers
from tests.support.journals import FLOOR, open_journal, row, write_old_journal
from wsctl.log.idempotency import TTL
from wsctl.log.journal.reader import summarize, verify

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


async def test_a_key_is_known_after_a_restart(path: Path) -> None:
    answers = Answers()
    async with JournalPeer(path).running() as peer:
        answers.publish(peer.log, "first", "k")
        _, first = await answers.answer("first")
    async with JournalPeer(path).running() as peer:
        answers.publish(peer.log, "again", "k")
        answers.publish(peer.log, "of another", "k", "eve")
        assert await answers.answer("again") == ("repeated", first)
        assert (await answers.answer("of another"))[0] == "receipt"
        assert [message.data for message in peer.got] == ["of another"]


async def test_what_was_written_though_nobody_knew_is_not_published_again(path: Path) -> None:
    answers = Answers()
    async with JournalPeer(path).running() as peer:
        peer.disk.fails, peer.disk.writes_first = BROKEN_DISK, True
        answers.publish(peer.log, "unconfirmed", "k")
        assert (await answers.answer("unconfirmed"))[0] == "refused"
        peer.disk.fails = None
        await peer.hears("unconfirmed", "back")
        answers.publish(peer.log, "again", "k")
        assert await answers.answer("again") == ("repeated", peer.got[0].id)
        assert [message.data for message in peer.got] == ["unconfirmed"]
    assert (summarize(str(path)).messages, list(verify(str(path)))) == (1, [])


async def test_what_a_disk_that_hung_has_written_is_not_published_again(path: Path) -> None:
    answers = Answers()
    async with JournalPeer(path).running() as peer:
        peer.disk.hangs = True
        answers.publish(peer.log, "late", "k")
        assert (await answers.answer("late"))[0] == "refused"
        peer.disk.hangs = False
        peer.disk.turns.release()
        await peer.hears("late", "back")
        answers.publish(peer.log, "again", "k")
        assert await answers.answer("again") == ("repeated", peer.got[0].id)


async def test_what_was_not_written_leaves_its_key_unused(path: Path) -> None:
    answers = Answers()
    async with JournalPeer(path).running() as peer:
        peer.disk.fails = BROKEN_DISK
        answers.publish(peer.log, "lost", "k")
        assert (await answers.answer("lost"))[0] == "refused"
        peer.disk.fails = None
        await peer.hears("back")
        answers.publish(peer.log, "again", "k")
        assert (await answers.answer("again"))[0] == "receipt"


def test_keys_survive_the_end_of_their_process_and_are_forgotten_after_their_time(path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tests.support.journals import *
file = open_journal(Path({str(path)!r}))
file.append([row(6)._replace(once="x k"), row(7)._replace(once="y k")], taken=FLOOR)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    with closing(open_journal(path)) as file:
        assert file.seen_keys() == [("x k", 6, 0), ("y k", 7, 0)]
        late = int(TTL * 1000)
        assert file.find_keys({"x k", "y k", "k"}, late + 7) == {"y k": (7, 0)}
        file.append([row(late + 7)._replace(once="z")], taken=FLOOR)
        assert file.seen_keys() == [("y k", 7, 0), ("z", late + 7, 0)]


def test_a_journal_of_the_release_before_gets_keys_with_the_first_message_that_has_one(path: Path) -> None:
    write_old_journal(path, range(6, 10))
    with closing(open_journal(path)) as file:
        file.append([row(10)], taken=FLOOR)
        assert (file.version, file.seen_keys(), file.find_keys({"k"}, 0)) == (1, [], {})
        file.append([row(11)._replace(once="k")], taken=FLOOR)
        assert (file.version, file.seen_keys()) == (2, [("k", 11, 0)])
    assert list(verify(str(path))) == []
