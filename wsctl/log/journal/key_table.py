"""The table of a journal with the idempotency keys of the last minutes: they survive a restart, and tell of
messages that were written though their publishers were told that nobody knows."""

import sqlite3
from collections.abc import Sequence, Set

from wsctl.log.history import MessageId
from wsctl.log.idempotency import TTL
from wsctl.log.journal.rows import Row

_TTL_MS = int(TTL * 1000)


def write_keys(connection: sqlite3.Connection, rows: Sequence[Row]) -> None:
    """Write the keys of messages that are written, and forget old ones."""
    keys = [(row.once, *row.id) for row in rows if row.once is not None]
    if keys:
        connection.executemany("INSERT OR REPLACE INTO seen_key VALUES (?, ?, ?)", keys)
        connection.execute("DELETE FROM seen_key WHERE ms < ?", (rows[-1].id[0] - _TTL_MS,))


def find_keys(connection: sqlite3.Connection, keys: Set[str], now_ms: int) -> dict[str, MessageId]:
    """Return the ids of the messages with these keys that were seen in the last minutes."""
    select = "SELECT key, ms, sequence FROM seen_key WHERE key = ? AND ms >= ?"
    found = (connection.execute(select, (key, now_ms - _TTL_MS)).fetchone() for key in keys)
    return {row[0]: (row[1], row[2]) for row in found if row is not None}


def read_keys(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """Return all keys, the oldest first, each with the id of its message."""
    return connection.execute("SELECT key, ms, sequence FROM seen_key ORDER BY ms, sequence").fetchall()
