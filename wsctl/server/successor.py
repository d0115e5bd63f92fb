"""The new process's side of a handover: take over the log, the connections, and in the end the doors."""

import asyncio
import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wsctl import __version__
from wsctl.codes import CloseCode
from wsctl.errors import CannotStart
from wsctl.hub.connection import Ending
from wsctl.hub.frame import Batch
from wsctl.hub.history import Entry
from wsctl.lifecycle.channel import Channel, ChannelBroken, Parcel, close_all, packed, receive_one
from wsctl.lifecycle.handover import VARIABLE, VERSION
from wsctl.server.carried import Carried, unpacked
from wsctl.server.node import Node
from wsctl.server.wire import Wire

HELLO_TIMEOUT = 30.0
"""Seconds for the first parcel, which is sent before this process is started."""

log = logging.getLogger("wsctl.handover")


@dataclass(frozen=True, slots=True)
class Inheritance:
    """What a successor starts with."""

    channel: socket.socket
    listeners: list[socket.socket]
    generation: int

    def refuse(self, why: str) -> None:
        """Tell the predecessor why this process will not take over."""
        with contextlib.suppress(OSError):
            self.channel.sendall(packed("refused", {"why": why}, (), ()))


def inheritance(environ: Mapping[str, str]) -> Inheritance | None:
    """What a predecessor has for this process; None when it was started by somebody else.

    Raises:
        CannotStart: the predecessor is gone, or of a version that is not understood here.
    """
    fd = environ.get(VARIABLE, "")
    if not fd.isdecimal():
        return None
    try:
        channel = socket.socket(fileno=int(fd))
        os.set_inheritable(channel.fileno(), False)
        hello = receive_one(channel, HELLO_TIMEOUT)
    except (OSError, ChannelBroken) as error:
        raise CannotStart(f"{VARIABLE}={fd} leads to no server that hands over: {error}") from None
    listeners = [socket.socket(fileno=fd) for fd in hello.fds]
    if hello.kind != "hello" or hello.fields.get("version") != VERSION:
        why = f"wsctl {__version__} does not understand a handover of wsctl {hello.fields.get('release')}"
        Inheritance(channel, listeners, 0).refuse(why)
        raise CannotStart(why)
    return Inheritance(channel, listeners, hello.fields["generation"])


class Successor:
    """Takes over, and leads the log for both processes until the predecessor hangs up.

    `door` makes the protocol of a connection that has said nothing. To be made on a running loop.

    Attributes:
        begun: set when this process gives the ids, or has to because nobody else does.
        may_listen: set when connections may be accepted.
    """

    def __init__(self, node: Node, channel: socket.socket, door: Callable[[], asyncio.Protocol]) -> None:
        self.begun = asyncio.Event()
        self.may_listen = asyncio.Event()
        self._node = node
        self._door = door
        self._history: list[Entry] = []
        self._there: set[str] = set()
        self._own = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._channel = Channel(channel, self._take, self._hung_up)

    def ready(self) -> None:
        """Everything is there that can be without the predecessor's."""
        self._channel.send("ready", {"pid": os.getpid()})

    def listening(self) -> None:
        """Clients and operators find this process."""
        self._channel.send("listening")

    def _take(self, parcel: Parcel) -> None:
        told, blobs = parcel.fields, parcel.blobs
        match parcel.kind:
            case "history":
                self._history += map(_entry, told["entries"], blobs)
            case "begin":
                self._begin(told)
            case "publish":
                self._publish(told, blobs[0])
            case "move":
                self._start(self._adopt_all(parcel))
            case "doors":
                self._start(self._open_doors(parcel))
            case "joined":
                self._there.add(told["id"])
            case "left":
                self._there.discard(told["id"])
            case "listen":
                self.may_listen.set()
            case "over":
                self._node.log.history.hold(False)
            case _:
                close_all(parcel.fds)

    def _begin(self, told: Mapping[str, Any]) -> None:
        node = self._node
        self._there.update(told["here"])
        # What was said before a connection moves must be there when it arrives, whatever --history says.
        node.log.history.hold(True)
        node.log.restore(tuple(told["position"]), tuple(told["floor"]), self._history)
        node.log.tap = self._relay
        node.manager.joined.append(self._replace)
        self._history = []
        self.begun.set()

    def _hung_up(self, why: str) -> None:
        if not self.may_listen.is_set():
            log.warning("the predecessor is gone before everything had moved", extra={"fields": {"why": why}})
        self._there.clear()
        self._node.log.tap = None
        self._node.log.history.hold(False)
        if self._replace in self._node.manager.joined:
            self._node.manager.joined.remove(self._replace)
        self.begun.set()
        self.may_listen.set()

    # The log

    def _publish(self, told: Mapping[str, Any], data: bytes) -> None:
        self._own = True
        try:
            self._node.log.append(told["sender"], json.loads(data)["data"], told["to"] and tuple(told["to"]))
        finally:
            self._own = False

    def _relay(self, entry: Entry, recipients: int) -> int:
        """To those who are still with the predecessor, or have just come to it."""
        to, there = entry.to, self._there
        elsewhere = len(there) if to is None else sum(name in there for name in to)
        fields = {"entry": [*entry.id, to], "recipients": recipients + elsewhere, "own": self._own}
        self._channel.send("message", fields, [entry.batch.wire])
        return elsewhere

    def _replace(self, client_id: str) -> None:
        if client_id in self._there:
            self._channel.send("replaced", {"id": client_id})

    # Connections

    async def _adopt_all(self, parcel: Parcel) -> None:
        told = parcel.fields
        connections = unpacked(told["rows"], parcel.blobs)
        arrivals = [_Arrival(self._node, carried, told["seen"], self._there) for carried in connections]
        await asyncio.gather(*map(self._connect, arrivals, parcel.fds))
        self._there.difference_update(carried.client_id for carried in connections)
        moved = sum(arrival.there for arrival in arrivals)
        silence = self._node.clock() - told["at"]
        fields = {"moved": moved, "lost": len(arrivals) - moved, "silence_s": silence if moved else 0.0}
        self._channel.send("moved", fields)

    async def _open_doors(self, parcel: Parcel) -> None:
        await asyncio.gather(*(self._connect(self._door(), fd) for fd in parcel.fds))

    async def _connect(self, protocol: asyncio.Protocol, fd: int) -> None:
        sock = socket.socket(fileno=fd)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
        except OSError:  # the peer went while nobody looked
            sock.close()

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class _Arrival(asyncio.Protocol):
    """Becomes the connection as soon as it has a transport."""

    def __init__(self, node: Node, carried: Carried, seen: str, elsewhere: set[str]) -> None:
        self._node = node
        self._carried = carried
        self._seen = seen
        self._elsewhere = elsewhere
        self.there = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        carried = self._carried
        wire = Wire(self._node, transport, carried.client_id, carried.address, carried.deflate)
        transport.set_protocol(wire)
        missed = self._node.log.after(self._seen, carried.client_id)
        wire.arrive(carried, missed or [])
        if missed is None:
            wire.close(CloseCode.SERVICE_RESTART, "the server is restarting: reconnect", Ending.EVICTED)
        self._elsewhere.discard(carried.client_id)
        self.there = True


def _entry(row: list[Any], wire: bytes) -> Entry:
    ms, sequence, to = row
    return Entry((ms, sequence), Batch.read(wire), to and tuple(to))
