"""The file of a journal, as its one writer has it: rows go in and out by whole commits."""

import os
import sqlite3
from collections.abc import Iterator, Sequence, Set
from contextlib import ExitStack, closing, contextmanager, suppress
from typing import NamedTuple
from urllib.parse import quote

from wsctl.log.history import MessageId
from wsctl.log.home import Kept, Key
from wsctl.log.journal.errors import MOVE_DAMAGED, UnusableJournal, explain, explain_system
from wsctl.log.journal.key_table import find_keys, read_keys, write_keys
from wsctl.log.journal.lock import FileLock, identity
from wsctl.log.journal.rows import WITH_TOPICS, Row, insert, read_row, select
from wsctl.log.journal.schema import OTHERS, SCHEMA, UPGRADE, VERSION, Found, look_at
from wsctl.log.journal.topic_tables import (
    Run,
    read_floors,
    read_known,
    remember,
    replace_floors,
    write_floors,
)
from wsctl.log.known_ids import KnownIds
from wsctl.log.retention import Floors, Retention

WAL = "-wal"
SHARED_MEMORY = "-shm"
"""The endings of the files that SQLite has beside a database."""

NEW = "-new"
"""The ending of a journal that is being made."""

WAL_BYTES = 16 << 20
"""Bytes of the write-ahead log from which on its pages are written into the file (a checkpoint). Most of them
are the same few: the rarer it is done, the less it costs a message."""

BUSY_TIMEOUT = 1.0
"""Seconds that SQLite waits for another program that has locked the file."""

_OF_WRITERS = "SELECT writer, n, ms, sequence FROM message WHERE writer IN ({})"
_PLACES = {
    True: "SELECT place, ms, sequence, length(frame), topic FROM message ORDER BY place",
    False: "SELECT place, ms, sequence, length(frame), NULL FROM message ORDER BY place",
}
_BEHIND = "WHERE (ms, sequence) > (?, ?)"

_abandoned: list[sqlite3.Connection] = []
"""Connections that must not be closed: SQLite would remove a file that is another server's by now."""


class _Place(NamedTuple):
    id: MessageId
    topic: str | None
    place: int


