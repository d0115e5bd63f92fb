"""The messages of a log, as one process sends them to another."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from wsctl import messages
from wsctl.frame import Batch
from wsctl.log.history import Entry
from wsctl.log.home import Draft, Key

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


def send_entries(send: Send, entries: Sequence[Entry]) -> None:
    """Send messages in one packet."""
    send("history", *entry_rows(entries))


def draft_fields(draft: Draft) -> tuple[dict[str, Any], list[bytes]]:
    """Return the fields and the bytes of a packet with a draft.

    Raises:
        ValueError: its data is not JSON.
    """
    data = messages.encode({"data": draft.data})
    fields = {"key": draft.key, "sender": draft.sender, "to": draft.to, "again": draft.again}
    topic = {} if draft.topic is None else {"topic": draft.topic}
    return fields | ({"shown": True} if draft.shown else {}) | topic, [data]


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
    )


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
