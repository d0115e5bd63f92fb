"""Journals as tests write and damage them."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from wsctl import messages
from wsctl.log.history import MessageId
from wsctl.log.home import Key
from wsctl.log.journal.file import JournalFile
from wsctl.log.journal.rows import Row
from wsctl.log.journal.schema import APPLICATION_ID

FLOOR = (5, 0)
"""Where new journals begin, unless a test says otherwise."""


def open_journal(
    path: Path,
    *,
    most: int = 100,
    most_bytes: int = 1 << 20,
    full: bool = False,
    floor: MessageId = FLOOR,
    ttl: float = 0.0,
) -> JournalFile:
    return JournalFile(str(path), full=full, most=most, most_bytes=most_bytes, floor=floor, ttl=ttl)


def row(n: int, to: tuple[str, ...] | None = None, data: object = None, topic: str | None = None) -> Row:
    """The n-th message: of the n-th millisecond."""
    said = messages.Message(f"{n}-0", 1.5, "x", n if data is None else data, to, topic=topic)
    return Row((n, 0), Key("w", n), to, messages.message(said), topic)


def rows(numbers: Iterable[int]) -> list[Row]:
    return [row(n) for n in numbers]


def write_journal(path: Path, numbers: Iterable[int]) -> None:
    """A whole journal, closed."""
    file = open_journal(path)
    file.append(rows(numbers), taken=FLOOR)
    file.close()


def change(path: Path, *statements: str) -> None:
    """Change a journal that nobody has open, as no server would."""
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


def overwrite(path: Path, at: int, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, data, at)
    finally:
        os.close(fd)


BEFORE_TOPICS = (
    "CREATE TABLE message (place INTEGER PRIMARY KEY, ms INTEGER NOT NULL, sequence INTEGER NOT NULL,"
    " writer TEXT NOT NULL, n INTEGER NOT NULL, addressees TEXT, frame BLOB NOT NULL)",
    "CREATE TABLE floor (ms INTEGER NOT NULL, sequence INTEGER NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    "PRAGMA user_version = 1",
    "INSERT INTO floor VALUES (5, 0)",
)
"""How a journal was made by the release that knew of no topics."""


def write_old_journal(path: Path, numbers: Iterable[int]) -> None:
    """A whole journal of version 1."""
    change(path, *BEFORE_TOPICS)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        for place, each in enumerate(rows(numbers), 1):
            values = place, *each.id, *each.key, None, each.frame
            connection.execute("INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        connection.commit()