class JournalFile:
    """A journal at `path`, open for writing; of each topic it keeps at least the newest `most` messages,
    younger than `ttl` seconds, of `most_bytes` of all. Only the thread that opened it may use it.

    With `full` a commit also survives the machine's loss of power, and else only the process's end. A new
    journal begins behind `floor`.

    Attributes:
        path: where it is.
        version: of its layout.

    Raises:
        UnusableJournal: it cannot be written.
    """

    def __init__(
        self,
        path: str,
        *,
        full: bool,
        most: int,
        most_bytes: int,
        floor: MessageId,
        ttl: float = 0.0,
    ) -> None:
        look_at(path)  # before a lock is left beside what is no journal
        self.path = path
        self.version = VERSION
        self._given_up: list[str] = []
        self._kept = Retention[_Place](floor, most, most_bytes, ttl, give_up=self._given_up.append)
        with ExitStack() as stack:
            self._lock = FileLock(path)
            stack.callback(self._lock.release)
            self._connection = _connect(path, floor, full=full)
            stack.callback(self._connection.close)
            with explaining():
                self._load()
            with self._commit() as run:
                run("UPDATE floor SET ms = ms")  # that nothing but a commit shows: there is room
            self.checkpoint()
            self._files = self._identities()
            if None in self._files:
                raise removed()
            stack.pop_all()

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """The size of the frames kept."""
        return self._kept.bytes

    @property
    def floor(self) -> MessageId:
        """The id behind which no message is missing."""
        return self._kept.floor

    @property
    def newest(self) -> MessageId:
        """The id of the newest message, also of one that is not kept any more."""
        return self._kept.position

    @property
    def size(self) -> int:
        """The bytes on the disk, with those of the write-ahead log."""
        return _size(self.path) + _size(self.path + WAL)

    def floors(self) -> Floors:
        """Return the ids behind which nothing is missing, of all topics."""
        return self._kept.floors()

    def known_ids(self) -> KnownIds | None:
        """Return the ids that are known, also of messages that are not kept any more; None where these are
        not remembered, since there are no topics.

        Raises:
            UnusableJournal: they cannot be read.
        """
        with explaining():
            return read_known(self._connection, self.floors()) if self._knows_topics else None

    def append(self, rows: Sequence[Row], *, taken: MessageId) -> None:
        """Write messages, in the order of their ids, and let go of those above the bounds; by one commit.
        What is behind `taken` stays.

        Raises:
            UnusableJournal: they are not written; or, where it is not `certain`, perhaps they are.
        """
        if not self.is_in_place():
            raise removed()
        first, other = self._next_place, self._kept.other_floor
        self._note(rows)
        dropped = self._kept.trim(taken)
        if rows:
            dropped += self._kept.expire(rows[-1].id[0], taken)
        with self._commit() as run:
            self._require_version(rows)
            insert(self._connection, self.version, first, rows)
            if self._knows_topics:
                write_keys(self._connection, rows)
            if dropped:
                self._drop(run, dropped, other)

    def expire(self, now_ms: int, *, taken: MessageId) -> None:
        """Let go of messages that are older than `ttl` at `now_ms`, in Unix milliseconds.

        Raises:
            UnusableJournal: that is not written, or perhaps not.
        """
        other = self._kept.other_floor
        if dropped := self._kept.expire(now_ms, taken):
            with self._commit() as run:
                self._drop(run, dropped, other)
            self.checkpoint()

    def replace(self, floors: Floors, rows: Sequence[Row]) -> None:
        """Write these messages in place of all that it has.

        Raises:
            UnusableJournal: they are not written, or perhaps not.
        """
        with self._commit() as run:
            run("DELETE FROM message")
            run("UPDATE floor SET ms = ?, sequence = ?", floors.everybody)
            self._require_version(rows, topics=bool(floors.topics))
            if self._knows_topics:
                replace_floors(run, floors)
            insert(self._connection, self.version, self._next_place, rows)
        self._kept.restore(floors, floors.newest)
        self._note(rows)

    def checkpoint(self) -> bool:
        """Write what is in the write-ahead log into the file, if that is much; return whether it was.

        Raises:
            UnusableJournal: it failed. No message is lost by that.
        """
        if _size(self.path + WAL) < WAL_BYTES:
            return False
        with explaining():
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return True

    def behind(self, message_id: MessageId) -> list[Row]:
        """Return the messages behind an id, oldest first.

        Raises:
            UnusableJournal: they cannot be read.
        """
        with explaining():
            rows = self._connection.execute(select(self.version, _BEHIND), message_id)
            return [read_row(values) for values in rows]

    def find(self, keys: Set[Key]) -> dict[Key, MessageId]:
        """Return the ids of those messages with these keys that are kept.

        Raises:
            UnusableJournal: they cannot be read.
        """
        writers = sorted({key.writer for key in keys})
        select = _OF_WRITERS.format(", ".join("?" * len(writers)))
        with explaining():
            found = self._connection.execute(select, writers).fetchall()
        return {key: (ms, sequence) for *key_of, ms, sequence in found if (key := Key(*key_of)) in keys}

    def find_keys(self, keys: Set[str], now_ms: int) -> dict[str, MessageId]:
        """Return the ids of the messages that had these idempotency keys lately.

        Raises:
            UnusableJournal: they cannot be read.
        """
        with explaining():
            return find_keys(self._connection, keys, now_ms) if self._knows_topics else {}

    def seen_keys(self) -> list[tuple[str, int, int]]:
        """Return the idempotency keys that were seen lately, the oldest first, each with its message's id.

        Raises:
            UnusableJournal: they cannot be read.
        """
        with explaining():
            return read_keys(self._connection) if self._knows_topics else []

    def load(self, after: MessageId, until: MessageId, most: int, most_bytes: int) -> Kept:
        """Return what `Home.load` does.

        Raises:
            UnusableJournal: it cannot be read.
        """
        chosen = [(place.id, size) for place, size in self._kept.sized_behind(after) if place.id <= until]
        count = size = 0
        for _, more in reversed(chosen):
            size += more
            if count == most or (count and size > most_bytes):
                break
            count += 1
        if not count:
            return Kept(until, [])
        first = chosen[-count][0]
        before = max((place.id for place in self._kept if place.id < first), default=self.floor)
        entries = [row.entry() for row in self.behind(before) if first <= row.id <= until]
        return Kept(max(before, self.floor), entries)

    def is_in_place(self) -> bool:
        """Tell whether what is written is found at the path: into a file that was removed, SQLite goes on to
        write."""
        return self._lock.is_in_place and self._identities() == self._files

    def close(self) -> None:
        """Close the file, which another server may open then."""
        wal = identity(self.path + WAL)
        if wal is not None and wal not in self._files:
            _abandoned.append(self._connection)
        else:
            with suppress(sqlite3.Error):
                self._connection.close()
        self._lock.release()

    @property
    def _knows_topics(self) -> bool:
        return self.version >= WITH_TOPICS

    def _load(self) -> None:
        """Read where each message is."""
        run = self._connection.execute
        [(self.version,)] = run("PRAGMA user_version").fetchall()
        everybody = run("SELECT ms, sequence FROM floor").fetchall()
        if len(everybody) != 1:
            raise UnusableJournal("it is damaged (its floor is missing)", MOVE_DAMAGED)
        floors, self._next_place = Floors(everybody[0], {}, everybody[0]), 1
        if self._knows_topics:
            floors = read_floors(self._connection, everybody[0])
            [(self._next_place,)] = run("SELECT coalesce(max(place), 0) + 1 FROM given").fetchall()
        newest, kept = (0, 0), self._kept
        kept.restore(floors, floors.newest)
        for place, ms, sequence, size, topic in run(_PLACES[self._knows_topics]):
            if (ms, sequence) <= max(newest, floors.of(topic)) or not self._may_follow(place, kept):
                raise UnusableJournal("it is damaged (its messages are not in order)", MOVE_DAMAGED)
            newest = ms, sequence
            kept.add(_Place(newest, topic, place), size)
            self._next_place = max(self._next_place, place + 1)  # the newest may have gone before older ones
        kept.position = max(kept.position, floors.newest)

    def _may_follow(self, place: int, kept: Retention[_Place]) -> bool:
        """Tell whether a message may be at a place, as the next one: where there are no topics, none before
        it has gone."""
        return self._knows_topics or not len(kept) or place == self._next_place

    @contextmanager
    def _commit(self) -> Iterator[Run]:
        """Have all that is run within one transaction; on an error it is rolled back, and explained, and what
        is known of the file is what is in it."""
        run = self._connection.execute
        committing = False
        try:
            run("BEGIN IMMEDIATE")
            yield run
            committing = True
            run("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                run("ROLLBACK")
            with suppress(sqlite3.Error, UnusableJournal):
                self._load()
            raise explain(error, committing=committing) from None

    def _require_version(self, rows: Sequence[Row], *, topics: bool = False) -> None:
        """Make the layout one that has topics, if there are any, within a transaction."""
        if not self._knows_topics and (topics or any(row.needs_version_2 for row in rows)):
            for statement in UPGRADE:
                self._connection.execute(statement)
            self.version = VERSION

    def _note(self, rows: Sequence[Row]) -> None:
        """Note messages at the next places."""
        places = [_Place(row.id, row.topic, place) for place, row in enumerate(rows, self._next_place)]
        self._kept.extend(places, [len(row.frame) for row in rows])
        self._next_place += len(rows)

    def _drop(self, run: Run, dropped: Sequence[_Place], other: MessageId) -> None:
        """Delete messages, and write what is missing from then on; `other` was the floor of all topics that
        are not known."""
        kept = self._kept
        if kept.is_plain:
            run("DELETE FROM message WHERE place <= ?", (dropped[-1].place,))
            run("UPDATE floor SET ms = ?, sequence = ?", kept.floor_of(None))
            return
        remember(run, (each.place for each in dropped), self._next_place - 1)
        for each in dropped:
            run("DELETE FROM message WHERE place = ?", (each.place,))
        topics = {each.topic for each in dropped}
        if None in topics:
            run("UPDATE floor SET ms = ?, sequence = ?", kept.floor_of(None))
        moved = {topic: kept.floor_of(topic) for topic in topics if topic is not None}
        if kept.other_floor != other:
            moved[OTHERS] = kept.other_floor
        write_floors(run, moved, self._given_up)
        self._given_up.clear()

    def _identities(self) -> list[tuple[int, int] | None]:
        return [identity(self.path + ending) for ending in ("", WAL, SHARED_MEMORY)]


def removed() -> UnusableJournal:
    cure = "leave it: what the server has goes into a new one"
    return UnusableJournal("its file, or one beside it, was removed or replaced", cure)


def _connect(path: str, floor: MessageId, *, full: bool) -> sqlite3.Connection:
    """Open a journal, or make one that begins behind `floor`."""
    try:
        if look_at(path) is Found.NOTHING:
            _create(path, floor)
        # SQLite would open one that it may only read, and leave files beside it that nobody can write.
        os.close(os.open(path, os.O_RDWR))
    except OSError as error:
        raise explain_system(error) from None
    with explaining():
        connection = sqlite3.connect(address(path, "rw"), BUSY_TIMEOUT, isolation_level=None, uri=True)
        try:
            _configure(connection, full=full)
        except BaseException:
            connection.close()
            raise
    return connection


def _create(path: str, floor: MessageId) -> None:
    """Make a journal that only the server's user can read; it is there as a whole, or not at all."""
    made = path + NEW
    for left in (made, path + WAL, path + SHARED_MEMORY):
        with suppress(FileNotFoundError):
            os.unlink(left)  # a write-ahead log without its file would be taken for the new one's
    os.close(os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with explaining(), closing(sqlite3.connect(address(made, "rw"), isolation_level=None, uri=True)) as new:
        new.execute("BEGIN IMMEDIATE")
        for statement in SCHEMA:
            new.execute(statement)
        new.execute("INSERT INTO floor VALUES (?, ?)", floor)
        write_floors(new.execute, {OTHERS: floor}, ())
        new.execute("COMMIT")
    os.rename(made, path)
    folder = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _configure(connection: sqlite3.Connection, *, full: bool) -> None:
    [(mode,)] = connection.execute("PRAGMA journal_mode = WAL").fetchall()
    if mode != "wal":
        raise UnusableJournal("its file system cannot share memory", "name a file on a disk of this machine")
    for name, value in (
        ("synchronous", "FULL" if full else "NORMAL"),
        ("fullfsync", int(full)),  # macOS, whose fsync leaves data in the disk's cache
        ("checkpoint_fullfsync", int(full)),
        ("wal_autocheckpoint", 0),  # `checkpoint` does it
        ("journal_size_limit", 0),  # once it is in the file, so that its size tells what is not
    ):
        connection.execute(f"PRAGMA {name} = {value}").fetchall()


def address(path: str, mode: str) -> str:
    """Return the URI by which SQLite opens a file and never makes one."""
    return f"file:{quote(os.path.abspath(path))}?mode={mode}"


@contextmanager
def explaining() -> Iterator[None]:
    """Raise `UnusableJournal` for an error of SQLite."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error) from None


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size
    return 0
