"""Messages as entries of a stream."""

import json
from typing import Any, NamedTuple

from wsctl import messages
from wsctl.hub.frame import Batch
from wsctl.hub.history import Entry, MessageId
from wsctl.hub.log import Draft, Key, written

Row = Any
"""An entry as Redis answers it: its id, and a list of names and values in turn, all bytes."""


class Taken(NamedTuple):
    """A message out of the log.

    Attributes:
        behind: the newest id of the log before this message was appended.
        elsewhere: for how many clients of other nodes it was then.
    """

    behind: str
    entry: Entry
    key: Key
    elsewhere: int


def arguments(draft: Draft, ts: float) -> tuple[str, int, bytes, bytes]:
    """A draft as `APPEND` takes it; `ts` is when it was published, in Unix seconds.

    Raises:
        ValueError: the data is not JSON.
    """
    to = b"" if draft.to is None else json.dumps(draft.to).encode()
    return *draft.key, to, messages.body(ts, draft.sender, draft.data, draft.to)


def id_of(row: Row) -> MessageId:
    """The id of an entry."""
    return position(row[0].decode())


def position(text: str) -> MessageId:
    """An id as Redis spells it."""
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


def read(row: Row) -> Taken:
    """The message of an entry.

    Raises:
        ValueError: it is an entry that no server of this version wrote.
    """
    found = dict(zip(row[1][::2], row[1][1::2], strict=True))
    try:
        to = tuple(json.loads(found[b"t"])) if found[b"t"] else None
        key = Key(found[b"w"].decode(), int(found[b"n"]))
        message_id = id_of(row)
        body = found[b"m"]
        if not body.startswith(b"{"):
            raise ValueError("no message")
        payload = messages.numbered(written(message_id), body)
        entry = Entry(message_id, Batch((payload,)), to)
        return Taken(found[b"p"].decode(), entry, key, int(found[b"r"]))
    except KeyError as error:
        raise ValueError(f"there is no {error}") from None
    except TypeError as error:
        raise ValueError(str(error)) from None
