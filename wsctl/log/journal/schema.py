"""The layout of a journal's file, an SQLite database, and what a file is found to be before it is opened.

A message is a row of `message`, in the order of `place`. `floor` has one row: the id behind which no message
without a topic is missing. Version 2 also knows topics: `topic_floor` has the same of each topic of which
something is missing, and in the row without a name of all others; `given` has the ids of messages that are
not kept any more, as far as a log remembers these. `seen_key` has the idempotency keys of the last minutes,
each with its message's id. A file of version 1 becomes one of version 2 with its first message that has a
topic or such a key.
"""

import os
import stat
from enum import Enum, auto
from pathlib import Path

from wsctl.log.journal.errors import UnusableJournal, explain_system

APPLICATION_ID = 0x77736A6C
"""The number by which a journal is told from other databases, `application_id` in SQLite: "wsjl"."""

VERSION = 2
"""The version of this layout, `user_version` in SQLite. A newer one is refused."""

OTHERS = ""
"""The name in `topic_floor` for all topics that are not named there."""

_NEW_TABLES = (
    "CREATE TABLE topic_floor (topic TEXT PRIMARY KEY, ms INTEGER NOT NULL, sequence INTEGER NOT NULL)",
    "CREATE TABLE seen_key (key TEXT PRIMARY KEY, ms INTEGER NOT NULL, sequence INTEGER NOT NULL)",
    "CREATE INDEX seen_key_ms ON seen_key (ms)",
    "CREATE TABLE given (place INTEGER PRIMARY KEY, ms INTEGER NOT NULL, sequence INTEGER NOT NULL)",
    f"PRAGMA user_version = {VERSION}",
)

UPGRADE = (
    "ALTER TABLE message ADD COLUMN topic TEXT",
    *_NEW_TABLES,
    "INSERT INTO topic_floor SELECT '', ms, sequence FROM floor",
)
"""The statements that make one of version 2 of a journal of version 1."""

SCHEMA = (
    """CREATE TABLE message (
        place INTEGER PRIMARY KEY,
        ms INTEGER NOT NULL,
        sequence INTEGER NOT NULL,
        writer TEXT NOT NULL,
        n INTEGER NOT NULL,
        addressees TEXT,
        frame BLOB NOT NULL,
        topic TEXT
    )""",
    "CREATE TABLE floor (ms INTEGER NOT NULL, sequence INTEGER NOT NULL)",
    f"PRAGMA application_id = {APPLICATION_ID}",
    *_NEW_TABLES,
)
"""The statements that make a journal. `frame` is the JSON that clients get, `addressees` a JSON array of
client ids, or NULL for everyone; `writer` and `n` are the key."""

_MAGIC = b"SQLite format 3\0"
_HEADER_BYTES = 100
_USER_VERSION, _APPLICATION_ID = slice(60, 64), slice(68, 72)
"""The places of both numbers in a database's header (https://sqlite.org/fileformat.html, section 1.3)."""

KEEP_IT = "name another file: this one is left as it is"


class Found(Enum):
    """The kinds of things that can be at the path of a journal."""

    NOTHING = auto()
    """No file, or an empty one."""
    JOURNAL = auto()


def look_at(path: str) -> Found:
    """Look at a file without opening it as a database, which would change it.

    Raises:
        UnusableJournal: it is something else, of a newer version, or cannot be read; or it has no folder.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise UnusableJournal("it is not a regular file", "name a file")
        if not status.st_size:
            return Found.NOTHING
        with open(path, "rb") as file:
            header = file.read(_HEADER_BYTES)
    except FileNotFoundError:
        _check_folder(Path(path).absolute().parent)
        return Found.NOTHING
    except OSError as error:
        raise explain_system(error, "read") from None
    _check_header(header)
    return Found.JOURNAL


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise UnusableJournal(f"there is no folder {folder}", "make it, or correct --journal")


def _check_header(header: bytes) -> None:
    if not header.startswith(_MAGIC):
        raise UnusableJournal("it is not a journal", KEEP_IT)
    if int.from_bytes(header[_APPLICATION_ID]) != APPLICATION_ID:
        raise UnusableJournal("it is a database of another program", KEEP_IT)
    version = int.from_bytes(header[_USER_VERSION])
    if version > VERSION:
        what = f"it is a journal of version {version}, and this release knows {VERSION}"
        raise UnusableJournal(what, "serve with the release that wrote it, or name another file")
