"""The state of a parent of workers that executes a new program in its own place: what the old program leaves
to the new one, which is of another version perhaps.

It is a file of packets (`wsctl/ipc/state_file.py`):

    parent     version of the state, release, version of the conversation with the workers; generation,
               when it was started and when the old program stopped, the signals that were blocked, the
               upgrade under way, the slots of the workers, the load of the last hour; page of counts,
               listeners, those of the admin address, control socket
    request    a connection to the control socket without an answer: what was received; the connection
    worker     a process, its part, and how its channel stands: half a packet, queued packets, requests
               without an answer, half a line of its log; the channel and the descriptors that are in it,
               the pipe for its log
    others     the log of all workers, as `wsctl/server/workers/group_log.py` has it

All moments are on the clock of the machine, which goes on.
"""

import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from wsctl import __version__
from wsctl.errors import CannotStart
from wsctl.ipc.channel import ChannelState
from wsctl.ipc.framing import ChannelBroken, Packet
from wsctl.ipc.rpc import PendingRequest, RpcState
from wsctl.ipc.state_file import read_state, write_state
from wsctl.server.workers import protocol
from wsctl.server.workers.control_http import ConnectionState
from wsctl.server.workers.pool import PoolState, SlotState, WorkerPart
from wsctl.server.workers.rolling_upgrade import UpgradeState
from wsctl.server.workers.worker import LogPipe, WorkerState

VERSION = 1
"""The version of the packets above. A program that knows another one cannot go on from them."""


@dataclass(frozen=True, slots=True)
class ParentSockets:
    """The sockets of a parent: those that clients reach, those of the admin address, the control socket."""

    public: Sequence[socket.socket]
    admin: Sequence[socket.socket]
    control: socket.socket | None


@dataclass(frozen=True, slots=True)
class ParentState:
    """A parent that serves. `public`, `admin` and `control` are descriptors of its sockets, `generation`
    counts the programs of its process, `started` is when the first one was, `left` when the last one stopped.
    `blocked` are the signals that were blocked before any were for the renewal, `messages` the packets of the
    log, `load` the samples of the last hour."""

    generation: int
    started: float
    left: float
    blocked: list[int]
    public: list[int]
    admin: list[int]
    control: int | None
    requests: list[ConnectionState]
    upgrade: UpgradeState
    pool: PoolState
    messages: list[Packet]
    load: list[dict[str, Any]] = field(default_factory=list)

    def descriptors(self) -> list[int]:
        """Return all descriptors that it names."""
        return [fd for packet in self._packets() for fd in packet.fds]

    def write(self) -> int:
        """Return the descriptor of a file with this state, which the caller owns.

        Raises:
            OSError: there is no room for it.
        """
        return write_state(self._packets())

    def _packets(self) -> list[Packet]:
        control = [] if self.control is None else [self.control]
        fields = {
            "version": VERSION,
            "release": __version__,
            "workers": protocol.VERSION,
            "generation": self.generation,
            "started": self.started,
            "left": self.left,
            "blocked": self.blocked,
            "public": len(self.public),
            "control": bool(control),
            "upgrade": asdict(self.upgrade),
            "slots": [asdict(slot) for slot in self.pool.slots],
            "keys": self.pool.keys,
            "start_failure": self.pool.start_failure,
            "load": self.load,
        }
        fds = [self.pool.page, *control, *self.public, *self.admin]
        return [
            Packet("parent", fields, [], fds),
            *(Packet("request", {}, [each.received], [each.fd]) for each in self.requests),
            *(_worker_packet(part, worker) for part, worker in self.pool.workers),
            *self.messages,
        ]


def receive_state(environ: Mapping[str, str], variable: str) -> ParentState | None:
    """Read the state in the file whose descriptor the variable names; None where there is none.

    Raises:
        CannotStart: it is no state, or that of a version that is not understood here.
    """
    fd = environ.get(variable, "")
    if not fd.isdecimal():
        return None
    try:
        packets = read_state(int(fd))
        return _state(packets)
    except (OSError, OverflowError, ValueError, LookupError, TypeError, ChannelBroken) as error:
        raise CannotStart(f"{variable}={fd} leads to no state of a parent: {error}") from None


