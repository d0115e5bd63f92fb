"""The rows of a journal: its messages, in the columns of each version."""

import json
import sqlite3
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from wsctl.frame import Batch
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Key
from wsctl.log.journal.errors import MOVE_DAMAGED, UnusableJournal

ROWS_TOGETHER = (256, 16, 1)
"""Rows of one statement: between two statements this thread waits for the event loop's."""

WITH_TOPICS = 2
"""The version from which on a row has a topic."""

_COLUMNS = {False: "(?, ?, ?, ?, ?, ?, ?)", True: "(?, ?, ?, ?, ?, ?, ?, ?)"}
_SELECT = "SELECT ms, sequence, writer, n, addressees, frame{} FROM message {} ORDER BY place"
_INSERT = {
    (topics, count): " ".join(["INSERT INTO message VALUES", ", ".join([columns] * count)])
    for topics, columns in _COLUMNS.items()
    for count in ROWS_TOGETHER
}


class Row(NamedTuple):
    """A message as a journal keeps it: `frame` is its JSON, `to` is None for everyone, `topic` None where it
    has none. `once` is the idempotency key of one that is written, among those of all senders."""

    id: MessageId
    key: Key
    to: tuple[str, ...] | None
    frame: bytes
    topic: str | None = None
    once: str | None = None

    @property
    def needs_version_2(self) -> bool:
        """True if a journal of version 1 cannot keep it."""
        return self.topic is not None or self.once is not None

    def entry(self) -> Entry:
        return Entry(self.id, Batch((self.frame,)), self.to, self.topic)


def select(version: int, where: str = "") -> str:
    """Return the statement that reads rows in their order, as `read_row` takes them."""
    return _SELECT.format(", topic" if version >= WITH_TOPICS else "", where)


def read_row(values: tuple[Any, ...]) -> Row:
    """Return a message from its columns.

    Raises:
        UnusableJournal: they make no sense.
    """
    ms, sequence, writer, n, addressees, frame, *topic = values
    try:
        to = None if addressees is None else tuple(json.loads(addressees))
        return Row((ms, sequence), Key(writer, n), to, bytes(frame), *topic)
    except (TypeError, ValueError):
        raise UnusableJournal(f"it is damaged (the message {ms}-{sequence})", MOVE_DAMAGED) from None


def insert(connection: sqlite3.Connection, version: int, place: int, rows: Sequence[Row]) -> None:
    """Insert rows at `place` and behind it; those with a topic need a version that has them."""
    topics, at = version >= WITH_TOPICS, 0
    for together in ROWS_TOGETHER:
        while len(rows) - at >= together:
            values = (_values(place + n, rows[n], topics=topics) for n in range(at, at + together))
            connection.execute(_INSERT[topics, together], tuple(chain.from_iterable(values)))
            at += together


def _values(place: int, row: Row, *, topics: bool) -> tuple[Any, ...]:
    to = None if row.to is None else json.dumps(row.to)
    if topics:
        return place, *row.id, *row.key, to, row.frame, row.topic
    return place, *row.id, *row.key, to, row.frame
