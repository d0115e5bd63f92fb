"""The words for what is wrong with a journal."""

import errno
import os
import sqlite3

import pytest

from wsctl.log.journal.errors import MAKE_ROOM, READ_ONLY, explain, explain_system


def sqlite_error(name: str) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("what SQLite says")
    error.sqlite_errorname = name
    return error


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("SQLITE_FULL", "its disk is full"),
        ("SQLITE_CORRUPT", "it is damaged (what SQLite says)"),
        ("SQLITE_NOTADB", "it is damaged (what SQLite says)"),
        ("SQLITE_READONLY_DIRECTORY", "it cannot be written (what SQLite says)"),
        ("SQLITE_CANTOPEN", "it cannot be written (what SQLite says)"),
        ("SQLITE_BUSY", "another program has locked it"),
        ("SQLITE_IOERR_FSYNC", "an error of the disk (SQLITE_IOERR_FSYNC)"),
        ("SQLITE_ERROR", "what SQLite says"),
        ("", "what SQLite says"),
    ],
)
def test_what_sqlite_says_is_said_in_words(name: str, said: str) -> None:
    found = explain(sqlite_error(name))
    assert str(found) == said
    assert found.cure
    assert found.certain, "before a commit nothing is written"


@pytest.mark.parametrize(
    ("name", "certain"),
    [("SQLITE_FULL", True), ("SQLITE_IOERR_WRITE", False), ("SQLITE_IOERR_FSYNC", False)],
)
def test_only_of_a_full_disk_it_is_certain_that_a_commit_wrote_nothing(name: str, certain: bool) -> None:
    assert explain(sqlite_error(name), committing=True).certain is certain


@pytest.mark.parametrize(
    ("number", "said", "cure"),
    [
        (errno.ENOSPC, "its disk is full", MAKE_ROOM),
        (errno.EDQUOT, "its disk is full", MAKE_ROOM),
        (errno.EACCES, "it cannot be written (permission denied)", READ_ONLY),
        (errno.EROFS, "it cannot be written (read-only file system)", READ_ONLY),
    ],
)
def test_what_the_system_says_is_said_in_words(number: int, said: str, cure: str) -> None:
    found = explain_system(OSError(number, os.strerror(number)))
    assert (str(found), found.cure) == (said, cure)
    assert found.is_full is (cure == MAKE_ROOM)


def test_what_is_only_looked_at_cannot_be_read() -> None:
    found = explain_system(OSError(errno.EACCES, "Permission denied"), "read")
    assert str(found) == "it cannot be read (permission denied)"
