"""A journal as others look at it, while a server writes it or not."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.journals import FLOOR, change, open_journal, overwrite, row, rows, write_journal
from wsctl.log.journal.errors import UnusableJournal
from wsctl.log.journal.reader import summarize, verify


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def test_its_facts_are_told(path: Path) -> None:
    with closing(open_journal(path)) as file:
        file.append([*rows(range(6, 16)), row(16, ("bob",))], taken=FLOOR)
        size = file.bytes
    found = summarize(str(path))
    assert (found.version, found.messages, found.direct, found.message_bytes) == (2, 11, 1, size)
    assert (found.floor, found.oldest, found.newest) == (FLOOR, (6, 0), (16, 0))
    assert (found.file_bytes, found.wal_bytes, found.writer) == (path.stat().st_size, 0, None)


def test_one_without_messages_has_no_oldest(path: Path) -> None:
    write_journal(path, ())
    found = summarize(str(path))
    assert (found.messages, found.oldest, found.newest, found.floor) == (0, None, None, FLOOR)


def test_it_can_be_looked_at_while_a_server_writes_it(path: Path) -> None:
    program = f"""
from wsctl.log.journal.reader import *
found = summarize({str(path)!r})
print(found.writer, found.messages, list(verify({str(path)!r})))
"""
    with closing(open_journal(path)) as file:
        file.append(rows(range(6, 16)), taken=FLOOR)
        looked = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert looked.stdout == f"{os.getpid()} 10 []\n"
        file.append([row(16)], taken=FLOOR)


def test_none_at_all_is_an_error(path: Path) -> None:
    with pytest.raises(UnusableJournal, match="there is none"):
        summarize(str(path))
    assert not path.exists()


def test_a_whole_one_has_nothing_wrong(path: Path) -> None:
    write_journal(path, range(6, 300))
    assert list(verify(str(path))) == []


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM floor", "it has 0 floors, and not one"),
        ("DELETE FROM message WHERE place IN (3, 4)", "2 messages are missing between others"),
        ("UPDATE message SET ms = 7 WHERE place = 3", "the message 7-0 does not come after 7-0"),
        ("UPDATE message SET frame = x'7b' WHERE place = 1", "the message 6-0 cannot be read"),
        ("UPDATE message SET frame = x'7b7d' WHERE place = 1", "the message 6-0 is no message"),
        ("UPDATE message SET sequence = 1 WHERE place = 1", "the message 6-1 has another id in it: 6-0"),
        (
            "UPDATE message SET addressees = '[\"bob\"]' WHERE place = 1",
            "the message 6-0 has other addressees in it",
        ),
        ("UPDATE message SET addressees = '[' WHERE place = 1", "the message 6-0 cannot be read"),
    ],
)
def test_what_is_wrong_is_told(path: Path, statement: str, problem: str) -> None:
    write_journal(path, range(6, 16))
    change(path, statement)
    assert problem in list(verify(str(path)))


def test_a_damaged_page_is_told(path: Path) -> None:
    write_journal(path, range(6, 300))
    overwrite(path, 9 * 4096 + 2000, b"\xff" * 2000)
    assert list(verify(str(path)))


def test_looking_at_one_that_nobody_writes_leaves_nothing_beside_it(path: Path) -> None:
    write_journal(path, range(6, 16))
    before = sorted(path.parent.iterdir())
    assert summarize(str(path)).messages == 10
    assert list(verify(str(path))) == []
    assert sorted(path.parent.iterdir()) == before


def test_what_a_server_that_was_killed_has_left_in_the_write_ahead_log_is_seen(path: Path) -> None:
    program = f"""
import os
from pathlib import Path
from tests.support.journals import FLOOR, open_journal, rows
open_journal(Path({str(path)!r})).append(rows(range(6, 16)), taken=FLOOR)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", program], check=True)
    found = summarize(str(path))
    assert (found.messages, found.writer, found.wal_bytes > 0) == (10, None, True)
    assert list(verify(str(path))) == []


def test_one_that_may_not_be_read_is_refused(nobodys: Path) -> None:
    path = nobodys / "journal"
    write_journal(path, range(6, 9))
    path.chmod(0)
    with pytest.raises(UnusableJournal, match="permission denied"):
        summarize(str(path))
