"""A journal as others look at it, also while a server writes it: nothing is changed, and nobody waits."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any, NamedTuple

from wsctl.log.history import MessageId
from wsctl.log.journal.errors import UnusableJournal, explain
from wsctl.log.journal.file import WAL, address, explaining
from wsctl.log.journal.lock import writer_of
from wsctl.log.journal.rows import WITH_TOPICS, read_row, select
from wsctl.log.journal.schema import VERSION, Found, look_at
from wsctl.log.known_ids import MOST_KNOWN
from wsctl.log.message_log import written

MOST_PROBLEMS = 100
"""Problems of one file that are told: where there are more, the first ones say enough."""


class JournalSummary(NamedTuple):
    """The facts about a journal.

    Attributes:
        version: of its layout.
        file_bytes, wal_bytes: the bytes on the disk: of the file, and of its write-ahead log.
        messages: how many it keeps, `direct` of them with addressees, with `message_bytes` of frames.
        topics: how many topics it keeps messages of.
        floor: the id behind which no message without a topic is missing.
        oldest, newest: ids of what it keeps, None where that is nothing; their first part is when they were
            published, in Unix milliseconds.
        writer: the pid of the server that writes it; None while there is none, 0 where the system does not
            tell.
    """

    version: int
    file_bytes: int
    wal_bytes: int
    messages: int
    message_bytes: int
    direct: int
    topics: int
    floor: MessageId
    oldest: MessageId | None
    newest: MessageId | None
    writer: int | None


def summarize(path: str) -> JournalSummary:
    """Return the facts about a journal.

    Raises:
        UnusableJournal: there is none, or it cannot be read.
    """
    with closing(_open(path)) as connection, explaining():
        select = "SELECT count(*), coalesce(sum(length(frame)), 0), count(addressees) FROM message"
        [(messages, message_bytes, direct)] = connection.execute(select).fetchall()
        [floor] = connection.execute("SELECT ms, sequence FROM floor").fetchall()
        [oldest] = connection.execute(_ENDS.format("ASC")).fetchall() or [None]
        [newest] = connection.execute(_ENDS.format("DESC")).fetchall() or [None]
        version = _version(connection)
        topics = 0
        if version >= WITH_TOPICS:
            [(topics,)] = connection.execute("SELECT count(DISTINCT topic) FROM message").fetchall()
    return JournalSummary(
        version=version,
        file_bytes=_size(path),
        wal_bytes=_size(path + WAL),
        messages=messages,
        message_bytes=message_bytes,
        direct=direct,
        topics=topics,
        floor=floor,
        oldest=oldest,
        newest=newest,
        writer=writer_of(path),
    )


_GONE = "SELECT count(*) FROM given WHERE place BETWEEN ? AND ?"
_NEWEST = (
    "SELECT max(place) FROM (SELECT place FROM message UNION ALL SELECT coalesce(max(place), 0) FROM given)"
)
_PLACES = "SELECT max(place), min(place), count(*) FROM message WHERE place > ?"
_ENDS = "SELECT ms, sequence FROM message ORDER BY place {} LIMIT 1"


def verify(path: str) -> Iterator[str]:
    """Yield what is wrong with a journal, a line each: with the database, the order of its messages, or one
    of them. It reads all of it.

    Raises:
        UnusableJournal: there is none, or it cannot be read at all.
    """
    with closing(_open(path)) as connection:
        try:
            found = connection.execute(f"PRAGMA integrity_check({MOST_PROBLEMS})").fetchall()
            yield from (text for (text,) in found if text != "ok")
            yield from _check_messages(connection)
        except sqlite3.Error as error:
            yield str(explain(error))


def _check_messages(connection: sqlite3.Connection) -> Iterator[str]:
    floors = connection.execute("SELECT ms, sequence FROM floor").fetchall()
    if len(floors) != 1:
        yield f"it has {len(floors)} floors, and not one"
    version = _version(connection)
    if missing := _count_missing(connection, version):
        yield f"{missing} messages are missing between others"
    # Of a topic there may be messages before it.
    newest: MessageId = (0, 0) if version >= WITH_TOPICS else max(floors, default=(0, 0))
    for values in connection.execute(select(version)):
        message_id = values[:2]
        if message_id <= newest:
            yield f"the message {written(message_id)} does not come after {written(newest)}"
        newest = message_id
        if problem := _problem(values):
            yield f"the message {written(message_id)} {problem}"


def _count_missing(connection: sqlite3.Connection, version: int) -> int:
    """Count the places between messages where one should be. With topics it may have gone, which is
    remembered of the newest ones."""
    if version < WITH_TOPICS:
        [(last, first, count)] = connection.execute(_PLACES, (0,)).fetchall()
        return last - first + 1 - count if count else 0
    [(newest,)] = connection.execute(_NEWEST).fetchall()
    [(last, first, count)] = connection.execute(_PLACES, ((newest or 0) - MOST_KNOWN,)).fetchall()
    [(gone,)] = connection.execute(_GONE, (first, last)).fetchall()
    return last - first + 1 - count - gone if count else 0


def _version(connection: sqlite3.Connection) -> int:
    [(version,)] = connection.execute("PRAGMA user_version").fetchall()
    return int(version)


def _problem(values: tuple[Any, ...]) -> str | None:
    """Say what is wrong with one message."""
    try:
        row = read_row(values)
        frame = json.loads(row.frame)
    except (UnusableJournal, ValueError):
        return "cannot be read"
    if not isinstance(frame, dict) or frame.get("type") != "message" or "data" not in frame:
        return "is no message"
    if frame.get("id") != written(row.id):
        return f"has another id in it: {frame.get('id')}"
    if frame.get("topic") != row.topic:
        return f"has another topic in it: {frame.get('topic')}"
    return None if frame.get("to") == (row.to and list(row.to)) else "has other addressees in it"


def _open(path: str) -> sqlite3.Connection:
    if look_at(path) is Found.NOTHING:
        raise UnusableJournal("there is none", "name the file of --journal; a server makes it at its start")
    # Where nobody writes, all is in the file itself. Told so, SQLite makes no files beside it: they would
    # stay, and in a folder that is not ours it cannot make them.
    alone = writer_of(path) is None and not _size(path + WAL)
    with explaining():
        return _connect(address(path, "ro") + ("&immutable=1" if alone else ""))


def _connect(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, isolation_level=None, uri=True)
    try:
        version = _version(connection)
        connection.execute("SELECT 1 FROM floor").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    if version > VERSION:
        connection.close()
        raise UnusableJournal(
            f"it is a journal of version {version}", "look at it with the release that wrote it"
        )
    return connection


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size
    return 0
