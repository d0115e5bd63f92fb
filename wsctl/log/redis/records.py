"""The records that nodes keep in Redis: messages as entries of a stream, and what nodes tell of themselves
and of their clients.

Anybody may have written one: it is parsed completely, or skipped, counted, and the first of a kind logged.
"""

import json
import logging
from collections.abc import Iterable
from typing import Any, NamedTuple

from wsctl import client_ids, messages
from wsctl.frame import Batch
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Draft, Key, RemoteConnection, body_of
from wsctl.log.message_log import read_id, written
from wsctl.topics import topic_name, topic_pattern

Account = dict[str, Any]

MOST_DIGITS = 16
"""Digits of a whole number: 2 to the power of 53 has so many, beyond which not every reader of JSON is
exact."""

MOST_KNOWN = 1000
"""Unreadable things that are remembered, so that one which is read every second is counted once."""

MOST_SHOWN = 100
"""Characters of a name that is logged: whoever writes to Redis chooses it."""

log = logging.getLogger("wsctl.shared")

Row = Any
"""An entry as Redis answers it: its id, and a list of names, each followed by its value, all bytes."""


class LoggedMessage(NamedTuple):
    """A message as it was read out of the log.

    Attributes:
        behind: the newest id of the log before this message was appended.
        elsewhere: the number of clients of other nodes that it was for then.
    """

    behind: str
    entry: Entry
    key: Key
    elsewhere: int


def arguments(draft: Draft, ts: float) -> tuple[str, int, bytes, str, bytes]:
    """Return a draft as `APPEND` takes it, the body last; `ts` is when it was published, in Unix seconds.

    Raises:
        ValueError: the data is not JSON.
    """
    to = b"" if draft.to is None else json.dumps(draft.to).encode()
    body = body_of(draft, ts)
    return *draft.key, to, draft.topic or "", body


def id_of(row: Row) -> MessageId:
    """Return the id of an entry."""
    return position(row[0].decode())


def position(text: str) -> MessageId:
    """Parse an id as Redis spells it."""
    ms, _, sequence = text.partition("-")
    return int(ms), int(sequence)


def read_message(row: Row) -> LoggedMessage:
    """Parse the message of an entry.

    Raises:
        ValueError: no server of this version wrote the entry.
    """
    try:
        return _read(id_of(row), dict(zip(row[1][::2], row[1][1::2], strict=True)))
    except KeyError as error:
        raise ValueError(f"there is no {error}") from None


def _read(message_id: MessageId, found: dict[bytes, bytes]) -> LoggedMessage:
    behind = found[b"p"].decode()
    before = read_id(behind)
    if before is None or before >= message_id:
        raise ValueError("p is no earlier id")
    key = Key(found[b"w"].decode(), read_count(found[b"n"]))
    to = _addressees(found[b"t"].decode())
    topic = topic_name(found[b"c"].decode()) if b"c" in found else None
    body = found[b"m" if topic is None else b"b"]
    _check(body.decode(), to, topic)
    entry = Entry(message_id, Batch((messages.numbered(written(message_id), body),)), to, topic)
    return LoggedMessage(behind, entry, key, read_count(found[b"r"]))


def _addressees(text: str) -> tuple[str, ...] | None:
    found = read_json(text) if text else None
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise ValueError("t is no list of client ids")
    return tuple(found)


def _check(body: str, to: tuple[str, ...] | None, topic: str | None) -> None:
    """Check that the body is a frame without its type and id: clients are sent it as it is."""
    frame = read_json(body)
    if not isinstance(frame, dict) or not body.startswith("{"):
        raise ValueError("its body is no object")
    ts, sender = frame.get("ts"), frame.get("from")
    if isinstance(ts, bool) or not isinstance(ts, int | float) or not isinstance(sender, str):
        raise ValueError("its body has no ts, or no sender")
    if "data" not in frame or "type" in frame or "id" in frame:
        raise ValueError("its body has no data, or a type or an id")
    if frame.get("to") != (None if to is None else list(to)):
        raise ValueError("its body names other addressees than t")
    if frame.get("topic") != topic:
        raise ValueError("its body has another topic than c")


_FIELDS: dict[str, tuple[type, ...]] = {
    "host": (str,),
    "pid": (int,),
    "url": (str, type(None)),
    "version": (str,),
    "generation": (int,),
    "phase": (str,),
    "connections": (int,),
    "started": (int, float),
}


