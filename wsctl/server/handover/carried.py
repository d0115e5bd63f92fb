"""The form in which connections and messages of the log go to another process: plain fields and bytes."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from wsctl.frame import Batch
from wsctl.log.history import Entry


@dataclass(frozen=True, slots=True)
class Unread:
    """A message that has arrived in part: raw bytes of the frame under way, and the fragments before it."""

    buffer: bytes
    fragments: bytes | None
    opcode: int
    deflated: bool
    pieces: int


@dataclass(frozen=True, slots=True)
class Carried:
    """An open connection without its socket.

    `age` is in seconds since it was accepted; `seen` is the id of the newest message that it was sent or has
    in `unsent`: bytes in the order in which they must be written, each with the number of messages in it.
    `expires` is when its credentials end, in Unix seconds; `keepalive` is what it asked for; a process that
    does not know of it sends none.
    """

    client_id: str
    address: str
    age: float
    deflate: bool
    seen: str
    unread: Unread | None
    unsent: tuple[tuple[bytes, int], ...] = ()
    expires: float | None = None
    keepalive: int = 0

    @property
    def batches(self) -> list[Batch]:
        """The batches that must be written before anything else."""
        return [Batch(wire=data, messages=messages) for data, messages in self.unsent]


def packed(connections: Sequence[Carried]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the connections as plain fields, and the bytes that belong to them in order."""
    rows, blobs = [], []
    for carried in connections:
        row = asdict(carried)
        row["unsent"] = [messages for _, messages in carried.unsent]
        blobs += [data for data, _ in carried.unsent]
        if carried.unread:
            blobs.append(row["unread"].pop("buffer"))
            fragments = row["unread"].pop("fragments")
            row["unread"]["fragmented"] = fragments is not None
            blobs.append(fragments or b"")
        rows.append(row)
    return rows, blobs


def unpacked(rows: Sequence[dict[str, Any]], blobs: Sequence[bytes]) -> list[Carried]:
    """Return the connections of which `packed` made the rows and blobs."""
    rest = iter(blobs)
    return [_unpacked(dict(row), rest) for row in rows]


def _unpacked(row: dict[str, Any], blobs: Iterator[bytes]) -> Carried:
    row["unsent"] = tuple((next(blobs), messages) for messages in row["unsent"])
    if unread := row["unread"]:
        more = dict(unread)
        fragmented = more.pop("fragmented")
        buffer, fragments = next(blobs), next(blobs)
        row["unread"] = Unread(buffer=buffer, fragments=fragments if fragmented else None, **more)
    return Carried(**row)


def entry_row(entry: Entry) -> list[Any]:
    """Return a message's plain fields; its bytes are those of its frame."""
    return [*entry.id, entry.to]


def read_entry(row: Sequence[Any], wire: bytes) -> Entry:
    """Return the message of which `entry_row` made the row; `wire` is its frame."""
    ms, sequence, to = row
    return Entry((ms, sequence), Batch.read(wire), to and tuple(to))