def take_sockets(state: ParentState) -> ParentSockets:
    """Return the sockets, which are this process's; no descriptor of the state goes to another program any
    more."""
    for fd in state.descriptors():
        os.set_inheritable(fd, False)
    control = None if state.control is None else socket.socket(fileno=state.control)
    public, admin = ([socket.socket(fileno=fd) for fd in fds] for fds in (state.public, state.admin))
    return ParentSockets(public, admin, control)


def _state(packets: Sequence[Packet]) -> ParentState:
    (kind, told, _, fds), *others = packets
    if (kind, told["version"], told["workers"]) != ("parent", VERSION, protocol.VERSION):
        raise CannotStart(
            f"wsctl {__version__} cannot go on for the parent of workers that runs, wsctl {told['release']}: "
            "restart it"
        )
    page, *sockets = fds
    control = sockets.pop(0) if told["control"] else None
    return ParentState(
        generation=told["generation"],
        started=told["started"],
        left=told["left"],
        blocked=told["blocked"],
        public=sockets[: told["public"]],
        admin=sockets[told["public"] :],
        control=control,
        requests=[ConnectionState(p.fds[0], p.blobs[0]) for p in others if p.kind == "request"],
        upgrade=UpgradeState(**told["upgrade"]),
        pool=PoolState(
            slots=[SlotState(**slot) for slot in told["slots"]],
            workers=[_worker(packet) for packet in others if packet.kind == "worker"],
            page=page,
            keys=told["keys"],
            start_failure=told["start_failure"],
        ),
        messages=[packet for packet in others if packet.kind not in {"request", "worker"}],
        load=told.get("load", []),  # an earlier release keeps none
    )


_OWN = ("number", "pid", "refused", "status", "reported_at", "code", "keys", "exit_code", "listens")
"""The fields of a worker that are as they are in its packet."""


def _worker_packet(part: WorkerPart, worker: WorkerState) -> Packet:
    fields: dict[str, Any] = {name: getattr(worker, name) for name in _OWN}
    fields |= {"part": part, "next_number": worker.rpc.next_number}
    fields["pending"] = [[each.number, each.method, each.path] for each in worker.rpc.pending]
    blobs, fds = [each.body for each in worker.rpc.pending], []
    if worker.output:
        blobs.append(worker.output.partial)
        fds.append(worker.output.fd)
    if channel := worker.channel:
        fields["channel"] = {
            "received_fds": len(channel.received_fds),
            "queued_fds": [len(each) for each in channel.queued_fds],
        }
        blobs += [channel.received, *channel.queued]
        fds += [channel.fd, *channel.received_fds, *(fd for each in channel.queued_fds for fd in each)]
    return Packet("worker", fields | {"output": bool(worker.output)}, blobs, fds)


def _worker(packet: Packet) -> tuple[WorkerPart, WorkerState]:
    told, blobs, fds = packet.fields, iter(packet.blobs), iter(packet.fds)
    pending = [PendingRequest(n, method, path, next(blobs)) for n, method, path in told["pending"]]
    output = LogPipe(next(fds), next(blobs)) if told["output"] else None
    channel = None
    if (counts := told.get("channel")) is not None:
        channel = ChannelState(
            fd=next(fds),
            received=next(blobs),
            received_fds=[next(fds) for _ in range(counts["received_fds"])],
            queued=list(blobs),
            queued_fds=[[next(fds) for _ in range(count)] for count in counts["queued_fds"]],
        )
    own = {name: told[name] for name in _OWN}
    rpc = RpcState(told["next_number"], pending)
    return WorkerPart(told["part"]), WorkerState(**own, channel=channel, rpc=rpc, output=output)
