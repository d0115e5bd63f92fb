"""Messages as entries of a stream."""

import json
from typing import Any, NamedTuple

from wsctl import messages
from wsctl.frame import Batch
from wsctl.log.history import Entry, MessageId
from wsctl.log.message_log import Draft, Key, read_id, written
from wsctl.log.redis.accounts import read_count, read_json

Row = Any
"""An entry as Redis answers it: its id, and a list of names and values in turn, all bytes."""


class Taken(NamedTuple):
    """A message out of the log.

    Attributes:
        behind: the newest id of the log before this message was appended.
        elsewhere: the number of clients of other nodes that it was for then.
    """

    behind: str
    entry: Entry
    key: Key
    elsewhere: int


def arguments(draft: Draft, ts: float) -> tuple[str, int, bytes, bytes]:
    """Return a draft as `APPEND` takes it; `ts` is when it was published, in Unix seconds.

    Raises:
        ValueError: the data is not JSON.
    """
    to = b"" if draft.to is None else json.dumps(draft.to).encode()
    return *draft.key, to, messages.body(ts, draft.sender, draft.data, draft.to, shown=draft.shown)


def id_of(row: Row) -> MessageId:
    """Return the id of an entry."""
    return position(row[0].decode())


def position(text: str) -> MessageId:
    """Parse an id as Redis spells it."""
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


def read(row: Row) -> Taken:
    """Parse the message of an entry.

    Raises:
        ValueError: no server of this version wrote the entry.
    """
    try:
        return _read(id_of(row), dict(zip(row[1][::2], row[1][1::2], strict=True)))
    except KeyError as error:
        raise ValueError(f"there is no {error}") from None


def _read(message_id: MessageId, found: dict[bytes, bytes]) -> Taken:
    behind = found[b"p"].decode()
    before = read_id(behind)
    if before is None or before >= message_id:
        raise ValueError("p is no earlier id")
    key = Key(found[b"w"].decode(), read_count(found[b"n"]))
    to = _addressees(found[b"t"].decode())
    body = found[b"m"]
    _check(body.decode(), to)
    entry = Entry(message_id, Batch((messages.numbered(written(message_id), body),)), to)
    return Taken(behind, entry, key, read_count(found[b"r"]))


def _addressees(text: str) -> tuple[str, ...] | None:
    found = read_json(text) if text else None
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("t is no list of client ids")
    return tuple(found)


def _check(body: str, to: tuple[str, ...] | None) -> None:
    """Check that the body is a frame without its type and id: clients are sent it as it is."""
    frame = read_json(body)
    if not isinstance(frame, dict) or not body.startswith("{"):
        raise ValueError("m is no object")
    ts, sender = frame.get("ts"), frame.get("from")
    if isinstance(ts, bool) or not isinstance(ts, int | float) or not isinstance(sender, str):
        raise ValueError("m has no ts, or no sender")
    if "data" not in frame or "type" in frame or "id" in frame:
        raise ValueError("m has no data, or a type or an id")
    if frame.get("to") != (None if to is None else list(to)):
        raise ValueError("m names other addressees than t")
