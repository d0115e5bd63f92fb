"""Workers of one parent without their servers: the log of each, with the parent as its home, over packets."""

import asyncio
import itertools
import socket
from typing import Any

from tests.support.peer import Speaker
from wsctl.hub.presence import TopicPresence
from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet
from wsctl.log.home import RemoteConnection
from wsctl.server.condition import Condition
from wsctl.server.workers.group_log import GroupLog
from wsctl.server.workers.parent_home import ParentHome

_pids = itertools.count(1001)
_serials = itertools.count(1)
_said = (f"message {n}" for n in itertools.count(1))


class ParentEnd:
    """A worker as its parent's log sees it. `killed` says whether the parent has killed it."""

    def __init__(self, group: GroupLog, number: int, sock: socket.socket) -> None:
        self.number = number
        self.pid = next(_pids)
        self.killed = False
        self._group = group
        self._drained = Condition()
        self.channel = Channel(sock, self._receive, self._broken, self._drained.notify_all)
        self.send_packet, self.send_encoded = self.channel.send, self.channel.send_encoded

    @property
    def queued(self) -> int:
        return self.channel.queued

    async def take_all(self) -> None:
        await self._drained.wait_for(lambda: not self.channel.queued)

    def send(self, kind: str, **fields: object) -> None:
        self.channel.send(kind, fields)

    def kill(self) -> None:
        self.killed = True
        self.channel.close()
        self._group.exited(self)

    def _receive(self, packet: Packet) -> None:
        self._group.receive(self, packet)

    def _broken(self, why: str) -> None:
        self._group.exited(self)


class WorkerPeer(Speaker):
    """A worker. A parent hears of its clients by `join`, `subscribe` and `leave`.

    Attributes:
        parents: what the parent has of it.
        connections: by serial; each client has one, but for those that connect once more.
        presence: what is known of the connections of the other workers.
        told: beside the rest, ("replaced", id).
    """

    def __init__(self, group: GroupLog, number: int = 1, *, history: int = 100) -> None:
        super().__init__(history=history)
        self.connections: dict[int, RemoteConnection] = {}
        self.presence = TopicPresence(lambda *told: None, lambda topic: [])
        ours, theirs = socket.socketpair()
        self.parents = ParentEnd(group, number, ours)
        self.home: ParentHome
        self.channel = Channel(theirs, self._receive, lambda why: self.home.lose(), self._channel_drained)
        self.home = ParentHome(self.log, self.channel, self._replaced, number=number, presence=self.presence)
        self.log.move_to(self.home)

    async def count(self, to: tuple[str, ...] | None = None, topic: str | None = None) -> int:
        """How many connections a message goes to that is published here."""
        return (await self.receipt_of(next(_said), to, topic))[1]

    async def begun(self) -> "WorkerPeer":
        await self.home.begin()
        return self

    def join(self, *clients: str) -> None:
        """They connect, or connect again."""
        for name in clients:
            if name in self.clients:
                self.leave(name)
            self.connect(name)

    def connect(self, name: str, *patterns: str) -> int:
        """A client connects once more; the serial of its connection."""
        connection = RemoteConnection(name, next(_serials), patterns)
        self.clients.add(name)
        self.connections[connection.serial] = connection
        self.home.joined(*connection)
        return connection.serial

    def subscribe(self, serial: int, *patterns: str) -> None:
        self.connections[serial] = connection = self.connections[serial]._replace(patterns=patterns)
        self.home.subscribed(*connection)

    def disconnect(self, serial: int) -> None:
        connection = self.connections.pop(serial)
        if all(connection.client_id != other.client_id for other in self.connections.values()):
            self.clients.discard(connection.client_id)
        self.home.left(connection.client_id, serial)

    def leave(self, *clients: str) -> None:
        for name in clients:
            for serial in [serial for serial, each in self.connections.items() if each.client_id == name]:
                self.disconnect(serial)

    def close(self) -> None:
        """It ends; the parent hears of it."""
        self.channel.close()

    async def receipt_of(
        self, data: Any, to: tuple[str, ...] | None = None, topic: str | None = None
    ) -> tuple[str, int]:
        """Publish a message; its receipt."""
        self.say(data, to, topic)
        await self.until(lambda: data in self.receipts)
        return self.receipts[data]

    def _receive(self, packet: Packet) -> None:
        self.home.receive(packet)
        self._news.set()

    def _channel_drained(self) -> None:
        self.home.drained()

    def _replaced(self, client_id: str, serial: int | None) -> None:
        self._tell(("replaced", client_id))
        if serial in self.connections:
            self.disconnect(serial)


async def until_heard(*workers: WorkerPeer) -> None:
    """Wait until the parent has taken all that these have sent so far."""
    for worker in workers:
        ours: asyncio.Event = worker.home._answer
        ours.clear()
        worker.channel.send("follow", {"history": False, "topics": True})
        await ours.wait()
