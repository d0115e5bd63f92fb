"""The mover of connections, which sends them to a successor and knows how many have arrived, and the reporter
of those that are still here."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from wsctl.hub.allowances import Allowances
from wsctl.hub.connection import Connection
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.presence import connected
from wsctl.log.home import RemoteConnection
from wsctl.log.transfer import Send
from wsctl.server.handover.protocol import STALL_TIMEOUT
from wsctl.server.handover.successor_process import SuccessorProcess
from wsctl.server.http.deadlines import HEAD_TIMEOUT
from wsctl.server.websocket.services import ConnectionServices
from wsctl.server.websocket.snapshot import DetachedTransport, encode_snapshots
from wsctl.server.websocket.transport_connection import TransportConnection

TOGETHER = 24
"""Connections in one packet. For a moment each needs a second descriptor, of which `LAST_FILES` are kept."""

BYTES_TOGETHER = 8 << 20
"""Bytes that wait for the clients of one packet, and at least one connection: twice of what a single one may
have."""

AHEAD = 200
"""Connections under way: enough to keep the successor busy, and what a crash of it cuts off."""

LAST_HEADS = HEAD_TIMEOUT
"""Seconds in which requests that have arrived in part may become connections, which still move."""

LOOK = 0.05
"""Seconds between two looks for such connections."""

log = logging.getLogger("wsctl.handover")


class HttpConnections(Protocol):
    """The connections of a server that are no clients yet, or between two requests."""

    def partial_heads(self) -> int:
        """Return how many requests have arrived in part."""

    def detach_idle(self, *, admin: bool = False) -> Sequence[int]:
        """Return the descriptors of connections that have been answered, and on which nothing is under way,
        of clients or at the admin address; they are the caller's from here on."""

    def detach_silent(self, *, admin: bool = False) -> Sequence[int]:
        """Return the descriptors of connections that have sent nothing yet, of clients or at the admin
        address; they are the caller's from here on."""


class ConnectionMover:
    """Moves connections to a successor, and counts them. A successor that does not know of topics gets none
    that needs them, one that does not know of event streams gets no such stream.

    Attributes:
        under_way, moved, lost: connections that were sent, that the successor has, and that ended meanwhile.
        silence: the longest time, in seconds, in which a connection was with neither process.
    """

    def __init__(
        self,
        services: ConnectionServices,
        http: HttpConnections,
        successor: SuccessorProcess,
        *,
        knows_topics: bool = True,
        knows_streams: bool = True,
    ) -> None:
        self._services = services
        self._http = http
        self._successor = successor
        self._knows_topics = knows_topics
        self._knows_streams = knows_streams
        self._staying: set[TransportConnection] = set()
        self._presence = 0
        self.under_way = 0
        self.moved = 0
        self.lost = 0
        self.silence = 0.0

    async def move_connections(self) -> None:
        """Move all connections that can move, those connected longest first."""
        while wires := self._movable():
            await self._successor.until(self._may_send, STALL_TIMEOUT, "stopped answering")
            await self._send(wires)

    def move_silent(self) -> None:
        """Move connections that have sent nothing: the successor reads their first request."""
        self._send_each(self._http.detach_silent(), {})
        self._send_each(self._http.detach_silent(admin=True), {"admin": True})

    def move_idle(self) -> None:
        """Move connections between two requests: the successor reads the next one."""
        self._send_each(self._http.detach_idle(), {"kept": True})
        self._send_each(self._http.detach_idle(admin=True), {"kept": True, "admin": True})

    def _send_each(self, fds: Sequence[int], told: dict[str, Any]) -> None:
        for at in range(0, len(fds), TOGETHER):
            self._successor.send("doors", told, fds=fds[at : at + TOGETHER])

    async def move_latecomers(self) -> None:
        """Move clients whose request was under way when the move began, and those that awaited an answer."""
        until = self._services.clock() + LAST_HEADS
        held: set[TransportConnection] = set()
        try:
            while self._services.clock() < until and (
                self._http.partial_heads() or self._movable() or self._hold_awaiting(held)
            ):
                await self.move_connections()
                self.move_idle()
                await asyncio.sleep(LOOK)
        finally:
            for wire in held:
                wire.hold_input(held=False)

    def _hold_awaiting(self, held: set[TransportConnection]) -> bool:
        """Take no more input of connections that await an answer, and tell whether there are any: each moves
        once it has that."""
        found = [wire for wire in self._services.intake.awaiting if isinstance(wire, TransportConnection)]
        awaiting = [wire for wire in found if wire.end_reason is None and wire.fd is not None]
        for wire in awaiting:
            if wire not in held:
                held.add(wire)
                wire.hold_input(held=True)
        return bool(awaiting)

    async def wait_for_arrivals(self) -> None:
        """Wait until the successor has reported everything that was sent."""
        await self._successor.until(
            lambda: not self.under_way and not self._successor.queued, STALL_TIMEOUT, "stopped answering"
        )

    def count_arrivals(self, told: dict[str, Any]) -> None:
        """Count connections that the successor has reported."""
        self.under_way -= told["moved"] + told["lost"]
        self.moved += told["moved"]
        self.lost += told["lost"]
        self.silence = max(self.silence, told["silence_s"])

    def learn(self, told: dict[str, Any]) -> None:
        """Take what the successor tells of who subscribes to what: what connections have seen that move from
        here on."""
        self._presence = told["number"]
        rows = [(holder, RemoteConnection(*row)) for holder, *row in told["connections"]]
        self._services.presence.apply(rows)

    def _may_send(self) -> bool:
        return self.under_way + TOGETHER <= AHEAD and not self._successor.queued

    def _movable(self) -> list[TransportConnection]:
        found: list[TransportConnection] = []
        size = 0
        for connection in self._services.manager.active_connections.values():
            if (
                not isinstance(connection, TransportConnection)
                or connection in self._staying
                or not self._can_go(connection)
            ):
                continue
            size += connection.waiting
            if len(found) == TOGETHER or (found and size > BYTES_TOGETHER):
                break
            found.append(connection)
        return found

    def _can_go(self, wire: TransportConnection) -> bool:
        topics = self._knows_topics or not wire.needs_topics
        return wire.can_move and topics and (self._knows_streams or not wire.is_stream)

    async def _send(self, wires: list[TransportConnection]) -> None:
        self._services.manager.flush()
        began = self._services.clock()
        leaving = [(wire.serial, transport) for wire in wires if (transport := self._detach(wire))]
        serials, detached = [serial for serial, _ in leaving], [transport for _, transport in leaving]
        presence = self._presence
        self.under_way += len(detached)
        for transport in detached:
            await transport.ended
        rows, blobs = encode_snapshots([transport.snapshot for transport in detached])
        # Whoever connected while these were detached is the newer one of its id.
        here = self._services.manager.clients
        replaced = [name for transport in detached if (name := transport.snapshot.client_id) in here]
        if told := self._services.intake.allowances.snapshot(self._services.clock(), wires)["ids"]:
            self._successor.send("rates", {"ids": told})
        fields = {
            "rows": rows,
            "at": began,
            "replaced": replaced,  # all that an earlier release reads
            "serials": serials,
            "presence": presence,
        }
        self._successor.send("move", fields, blobs, [transport.fd for transport in detached])

    def _detach(self, wire: TransportConnection) -> DetachedTransport | None:
        """Detach a connection; return None when it has ended, or stays because the process has no descriptor
        left."""
        if not wire.can_move:
            return None
        try:
            transport = wire.detach()
        except OSError as error:
            log.warning("a client stays", extra={"fields": {"client_id": wire.client_id, "why": str(error)}})
            self._staying.add(wire)
            return None
        self._services.presence.moved(wire)
        return transport


