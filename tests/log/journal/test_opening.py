"""The opening of a journal, and what becomes of a file that has less or more than the log."""

import os
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.journals import FLOOR, open_journal, row, rows, write_journal
from wsctl.log.journal.errors import UnusableJournal
from wsctl.log.journal.opening import ROOM, Opening
from wsctl.log.journal.rows import Row
from wsctl.log.message_log import MessageLog


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def log_with(numbers: Sequence[int]) -> MessageLog:
    """A log that has these messages behind `FLOOR`."""
    log = MessageLog(lambda entry: 0, 100, 1 << 20, wall=lambda: 1.0)
    entries = [each.entry() for each in rows(numbers)]
    log.restore(entries[-1].id if entries else FLOOR, FLOOR, entries)
    return log


def opened(path: Path, log: MessageLog, *, first: bool = False) -> tuple[list[int], list[int]]:
    """What the file has then, and what of it the log does not have."""
    file, unknown = Opening(str(path), log, full=False, first=first, was_full=False).open()
    with closing(file):
        return numbers(file.behind((0, 0))), numbers(unknown)


def numbers(found: Sequence[Row]) -> list[int]:
    return [each.id[0] for each in found]


def test_the_first_one_takes_all_that_the_file_has(path: Path) -> None:
    write_journal(path, range(6, 10))
    assert opened(path, log_with([]), first=True) == ([6, 7, 8, 9], [6, 7, 8, 9])


def test_a_later_one_takes_what_others_have_written(path: Path) -> None:
    write_journal(path, range(6, 10))
    assert opened(path, log_with([6, 7])) == ([6, 7, 8, 9], [8, 9])


def test_a_file_that_is_gone_gets_what_the_log_has(path: Path) -> None:
    assert opened(path, log_with([6, 7])) == ([6, 7], [])


def test_an_older_file_gets_what_the_log_has(path: Path) -> None:
    write_journal(path, [6])
    assert opened(path, log_with([6, 7])) == ([6, 7], [])


def test_a_file_of_a_log_without_messages_stays_where_that_is(path: Path) -> None:
    assert opened(path, log_with([])) == ([], [])
    with closing(open_journal(path, floor=(99, 0))) as file:
        assert file.newest == FLOOR


def test_after_a_full_disk_there_must_be_some_room(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_journal(path, [6])
    found = os.statvfs(path.parent)

    def free(size: int) -> None:
        blocks = list(found)
        blocks[1], blocks[4] = 1, size
        monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(blocks))

    opening = Opening(str(path), log_with([6]), full=False, first=False, was_full=True)
    free(ROOM - 1)
    with pytest.raises(UnusableJournal, match="its disk is full"):
        opening.open()
    free(ROOM)
    opening.open()[0].close()


def test_a_file_that_cannot_be_read_is_closed_again(path: Path) -> None:
    log = log_with([6])
    log.history.restore(FLOOR, [row(6, ("x",)).entry()])
    write_journal(path, [6, 7])
    with closing(open_journal(path)) as file:
        file._connection.execute("UPDATE message SET addressees = '[' WHERE place = 2")
    with pytest.raises(UnusableJournal, match="it is damaged"):
        opened(path, log)
    open_journal(path).close()
