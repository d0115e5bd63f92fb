"""The tables of a journal that are there for topics: what of each is missing, and which ids were given."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping

from wsctl.log.history import MessageId
from wsctl.log.journal.schema import OTHERS
from wsctl.log.known_ids import MOST_KNOWN, KnownIds
from wsctl.log.retention import Floors

_PUT_FLOOR = "INSERT OR REPLACE INTO topic_floor VALUES (?, ?, ?)"
_TOGETHER = 10_000

Run = Callable[..., object]
"""Runs a statement within a transaction."""


def read_floors(connection: sqlite3.Connection, everybody: MessageId) -> Floors:
    """Return the floors of a journal with topics, where messages without one have the floor `everybody`."""
    rows = connection.execute("SELECT topic, ms, sequence FROM topic_floor ORDER BY ms, sequence")
    topics = {topic: (ms, sequence) for topic, ms, sequence in rows}
    return Floors(everybody, topics, topics.pop(OTHERS, everybody))


def read_known(connection: sqlite3.Connection, floors: Floors) -> KnownIds:
    """Return the ids of all messages that are kept, and of those that are not any more, as far as they are
    remembered, and where the journal began."""
    known = KnownIds()
    select = "SELECT ms, sequence FROM given UNION SELECT ms, sequence FROM message ORDER BY ms, sequence"
    rows = connection.execute(select)
    ids: list[MessageId] = rows.fetchmany(_TOGETHER)
    known.extend(sorted({floors.everybody, floors.other, *ids}))
    while ids := rows.fetchmany(_TOGETHER):
        known.extend(ids)
    return known


def write_floors(run: Run, floors: Mapping[str, MessageId], given_up: Iterable[str]) -> None:
    """Write the floors of some topics, and forget those of others; `OTHERS` stands for all that are not
    named."""
    for topic in given_up:
        run("DELETE FROM topic_floor WHERE topic = ?", (topic,))
    for topic, floor in floors.items():
        run(_PUT_FLOOR, (topic, *floor))


def replace_floors(run: Run, floors: Floors) -> None:
    """Write all floors in place of those that there are, and forget which ids were given."""
    run("DELETE FROM given")
    run("DELETE FROM topic_floor")
    write_floors(run, {**floors.topics, OTHERS: floors.other}, ())


def remember(run: Run, places: Iterable[int], newest: int) -> None:
    """Remember the ids of the messages at these places, which go; the newest one is at `newest`."""
    for place in places:
        run("INSERT INTO given SELECT place, ms, sequence FROM message WHERE place = ?", (place,))
    run("DELETE FROM given WHERE place <= ?", (newest - MOST_KNOWN,))
