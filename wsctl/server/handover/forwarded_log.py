"""The log of a process whose successor gives the ids: messages that are published here go there, and come
back in its order."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any

from wsctl import messages
from wsctl.codes import ErrorCode
from wsctl.hub.connection import Connection
from wsctl.ipc.framing import Packet
from wsctl.log.history import Entry, MessageId
from wsctl.log.message_log import Draft, Key, Refusal
from wsctl.server.handover.protocol import entry_row, read_entry
from wsctl.server.handover.successor_process import SuccessorProcess
from wsctl.server.node import Node

TOGETHER = 1 << 20
"""Bytes of history in one packet, and at least one message: as much is sent at a time."""

STALL_TIMEOUT = 10.0
"""Seconds without a message from a successor after which it counts as hanging: as long as a client that does
not read."""


class ForwardedLog:
    """The log and the clients of this process, as long as the successor gives the ids."""

    def __init__(self, node: Node, successor: SuccessorProcess) -> None:
        self._node = node
        self._successor = successor
        self._sent: MessageId = (0, 0)
        self._resume_point: dict[str, Any] | None = None
        self._begun = False

    async def prepare(self) -> None:
        """Send the history that there is, at the pace of the successor, while this process still gives the
        ids."""
        for entries in _pieces(self._node.log.history.entries()):
            self._send_history(entries)
            await self._successor.until(
                lambda: not self._successor.queued, STALL_TIMEOUT, "stopped answering"
            )

    async def suspend_redis(self) -> None:
        """Leave Redis, where the server has one, to the successor. Nothing is delivered until `begin`, or
        `end`."""
        if self._node.shared:
            self._resume_point = asdict(await self._node.shared.session.suspend())

    def begin(self) -> None:
        """Hand the log over: from here on the successor gives the ids."""
        log = self._node.log
        # Messages that were dropped meanwhile are before the floor, and the successor drops them too.
        rest = [entry for entry in log.history.entries() if entry.id > self._sent]
        for entries in _pieces(rest):
            self._send_history(entries)
        rates = self._node.intake.allowances.snapshot(self._node.clock())
        if any(rates.values()):
            self._successor.send("rates", rates)
        here = list(self._node.manager.active_connections)
        place = {"position": log.position, "floor": log.history.floor}
        self._successor.send("begin", {**place, "here": here, "shared": self._resume_point})
        self._begun = True
        self._node.manager.retired.append(self._retired)
        log.follow(self._publish)
        self._node.manager.joined.append(self._joined)
        self._node.manager.left.append(self._left)

    def end(self) -> None:
        """Give ids again, or have Redis give them."""
        if self._begun:
            self._node.manager.retired.remove(self._retired)
            self._node.manager.joined.remove(self._joined)
            self._node.manager.left.remove(self._left)
        if self._node.shared:
            # A client that has moved is not here any more, and was not reported as gone.
            self._node.shared.session.presence.only(self._node.manager.active_connections)
            self._node.shared.session.resume()
        self._node.log.lead()

    def receive(self, packet: Packet) -> None:
        """Receive a packet of the successor: a message that has its id or was refused, a change of Redis, or
        a client that connected there."""
        told = packet.fields
        match packet.kind:
            case "message":
                entry = read_entry(told["entry"], packet.blobs[0])
                key = told["key"]
                self._node.log.take(entry, key and Key(*key), recipients=told["recipients"])
                if self._node.shared:
                    self._node.shared.session.note_relayed(entry.id)
            case "unpublished":
                # A successor of an older release does not say which of the two it is.
                code = ErrorCode(told.get("code", ErrorCode.UNCONFIRMED))
                self._node.log.refuse(Key(*told["key"]), Refusal(code, told["why"]))
            case "away" if self._node.shared:
                self._node.shared.cut_off(told["why"])
            case "back" if self._node.shared:
                self._node.shared.back(recovered=told["recovered"])
            case "replaced":
                if connection := self._node.manager.active_connections.get(told["id"]):
                    connection.replaced()

    def _send_history(self, entries: list[Entry]) -> None:
        self._sent = entries[-1].id
        rows = [entry_row(entry) for entry in entries]
        self._successor.send("history", {"entries": rows}, [entry.batch.wire for entry in entries])

    def _publish(self, draft: Draft) -> None:
        data = messages.encode({"data": draft.data})
        fields = {"key": draft.key, "sender": draft.sender, "to": draft.to, "again": draft.again}
        self._successor.send("publish", fields | ({"shown": True} if draft.shown else {}), [data])

    def _joined(self, client_id: str) -> None:
        self._successor.send("joined", {"id": client_id})

    def _retired(self, connection: Connection) -> None:
        """Send the client's bucket: it may come back to the successor."""
        if connection.bucket:
            self._successor.send(
                "rates", self._node.intake.allowances.snapshot(self._node.clock(), [connection])
            )

    def _left(self, client_id: str) -> None:
        self._successor.send("left", {"id": client_id})


def _pieces(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
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
