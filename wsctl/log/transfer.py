"""The messages of a log, as one process sends them to another."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

from wsctl import messages
from wsctl.frame import Batch
from wsctl.log.history import Entry
from wsctl.log.home import Draft

TOGETHER = 1 << 20
"""Bytes of history in one packet, and at least one message: as much is sent at a time."""


class Send(Protocol):
    """Sends a packet to the other process."""

    def __call__(self, kind: str, fields: dict[str, Any], blobs: Sequence[bytes] = ...) -> None: ...


def entry_row(entry: Entry) -> list[Any]:
    """Return a message's plain fields; its bytes are those of its frame."""
    return [*entry.id, entry.to]


def read_entry(row: Sequence[Any], wire: bytes) -> Entry:
    """Return the message of which `entry_row` made the row; `wire` is its frame."""
    ms, sequence, to = row
    return Entry((ms, sequence), Batch.read(wire), to and tuple(to))


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
    return fields | ({"shown": True} if draft.shown else {}), [data]


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
