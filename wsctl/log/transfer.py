"""The messages of a log and its history, as one process sends them to another.

A history goes in packets `history`, in pieces: the messages, oldest first, and the ids that are known. What
`history_place` returns comes behind them, in another packet: where the log stands, and the ids behind which
nothing is missing. Meanwhile messages may have come, which follow, and others gone, which lie before these
ids. A process of an earlier release neither sends nor reads known ids and the floors of topics.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from wsctl import messages
from wsctl.frame import Batch
from wsctl.log.history import Entry, History, MessageId
from wsctl.log.home import Draft, Key, Refusal
from wsctl.log.known_ids import KnownIds
from wsctl.log.message_log import MessageLog
from wsctl.log.retention import Floors

TOGETHER = 1 << 20
"""Bytes of history in one packet, and at least one message: as much is sent at a time."""


class Send(Protocol):
    """Sends a packet to the other process."""

    def __call__(self, kind: str, fields: dict[str, Any], blobs: Sequence[bytes] = ...) -> None: ...


def entry_row(entry: Entry) -> list[Any]:
    """Return a message's plain fields, the last one only where it has a topic; its bytes are those of its
    frame."""
    return [*entry.id, entry.to, *([] if entry.topic is None else [entry.topic])]


def read_entry(row: Sequence[Any], wire: bytes) -> Entry:
    """Return the message of which `entry_row` made the row; `wire` is its frame."""
    ms, sequence, to, *topic = row
    return Entry((ms, sequence), Batch.read(wire), to and tuple(to), *topic)


def entry_rows(entries: Sequence[Entry]) -> tuple[dict[str, Any], list[bytes]]:
    """Return the fields and the bytes of a packet with messages."""
    return {"entries": [entry_row(entry) for entry in entries]}, [entry.batch.wire for entry in entries]


def history_packets(
    history: History, after: MessageId | None = None, *, topics: bool = True
) -> list[tuple[dict[str, Any], list[bytes]]]:
    """Return the fields and the bytes of the packets with the messages of a history; with `after` those of
    the last ones, with the messages behind that id and with all ids that are known. Without `topics`, which a
    process of an earlier release cannot read, there are only messages without one in it."""
    found: list[tuple[dict[str, Any], list[bytes]]] = []
    if topics and after is not None:
        found += [({"entries": [], "known": True}, list(ids)) for ids in history.known_ids()]
    entries = [
        entry
        for entry in history.entries()
        if entry.id > (after or (0, 0)) and (topics or entry.topic is None)
    ]
    return found + [entry_rows(piece) for piece in in_pieces(entries)]


def history_place(log: MessageLog, *, topics: bool = True) -> dict[str, Any]:
    """Return where a log stands, and the ids behind which nothing of its history is missing, as fields of a
    packet."""
    floors = log.history.floors()
    if not topics:
        return {"position": log.position, "floor": floors.everybody}
    names = [[name, *floor] for name, floor in floors.topics.items()]
    told = {"everybody": floors.everybody, "other": floors.other, "topics": names}
    return {"position": log.position, "floor": log.history.floor, "floors": told}


class ReceivedHistory:
    """A history that comes from another process. One that is sent again from its beginning, since that
    process became another program, goes on where the first one broke off."""

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._entries: list[Entry] = []
        self._known = KnownIds()

    def add(self, fields: Mapping[str, Any], blobs: Sequence[bytes]) -> None:
        """Take a packet of `history_packets`.

        Raises:
            ValueError: its ids cannot be read.
        """
        if "known" in fields:
            self._known.extend_packed(*blobs)
            return
        newest = self._entries[-1].id if self._entries else (0, 0)
        entries = map(read_entry, fields["entries"], blobs)
        self._entries += [entry for entry in entries if entry.id > newest]

    def restore(self, log: MessageLog, place: Mapping[str, Any]) -> None:
        """Have a log go on where the other one stands, by what `history_place` returned there; this is empty
        then."""
        position, floor = tuple(place["position"]), tuple(place["floor"])
        # One that tells of no topics may have let go of any message with one.
        floors = Floors(floor, {}, position)
        if (told := place.get("floors")) is not None:
            topics = {name: (ms, sequence) for name, ms, sequence in told["topics"]}
            floors = Floors(tuple(told["everybody"]), topics, tuple(told["other"]))
        # What was dropped while the rest was on its way is before the floors.
        kept = [entry for entry in self._entries if entry.id > floors.of(entry.topic)]
        log.restore(position, floor, kept, floors=floors, known=self._known)
        self._begin()


def draft_fields(draft: Draft) -> tuple[dict[str, Any], list[bytes]]:
    """Return the fields and the bytes of a packet with a draft.

    Raises:
        ValueError: its data is not JSON.
    """
    data = messages.encode({"data": draft.data})
    fields = {"key": draft.key, "sender": draft.sender, "to": draft.to, "again": draft.again}
    topic = {} if draft.topic is None else {"topic": draft.topic}
    once = {} if draft.idempotency_key is None else {"once": draft.idempotency_key}
    trace = {} if draft.traceparent is None else {"trace": draft.traceparent}
    return fields | ({"shown": True} if draft.shown else {}) | topic | once | trace, [data]


def read_draft(fields: Mapping[str, Any], data: bytes) -> Draft:
    """Return the draft of which `draft_fields` made the fields and the bytes. A process of an older release
    does not say whether it has passed it on before."""
    to = fields["to"] and tuple(fields["to"])
    return Draft(
        Key(*fields["key"]),
        fields["sender"],
        json.loads(data)["data"],
        to,
        again=fields.get("again", True),
        shown="shown" in fields,
        topic=fields.get("topic"),
        idempotency_key=fields.get("once"),
        traceparent=fields.get("trace"),
    )


def append_sent(
    log: MessageLog,
    fields: Mapping[str, Any],
    data: bytes,
    *,
    refused: Callable[[Key, Refusal], None],
    repeated: Callable[[Key, str], None],
) -> None:
    """Append the draft of a packet that another process has sent. Its receipt is the message itself; where it
    gets no id of its own, one of both is called with its key."""
    draft = read_draft(fields, data)
    log.append_draft(draft, refused=partial(refused, draft.key), repeated=partial(repeated, draft.key))


def in_pieces(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """Yield the entries, about `TOGETHER` bytes of them at a time."""
    piece: list[Entry] = []
    size = 0
    for entry in entries:
        piece.append(entry)
        size += len(entry.batch.wire)
        if size >= TOGETHER:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