class ClientReporter:
    """Tells a successor which clients come to the predecessor and leave it, and what each may still send."""

    def __init__(
        self, manager: ConnectionManager, allowances: Allowances, clock: Callable[[], float], send: Send
    ) -> None:
        self._manager = manager
        self._allowances = allowances
        self._clock = clock
        self._send = send
        self._begun = False

    def begin(self) -> None:
        """Tell of what happens from here on, and of what all may send now."""
        rates = self._allowances.snapshot(self._clock())
        if any(rates.values()):
            self._send("rates", rates)
        self._begun = True
        self._manager.retired.append(self._retired)
        self._manager.joined.append(self._joined)
        self._manager.subscribed.append(self._subscribed)
        self._manager.left.append(self._left)

    def end(self) -> None:
        """Tell nothing any more."""
        if self._begun:
            self._begun = False
            self._manager.retired.remove(self._retired)
            self._manager.joined.remove(self._joined)
            self._manager.subscribed.remove(self._subscribed)
            self._manager.left.remove(self._left)

    def replaced(self, client_id: str, serial: int | None) -> None:
        """Close a connection whose client has newer ones with the successor, or at another node; all of the
        client where the successor does not say which."""
        for connection in self._manager.addressees([client_id]):
            if serial in (None, connection.serial):
                connection.replaced()

    def _joined(self, connection: Connection) -> None:
        self._report("joined", connection)

    def _subscribed(self, connection: Connection) -> None:
        self._report("subscribed", connection)

    def _report(self, kind: str, connection: Connection) -> None:
        client_id, serial, patterns = connected(connection)
        fields = {"id": client_id, "serial": serial}
        self._send(kind, fields | ({"patterns": patterns} if patterns else {}))

    def _retired(self, connection: Connection) -> None:
        """Send the client's bucket: it may come back to the successor."""
        if connection.bucket:
            self._send("rates", self._allowances.snapshot(self._clock(), [connection]))

    def _left(self, connection: Connection) -> None:
        self._send("left", {"id": connection.client_id, "serial": connection.serial})
