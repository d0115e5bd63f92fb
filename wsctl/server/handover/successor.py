"""The successor's side of a handover: take over the log, the connections, and in the end the listening
sockets."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from wsctl.codes import RESTART, CloseCode
from wsctl.errors import CannotStart
from wsctl.frame import Encoding
from wsctl.hub.connection import Connection, EndReason
from wsctl.hub.presence import connected_here
from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet, close_all
from wsctl.log.home import RemoteConnection
from wsctl.server.event_stream.stream import EventStream
from wsctl.server.handover.forwarded_log import LogRelay
from wsctl.server.handover.presence_feed import PREDECESSOR, PresenceFeed
from wsctl.server.handover.protocol import STALL_TIMEOUT
from wsctl.server.websocket.services import ConnectionServices
from wsctl.server.websocket.snapshot import ConnectionSnapshot, decode_snapshots
from wsctl.server.websocket.transport_connection import TransportConnection
from wsctl.server.websocket.wire import Wire

log = logging.getLogger("wsctl.handover")


class Successor:
    """Takes over, and gives the ids for both processes until the predecessor closes the channel.

    `detector` makes the protocol of a connection that has sent nothing, `detector_of_reused` of one that has
    had answers; `on_load` gets the load of the last hour. To be made on a running loop.

    Attributes:
        begun: set when this process gives the ids, or has to because no other one does.
        may_listen: set when connections may be accepted.
        settled: set when nothing moves any more.
        predecessor_gone: set when the predecessor has hung up.
    """

    def __init__(
        self,
        services: ConnectionServices,
        channel: socket.socket,
        detector: Callable[[], asyncio.Protocol],
        detector_of_reused: Callable[[], asyncio.Protocol] | None = None,
        admin_detector: Callable[[bool], asyncio.Protocol | None] = lambda is_reused: None,
        *,
        on_load: Callable[[list[dict[str, Any]]], None] = lambda load: None,
    ) -> None:
        self._on_load = on_load
        self.begun = asyncio.Event()
        self.may_listen = asyncio.Event()
        self.settled = asyncio.Event()
        self.predecessor_gone = asyncio.Event()
        self._services = services
        self._detector = detector
        self._detector_of_reused = detector_of_reused
        self._admin_detector = admin_detector
        self._received_at = services.clock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel = Channel(channel, self._receive, self._hung_up)
        self._home = services.log.home
        self._relay = LogRelay(services.log, self._channel.send, services.manager.next_serial)
        self._feed = PresenceFeed(services.presence, self._channel.send)

    def ready(self) -> None:
        """Tell the predecessor that everything is ready that can be without its state."""
        self._channel.send("ready", {"topics": True, "streams": True})

    def listening(self) -> None:
        """Tell the predecessor that clients and operators reach this process."""
        self._channel.send("listening")

    def check(self, now: float) -> None:
        """Stop waiting for a predecessor that hangs; called once a second."""
        if self.begun.is_set() and not self.settled.is_set() and now - self._received_at >= STALL_TIMEOUT:
            self.may_listen.set()
            self._start_task(self._settle())

    def _receive(self, packet: Packet) -> None:
        self._received_at = self._services.clock()
        told, blobs = packet.fields, packet.blobs
        match packet.kind:
            case "history":
                self._relay.add_history(told, blobs)
            case "begin":
                self._begin(told)
            case "rates":
                self._services.intake.allowances.take_over(told, self._services.clock())
            case "publish":
                self._relay.publish(told, blobs[0])
            case "move":
                self._adopt_all(packet)
            case "doors":
                self._take_connections(packet)
            case "listen":
                self.may_listen.set()
            case "over":
                self._on_load(told.get("load", []))  # an earlier release says nothing of it
                self._start_task(self._settle())
            case _:
                self._receive_change(packet)

    def _take_connections(self, packet: Packet) -> None:
        """Take connections that have sent nothing, or between two requests."""
        told = packet.fields
        is_reused = bool(told.get("kept"))
        reused = self._detector_of_reused if is_reused else None
        for fd in packet.fds:
            detector = self._admin_detector(is_reused) if told.get("admin") else (reused or self._detector)()
            if detector:
                self._start_task(self._connect(detector, fd))
            else:
                close_all([fd])

    def _receive_change(self, packet: Packet) -> None:
        """Note a client that connected to the predecessor, or left it."""
        told = packet.fields
        match packet.kind:
            case "joined":
                serial, patterns = told.get("serial"), told.get("patterns", ())
                self._joined_there(self._relay.joined_there(told["id"], serial, patterns))
            case "subscribed":
                self._subscribed_there(
                    RemoteConnection(told["id"], told["serial"], tuple(told.get("patterns", ())))
                )
            case "left":
                self._left_there(told["id"], told.get("serial"))
            case _:
                close_all(packet.fds)

    def _begin(self, told: Mapping[str, Any]) -> None:
        self._relay.begin(told, lambda: self._feed.begin(self._relay, told.get("elsewhere", ())))
        self._services.manager.joined.append(self._joined_here)
        self.begun.set()

    def _hung_up(self, why: str) -> None:
        self.predecessor_gone.set()
        if not self.settled.is_set():
            log.warning("the predecessor is gone before everything had moved", extra={"fields": {"why": why}})
        self._relay.end()
        if self.begun.is_set():
            self._services.manager.joined.remove(self._joined_here)
            for connection in self._relay.connections:
                if connection.serial not in self._relay.arriving:
                    self._left_there(connection.client_id, connection.serial)
            self._feed.end()
        self._start_task(self._go_on_alone())

    async def _go_on_alone(self) -> None:
        if not self.begun.is_set():
            try:
                await self._home.begin()
            except CannotStart as error:
                log.warning("nobody to share with yet", extra={"fields": {"why": str(error)}})
                self._home.resume(connected_here(self._services.manager))
        self.begun.set()
        self.may_listen.set()
        await self._settle()

    async def _settle(self) -> None:
        """Wait until all connections have arrived, then bound the history again."""
        await asyncio.gather(*(self._tasks - {asyncio.current_task()}), return_exceptions=True)
        self._services.log.history.hold(False)
        self._feed.settled()
        self.settled.set()

    # Connections

    def _joined_here(self, connection: Connection) -> None:
        self._end_oldest(connection.client_id, connection.serial)

    def _left_there(self, client_id: str, serial: int | None) -> None:
        """Note that a connection that was with the predecessor has ended."""
        serial = self._relay.left_there(client_id, serial)
        if serial is not None:
            self._ended(client_id, serial)

    def _ended(self, client_id: str, serial: int) -> None:
        """Tell of a connection that has ended before it was active here."""
        self._home.left(client_id, serial)
        self._services.presence.learn(PREDECESSOR, (), [serial])

    def _joined_there(self, connection: RemoteConnection) -> None:
        """Note a connection to the predecessor, to which its request was under way."""
        self._home.joined(*connection)
        self._services.presence.learn(PREDECESSOR, [connection])
        self._end_oldest(connection.client_id, connection.serial)

    def _end_oldest(self, client_id: str, newest: int) -> None:
        """End the oldest connections of a client that has too many in both processes. What the predecessor
        accepted is older than what this one did."""
        relay, limit = self._relay, self._services.settings.connections_per_id
        here = {connection.serial: connection for connection in self._services.manager.of(client_id)}
        every = sorted(
            {*here, *relay.there.of(client_id)} - {newest},
            key=lambda each: (each not in relay.came_there, each),
        )
        for serial in every[: max(0, len(every) + 1 - limit)] if limit else ():
            if serial in here:
                here[serial].replaced()
            else:
                relay.replaced(client_id, serial)

    def _subscribed_there(self, connection: RemoteConnection) -> None:
        """Note all that a connection to the predecessor subscribes to by now."""
        self._relay.subscribed_there(connection)
        self._home.subscribed(*connection)
        self._services.presence.learn(PREDECESSOR, [connection])

    def _adopt_all(self, packet: Packet) -> None:
        told, relay = packet.fields, self._relay
        connections = decode_snapshots(told["rows"], packet.blobs)
        serials = told.get("serials", [None] * len(connections))
        arrivals = [
            _Arrival(
                self._services,
                snapshot,
                self._arrived,
                relay.depart(snapshot.client_id, serial, is_replaced=snapshot.client_id in told["replaced"]),
                told.get("presence", 0),
            )
            for snapshot, serial in zip(connections, serials, strict=True)
        ]
        self._start_task(self._adopt(arrivals, packet.fds, told["at"]))

    async def _adopt(self, arrivals: list["_Arrival"], fds: list[int], at: float) -> None:
        await asyncio.gather(*map(self._connect, arrivals, fds))
        for arrival in arrivals:
            if not arrival.there:
                self._relay.arrived(arrival.serial)
                self._ended(arrival.client_id, arrival.serial)
        moved = sum(arrival.there for arrival in arrivals)
        silence = self._services.clock() - at if moved else 0.0
        self._channel.send("moved", {"moved": moved, "lost": len(arrivals) - moved, "silence_s": silence})

    def _arrived(self, wire: TransportConnection, presence: int) -> None:
        # Since it departed, newer ones may have come to the predecessor, or to another process.
        stays = self._relay.arrived(wire.serial)
        if wire.end_reason is not None:
            self._ended(wire.client_id, wire.serial)
            return
        self._services.presence.arrived(wire, self._feed.since(presence))
        if not stays:
            wire.replaced()

    async def _connect(self, protocol: asyncio.Protocol, fd: int) -> None:
        try:
            sock = socket.socket(fileno=fd)
        except OSError:  # macOS says so already here
            os.close(fd)
            return
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
        except OSError:  # the peer went while nobody looked
            sock.close()

    def _start_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("taking over failed in part", exc_info=task.exception())


class _Arrival(asyncio.Protocol):
    """The protocol of an arriving connection until it has a transport; then the connection
    itself takes its place."""

    def __init__(
        self,
        services: ConnectionServices,
        snapshot: ConnectionSnapshot,
        arrived: Callable[[TransportConnection, int], None],
        serial: int,
        presence: int,
    ) -> None:
        self._services = services
        self._snapshot = snapshot
        self._arrived = arrived
        self._presence = presence
        self.client_id, self.serial = snapshot.client_id, serial
        self.there = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        snapshot = self._snapshot
        kind = EventStream if snapshot.encoding > Encoding.DEFLATE else Wire
        wire = kind(self._services, transport, snapshot.client_id, snapshot.address, snapshot.encoding)
        wire.serial = self.serial
        transport.set_protocol(wire)
        missed, recovered, _ = self._services.log.missed(
            snapshot.seen, snapshot.client_id, snapshot.subscriptions
        )
        wire.restore(snapshot, [batch.copy() for batch in missed])
        if not recovered:
            wire.close(CloseCode.SERVICE_RESTART, RESTART, EndReason.EVICTED)
        self.there = True
        self._arrived(wire, self._presence)