def read_json(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: the text is no JSON, is nested too deeply, or has a NaN or an infinity, which JSON does
            not have.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_account(value: bytes) -> Account:
    """Parse a node's account of itself; fields that are not known here stay.

    Raises:
        ValueError: the bytes are no such account.
    """
    found = read_json(value.decode())
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    for name, kinds in _FIELDS.items():
        if not isinstance(found.get(name), kinds) or isinstance(found.get(name), bool):
            raise ValueError(f"{name} is not there, or something else")
    messages.encode(found)  # a number may be too large for anything that shows it
    return found


def read_client(name: bytes, value: bytes) -> tuple[str, list[int]]:
    """Parse a client's id, and since when each of its connections is there, in milliseconds of Redis's clock.

    Raises:
        ValueError: they are no id or no moments.
    """
    since = [read_count(one.partition(b" ")[0]) for one in value.split(b"|")]
    return client_ids.client_id(name.decode()), since


def subscriber(connection: RemoteConnection) -> bytes:
    """Return what a node tells of a connection that subscribes to topics."""
    return json.dumps([connection.client_id, connection.patterns]).encode()


def read_subscribers(rows: Iterable[tuple[bytes, bytes]]) -> tuple[list[RemoteConnection], list[int]]:
    """Parse what a node tells of its connections that subscribe to topics: return these, and the serial
    numbers of those that are gone.

    Raises:
        ValueError: it is something else.
    """
    there, gone = list[RemoteConnection](), list[int]()
    for serial, told in rows:
        if told:
            there.append(_read_subscriber(read_count(serial), told))
        else:
            gone.append(read_count(serial))
    return there, gone


class PresenceChange(NamedTuple):
    """A change of the subscriptions of a node's connections.

    Attributes:
        behind: the newest id of the changes before it.
    """

    behind: str
    node: str
    there: list[RemoteConnection]
    gone: list[int]


def read_presence(row: Row) -> PresenceChange:
    """Parse an entry of the presence.

    Raises:
        ValueError: no server of this version wrote the entry.
    """
    pairs = list(zip(row[1][::2], row[1][1::2], strict=True))
    if len(pairs) < 2 or (pairs[0][0], pairs[1][0]) != (b"p", b"n"):
        raise ValueError("it begins with no p and n")
    behind, node = pairs[0][1].decode(), pairs[1][1].decode()
    if read_id(behind) is None:
        raise ValueError("p is no id")
    return PresenceChange(behind, node, *read_subscribers(pairs[2:]))


def _read_subscriber(serial: int, told: bytes) -> RemoteConnection:
    found = read_json(told.decode())
    if not isinstance(found, list) or len(found) != 2:
        raise ValueError("it is no client with its patterns")
    name, patterns = found
    if not isinstance(name, str) or not isinstance(patterns, list):
        raise ValueError("it is no client with its patterns")
    if not patterns or not all(isinstance(pattern, str) for pattern in patterns):
        raise ValueError("its patterns are no list of texts")
    return RemoteConnection(client_ids.client_id(name), serial, tuple(map(topic_pattern, patterns)))


def read_count(digits: bytes) -> int:
    """Parse a whole number from 0 on.

    Raises:
        ValueError: the bytes are no number, or have too many digits.
    """
    if not digits.isdigit() or len(digits) > MOST_DIGITS:
        raise ValueError("it is no number")
    return int(digits)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


class Unreadable:
    """The count of what was skipped.

    Attributes:
        count: how many there were since the start.
    """

    def __init__(self) -> None:
        self.count = 0
        self._known: dict[tuple[str, str], None] = {}
        self._logged: set[str] = set()

    def note(self, what: str, which: str, why: str) -> None:
        """Skip something of the kind `what`; `which` tells it from others. The first of a kind is logged."""
        if (what, which) in self._known:
            return
        self._known[what, which] = None
        if len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]
        self.count += 1
        if what not in self._logged:
            self._logged.add(what)
            fields = {"what": what, "which": _shown(which), "why": _shown(why)}
            log.warning("something in Redis cannot be read: it is skipped", extra={"fields": fields})


def _shown(text: str) -> str:
    return text[:MOST_SHOWN] if text.isprintable() else ascii(text[:MOST_SHOWN])
