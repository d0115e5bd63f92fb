"""The messages that a log keeps, as operators are shown them."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from wsctl.control.history import MOST_BYTES_LISTED, HistoryQuery, KeptMessages
from wsctl.log.history import Entry
from wsctl.log.message_log import MessageLog, read_id
from wsctl.log.selection import Selection, selection

_EVERY_TOPIC = selection((">",))


def list_history(log: MessageLog, wanted: HistoryQuery) -> KeptMessages:
    """Return messages that a log keeps, but direct ones: these are for their addressees alone."""
    of = selection(wanted.topics, ()) if wanted.topics else _EVERY_TOPIC
    if wanted.since is None:
        newest = _take(_newest_first(log, of), wanted.limit)[0]
        return KeptMessages(tuple(newest[::-1]), more=False, newest_id=log.newest)
    entries, _, recovered, lost = log.history.select(read_id(wanted.since), of)
    found, more = _take((entry for entry in entries if entry.to is None), wanted.limit)
    return KeptMessages(tuple(found), more, log.newest, recovered, lost or None)


def _newest_first(log: MessageLog, of: Selection) -> Iterator[Entry]:
    history = log.history
    names = of.names
    only = not of.everybody and not of.wildcards and len(names) == 1
    entries = history.of(next(iter(names))) if only else history.entries()
    return (entry for entry in reversed(entries) if entry.to is None and entry.topic in of)


def _take(entries: Iterable[Entry], limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the first messages, as far as the bounds of an answer reach, and whether there are others."""
    found: list[dict[str, Any]] = []
    room = MOST_BYTES_LISTED
    for entry in entries:
        (payload,) = entry.batch.payloads
        room -= len(payload)
        if len(found) == limit or (room < 0 and found):
            return found, True
        found.append(json.loads(payload))
    return found, False
