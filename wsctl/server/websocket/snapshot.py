"""The snapshot of a connection: everything that goes on in another process, beside its socket."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from wsctl.frame import Batch, Encoding
from wsctl.hub.connection import NO_SUBSCRIPTIONS
from wsctl.server.credentials.permissions import Claimed
from wsctl.server.websocket.inbound import UnreadInput


@dataclass(frozen=True, slots=True)
class ConnectionSnapshot:
    """An open connection without its socket, as it stands.

    `age` is in seconds since it was accepted; `seen` is the id of the newest message that it was sent or has
    in `unsent`: bytes in the order in which they must be written, each with the number of messages in it.
    `expires` is when its credentials end, in Unix seconds; `keepalive` is what it asked for; a process that
    does not know of it sends none. `identity` is what the application knows of it, as JSON. `subscriptions`
    and `commands` are those of the connection; `permissions` is what its credentials say.
    """

    client_id: str
    address: str
    age: float
    encoding: Encoding
    seen: str
    unread: UnreadInput | None
    unsent: tuple[tuple[bytes, int], ...] = ()
    expires: float | None = None
    keepalive: int = 0
    identity: Any = None
    subscriptions: Mapping[str, bool] = field(default_factory=lambda: NO_SUBSCRIPTIONS)
    commands: bool = False
    permissions: Claimed | None = None

    @property
    def batches(self) -> list[Batch]:
        """The batches that must be written before anything else."""
        return [Batch(wire=data, messages=messages) for data, messages in self.unsent]


class DetachedTransport(asyncio.Protocol):
    """The protocol of a transport whose connection goes on elsewhere: takes it to its end, and then knows
    what it had not written.

    Only when the transport has ended is it certain that it writes nothing more: an event loop may still flush
    a buffer after `abort`. `fd` is a copy of the descriptor, which outlives the transport.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        fd: int,
        snapshot: ConnectionSnapshot,
        handed: bytes,
        waiting: Sequence[tuple[Batch, bytes]],
    ) -> None:
        self.fd = fd
        self.snapshot = snapshot
        self._transport = transport
        self._handed = handed
        self._waiting = waiting
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        transport.pause_reading()
        transport.set_protocol(self)
        transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        unsent = self._transport.get_write_buffer_size()
        rest = [(self._handed[len(self._handed) - unsent :], 0)] if unsent else []
        rest += [(data, batch.messages) for batch, data in self._waiting]
        self.snapshot = replace(self.snapshot, unsent=tuple(rest))
        self.ended.set_result(None)


_NEWER = {
    "identity": None,
    "subscriptions": NO_SUBSCRIPTIONS,
    "commands": False,
    "permissions": None,
}
"""The fields that processes of older releases do not know, and what they are where they are left out."""


def encode_snapshots(snapshots: Sequence[ConnectionSnapshot]) -> tuple[list[dict[str, Any]], list[bytes]]:
    """Return the snapshots as plain fields, and the bytes that belong to them in order."""
    rows, blobs = [], []
    for snapshot in snapshots:
        row = asdict(replace(snapshot, subscriptions=dict(snapshot.subscriptions)))
        row["deflate"] = snapshot.encoding is Encoding.DEFLATE
        if row.pop("encoding") > Encoding.DEFLATE:
            row["stream"] = int(snapshot.encoding)
        for name, default in _NEWER.items():
            if row[name] == default:
                del row[name]  # a process that does not know of it can take the rest
        row["unsent"] = [messages for _, messages in snapshot.unsent]
        blobs += [data for data, _ in snapshot.unsent]
        if snapshot.unread:
            blobs.append(row["unread"].pop("buffer"))
            fragments = row["unread"].pop("fragments")
            row["unread"]["fragmented"] = fragments is not None
            blobs.append(fragments or b"")
        rows.append(row)
    return rows, blobs


def decode_snapshots(rows: Sequence[dict[str, Any]], blobs: Sequence[bytes]) -> list[ConnectionSnapshot]:
    """Return the snapshots of which `encode_snapshots` made the rows and blobs."""
    rest = iter(blobs)
    return [_decode(dict(row), rest) for row in rows]


def _decode(row: dict[str, Any], blobs: Iterator[bytes]) -> ConnectionSnapshot:
    row["unsent"] = tuple((next(blobs), messages) for messages in row["unsent"])
    row["encoding"] = Encoding(row.pop("stream", row["deflate"]))
    del row["deflate"]
    if unread := row["unread"]:
        more = dict(unread)
        fragmented = more.pop("fragmented")
        buffer, fragments = next(blobs), next(blobs)
        row["unread"] = UnreadInput(buffer=buffer, fragments=fragments if fragmented else None, **more)
    if claimed := row.get("permissions"):
        row["permissions"] = Claimed(
            _patterns(claimed["subscribe"]), _patterns(claimed["publish"]), claimed["direct"]
        )
    return ConnectionSnapshot(**row)


def _patterns(given: Sequence[str] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(given)
