"""The file of a journal, as its one writer has it: rows go in and out by whole commits."""

import json
import os
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import chain
from typing import Any, NamedTuple
from urllib.parse import quote

from wsctl.frame import Batch
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Kept, Key
from wsctl.log.journal.errors import MOVE_DAMAGED, UnusableJournal, explain, explain_system
from wsctl.log.journal.lock import FileLock, identity
from wsctl.log.journal.schema import SCHEMA, Found, look_at

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

ROWS_TOGETHER = (256, 16, 1)
"""Rows of one statement: between two statements this thread waits for the event loop's."""

SELECT = "SELECT ms, sequence, writer, n, addressees, frame FROM message {}ORDER BY place"
_OF_WRITERS = "SELECT writer, n, ms, sequence FROM message WHERE writer IN ({})"
_BEHIND = SELECT.format("WHERE (ms, sequence) > (?, ?) ")
_INSERT = {
    count: " ".join(["INSERT INTO message VALUES", ", ".join(["(?, ?, ?, ?, ?, ?, ?)"] * count)])
    for count in ROWS_TOGETHER
}

_abandoned: list[sqlite3.Connection] = []
"""Connections that must not be closed: SQLite would remove a file that is another server's by now."""


class Row(NamedTuple):
    """A message as a journal keeps it: `frame` is its JSON, `to` is None for everyone."""

    id: MessageId
    key: Key
    to: tuple[str, ...] | None
    frame: bytes

    def entry(self) -> Entry:
        return Entry(self.id, Batch((self.frame,)), self.to)


class _Place(NamedTuple):
    id: MessageId
    size: int


class JournalFile:
    """A journal at `path`, open for writing; it keeps at least the newest `most` messages of `most_bytes` in
    all. Only the thread that opened it may use it.

    With `full` a commit also survives the machine's loss of power, and else only the process's end. A new
    journal begins behind `floor`.

    Attributes:
        path: where it is.
        floor: the id behind which no message is missing.
        bytes: the size of the frames kept.

    Raises:
        UnusableJournal: it cannot be written.
    """

    def __init__(self, path: str, *, full: bool, most: int, most_bytes: int, floor: MessageId) -> None:
        look_at(path)  # before a lock is left beside what is no journal
        self.path = path
        self.floor = floor
        self.bytes = 0
        self._most = most
        self._most_bytes = most_bytes
        self._places: deque[_Place] = deque()
        self._next_place = 1
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
        return len(self._places)

    @property
    def newest(self) -> MessageId:
        """The id of the newest message, also of one that is not kept any more."""
        return self._places[-1].id if self._places else self.floor

    @property
    def size(self) -> int:
        """The bytes on the disk, with those of the write-ahead log."""
        return _size(self.path) + _size(self.path + WAL)

    def append(self, rows: Sequence[Row], *, taken: MessageId) -> None:
        """Write messages, in the order of their ids, and let go of the oldest above the bounds; by one
        commit. What is behind `taken` stays.

        Raises:
            UnusableJournal: they are not written; or, where it is not `certain`, perhaps they are.
        """
        if not self.is_in_place():
            raise removed()
        places = [_Place(row.id, len(row.frame)) for row in rows]
        dropped, floor = self._above_bounds(places, taken)
        last = self._next_place - len(self._places) + dropped - 1
        with self._commit() as run:
            self._insert(rows)
            if dropped:
                run("DELETE FROM message WHERE place <= ?", (last,))
                run("UPDATE floor SET ms = ?, sequence = ?", floor)
        self._note(places, dropped, floor)

    def replace(self, floor: MessageId, rows: Sequence[Row]) -> None:
        """Write these messages in place of all that it has.

        Raises:
            UnusableJournal: they are not written, or perhaps not.
        """
        with self._commit() as run:
            run("DELETE FROM message")
            run("UPDATE floor SET ms = ?, sequence = ?", floor)
            self._insert(rows)
        self._places.clear()
        self.bytes = 0
        self._note([_Place(row.id, len(row.frame)) for row in rows], 0, floor)

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
            return [read_row(values) for values in self._connection.execute(_BEHIND, message_id)]

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

    def load(self, after: MessageId, until: MessageId, most: int, most_bytes: int) -> Kept:
        """Return what `Home.load` does.

        Raises:
            UnusableJournal: it cannot be read.
        """
        chosen = [place for place in self._places if after < place.id <= until]
        count = size = 0
        for place in reversed(chosen):
            size += place.size
            if count == most or (count and size > most_bytes):
                break
            count += 1
        if not count:
            return Kept(until, [])
        first = chosen[-count].id
        before = max((place.id for place in self._places if place.id < first), default=self.floor)
        return Kept(before, [row.entry() for row in self.behind(before) if row.id <= until])

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

    def _load(self) -> None:
        """Read where each message is."""
        floors = self._connection.execute("SELECT ms, sequence FROM floor").fetchall()
        if len(floors) != 1:
            raise UnusableJournal("it is damaged (its floor is missing)", MOVE_DAMAGED)
        [self.floor] = floors
        select = "SELECT place, ms, sequence, length(frame) FROM message ORDER BY place"
        for place, ms, sequence, size in self._connection.execute(select):
            if (ms, sequence) <= self.newest or (self._places and place != self._next_place):
                raise UnusableJournal("it is damaged (its messages are not in order)", MOVE_DAMAGED)
            self._next_place = place
            self._note([_Place((ms, sequence), size)], 0, self.floor)

    @contextmanager
    def _commit(self) -> Iterator[Callable[..., object]]:
        """Have all that is run within one transaction; on an error it is rolled back, and explained."""
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
            raise explain(error, committing=committing) from None

    def _insert(self, rows: Sequence[Row]) -> None:
        at = 0
        for together in ROWS_TOGETHER:
            while len(rows) - at >= together:
                values = (_values(self._next_place + n, rows[n]) for n in range(at, at + together))
                self._connection.execute(_INSERT[together], tuple(chain.from_iterable(values)))
                at += together

    def _above_bounds(self, places: Sequence[_Place], taken: MessageId) -> tuple[int, MessageId]:
        """Return how many of the oldest messages go when these come, and the floor from then on."""
        count = len(self._places) + len(places)
        size = self.bytes + sum(place.size for place in places)
        dropped, floor = 0, self.floor
        for place in self._places:
            if place.id > taken or (count <= self._most and size <= self._most_bytes):
                break
            dropped, floor = dropped + 1, place.id
            count, size = count - 1, size - place.size
        return dropped, floor

    def _note(self, places: Sequence[_Place], dropped: int, floor: MessageId) -> None:
        """Note what was written and dropped."""
        self._places.extend(places)
        self._next_place += len(places)
        self.bytes += sum(place.size for place in places)
        for _ in range(dropped):
            self.bytes -= self._places.popleft().size
        self.floor = floor

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


def read_row(values: tuple[Any, ...]) -> Row:
    """Return a message from its columns.

    Raises:
        UnusableJournal: they make no sense.
    """
    ms, sequence, writer, n, addressees, frame = values
    try:
        to = None if addressees is None else tuple(json.loads(addressees))
        return Row((ms, sequence), Key(writer, n), to, bytes(frame))
    except (TypeError, ValueError):
        raise UnusableJournal(f"it is damaged (the message {ms}-{sequence})", MOVE_DAMAGED) from None


def _values(place: int, row: Row) -> tuple[Any, ...]:
    to = None if row.to is None else json.dumps(row.to)
    return place, *row.id, *row.key, to, row.frame


def _size(path: str) -> int:
    with suppress(OSError):
        return os.stat(path).st_size
    return 0
