"""Journals as tests write and damage them."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from wsctl import messages
from wsctl.log.history import MessageId
from wsctl.log.home import Key
from wsctl.log.journal.file import JournalFile, Row

FLOOR = (5, 0)
"""Where new journals begin, unless a test says otherwise."""


def open_journal(
    path: Path, *, most: int = 100, most_bytes: int = 1 << 20, full: bool = False, floor: MessageId = FLOOR
) -> JournalFile:
    return JournalFile(str(path), full=full, most=most, most_bytes=most_bytes, floor=floor)


def row(n: int, to: tuple[str, ...] | None = None, data: object = None) -> Row:
    """The n-th message: of the n-th millisecond."""
    said = messages.Message(f"{n}-0", 1.5, "x", n if data is None else data, to)
    return Row((n, 0), Key("w", n), to, messages.message(said))


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
