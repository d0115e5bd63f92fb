"""A worker as the parent sees it: a process, a channel to it, and its log lines."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wsctl.codes import ExitCode
from wsctl.control.status import ServerStatus
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, HandoverProgress
from wsctl.ipc.channel import Channel, ChannelState
from wsctl.ipc.framing import Packet, close_all
from wsctl.ipc.rpc import RequestHandler, RpcPeer, RpcState
from wsctl.process.spawn import AdoptedProcess, Spawner, SpawnWorker, WorkerProcess
from wsctl.server.condition import Condition
from wsctl.server.logs import tolerate_lost_reader
from wsctl.server.workers.group_log import KINDS, GroupLog
from wsctl.server.workers.protocol import VERSION

Facts = dict[str, Any]

FRESH = 3.0
"""Seconds for which a worker's report is believed: it reports every second unless it hangs."""


@dataclass(frozen=True, slots=True)
class LogPipe:
    """The pipe through which a worker writes its log lines, and the part of a line that has come."""

    fd: int
    partial: bytes


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker as it stands, so that the same parent can go on with it as another program. The names are
    those of `Worker`; `channel` is None once the worker has hung up, `output` where its lines do not come
    through the parent."""

    number: int
    pid: int
    refused: str | None
    status: Facts | None
    reported_at: float
    code: int | None
    keys: str | None
    exit_code: int
    listens: bool
    channel: ChannelState | None
    rpc: RpcState
    output: LogPipe | None


AdoptWorker = Callable[[int, LogPipe | None], WorkerProcess]
"""Makes the process of a worker that runs already, of its pid and its pipe for log lines."""


class Worker:
    """One process, with our end of its channel. `messages` gets its packets about the log. `on_change` is
    called after each other one, `on_process_request` with one about another process, and `on_exit` once, when
    it has ended and everything it sent was read. Moments are on `clock`. With a `state` it runs already.

    Attributes:
        number: which of the workers it is, from 1 on.
        refused: why it cannot start, in its own words.
        status: its status, as it was reported last; None before that.
        reported_at: when that was.
        code: its exit status, as `subprocess` counts.
        keys: the kind of keys it checks tokens with, once it has reported that.
    """

    def __init__(
        self,
        number: int,
        process: WorkerProcess,
        channel: socket.socket,
        handler: RequestHandler,
        *,
        messages: GroupLog | None,
        clock: Callable[[], float],
        on_change: Callable[["Worker"], None],
        on_process_request: Callable[["Worker", Packet], None],
        on_exit: Callable[["Worker"], None],
        state: WorkerState | None = None,
    ) -> None:
        self.process = process
        self.number = number
        self.refused: str | None = None
        self.status: ServerStatus | None = None
        self.reported_at = float("-inf")
        self.code: int | None = None
        self.keys: str | None = None
        self._exit_code = ExitCode.DONE
        self._messages = messages
        self._clock = clock
        self._on_change = on_change
        self._on_process_request = on_process_request
        self._on_exit = on_exit
        self._listens = self._channel_broken = False
        if state:
            self._go_on(state)
        self._drained = Condition()
        self._channel = Channel(
            channel,
            self._receive,
            self._disconnected,
            self._drained.notify_all,
            state.channel if state else None,
        )
        self.send_packet, self.send_encoded = self._channel.send, self._channel.send_encoded
        self._rpc = RpcPeer(self._channel, handler, state.rpc if state else None)
        self.start_call, self.call = self._rpc.start_call, self._rpc.call
        self.hold_requests, self.release_requests = self._rpc.hold, self._rpc.release

    def greet(self, hello: Facts, descriptors: Sequence[int]) -> None:
        """Send the process what it begins with."""
        fields = hello | {"version": VERSION, "number": self.number}
        self._channel.send("hello", fields, fds=[os.dup(fd) for fd in descriptors])

    def _go_on(self, state: WorkerState) -> None:
        self.refused, self.code, self.keys = state.refused, state.code, state.keys
        self.status = ServerStatus.from_json(state.status) if state.status else None
        self.reported_at = state.reported_at
        self._exit_code = ExitCode(state.exit_code)
        self._listens = state.listens

    def state(self) -> WorkerState:
        """Return how the worker stands; nothing is closed or changed."""
        return WorkerState(
            number=self.number,
            pid=self.pid,
            refused=self.refused,
            status=self.status.to_json() if self.status else None,
            reported_at=self.reported_at,
            code=self.code,
            keys=self.keys,
            exit_code=int(self._exit_code),
            listens=self._listens,
            channel=None if self._channel.closed else self._channel.state(),
            rpc=self._rpc.state(),
            output=self.process.pipe if isinstance(self.process, RelayedProcess) else None,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def queued(self) -> int:
        """The bytes on their way to the worker."""
        return self._channel.queued

    async def take_all(self) -> None:
        """Wait until the worker has taken everything that was sent, or is gone."""
        await self._drained.wait_for(lambda: not self._channel.queued)

    @property
    def listening(self) -> bool:
        """True if the worker has begun to take connections."""
        return self._listens and self.status is not None and self.status.status != Phase.STARTING

    @property
    def ended(self) -> bool:
        """True if the worker has ended, or has hung up and so will."""
        return self.code is not None or self._channel_broken

    @property
    def silent(self) -> bool:
        """True if the worker should have reported something long ago: it hangs, or is stopped."""
        return self.listening and self.code is None and self._clock() - self.reported_at >= FRESH

    @property
    def drain(self) -> DrainProgress | None:
        """The worker's drain, as it was reported last."""
        return self.status.drain if self.status else None

    @property
    def upgrade(self) -> HandoverProgress | None:
        """The worker's handover, as it was reported last."""
        return self.status.upgrade if self.status else None

    @property
    def stopped(self) -> bool:
        """True if the worker has ended its work, though perhaps not its process."""
        return self.status is not None and self.status.status == Phase.STOPPED

    @property
    def exit_code(self) -> int:
        """The exit code with which the worker ended, or says that it will; one that a signal killed has
        failed."""
        if self.code is None:
            return self._exit_code
        return self.code if self.code in set(ExitCode) else ExitCode.ERROR

    def send(self, kind: str, **fields: object) -> None:
        self._channel.send(kind, fields)

    def reap(self) -> None:
        """Look whether the process has ended."""
        if self.code is None and (code := self.process.poll()) is not None:
            self.code = code
            self._report_exit()

    def kill(self) -> None:
        """Kill the process, whatever it does."""
        if self.code is None:
            self.process.send_signal(signal.SIGKILL)

    def suspend(self) -> None:
        """Stop the process, as Ctrl-Z does, until `resume`."""
        self._send_signal(signal.SIGSTOP)

    def wait_suspended(self) -> None:
        """Wait until the process is stopped, or has ended; macOS cannot tell."""
        if self.code is None and hasattr(os, "waitid"):
            with suppress(ChildProcessError):
                os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def resume(self) -> None:
        """Let the process that was stopped go on."""
        self._send_signal(signal.SIGCONT)

    def _send_signal(self, signum: int) -> None:
        """Send a signal without a look at whether the process has ended: for handlers of signals. Until the
        parent has looked, no other process has its id."""
        if self.code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signum)

    def exit_fields(self) -> Facts:
        """Return how the process ended, for the log."""
        if self.code is not None and self.code < 0:
            return {"pid": self.pid, "signal": signal.Signals(-self.code).name}
        return {"pid": self.pid, "exit_code": self.code}

    def _receive(self, packet: Packet) -> None:
        if self._messages and packet.kind in KINDS:
            self._messages.receive(self, packet)
            return
        match packet.kind:
            case "report":
                self.status = ServerStatus.from_json(packet.fields["facts"])
                self.reported_at = self._clock()
                self._exit_code = ExitCode(packet.fields["exit_code"])
            case "listening":
                self._listens, self.keys = True, packet.fields.get("keys")
            case "refused":
                self.refused = packet.fields["why"]
            case "ask" | "answer":
                self._rpc.receive(packet)
            case "successor" | "kill":
                self._on_process_request(self, packet)
            case _:
                close_all(packet.fds)
        self._on_change(self)

    def _disconnected(self, why: str) -> None:
        self._channel_broken = True
        self._drained.notify_all()
        self._rpc.disconnect()
        self._report_exit()

    def _report_exit(self) -> None:
        """Report the end once the channel is closed too: what the process sent last is read before."""
        if self._channel_broken and self.code is not None:
            self._channel.close()
            if self._messages:
                self._messages.exited(self)
            self._on_exit(self)


def worker_names(workers: Iterable[Worker]) -> str:
    """Return the names of the workers, for people."""
    return " and ".join(f"worker {worker.number} (pid {worker.pid})" for worker in workers)


@dataclass(frozen=True, slots=True)
class LogOutput:
    """The destination of the workers' log lines where the parent writes them, above its bar."""

    write: Callable[[str], None]
    colour: bool


def worker_spawner(spawner: Spawner, output: LogOutput | None) -> SpawnWorker:
    """Return a function that starts a worker, whose log lines go to `output`. Without one it writes to our
    stderr by itself."""
    if output is None:
        return spawner.worker

    def spawn(channel: int, predecessor: int | None) -> WorkerProcess:
        process = spawner.worker(channel, predecessor, subprocess.PIPE)
        with process.stderr or open(os.devnull, "rb") as stream:
            pipe = LogPipe(os.dup(stream.fileno()), b"")
        return RelayedProcess(process, pipe, output.write)

    return spawn


def worker_adopter(output: LogOutput | None) -> AdoptWorker:
    """Return a function that makes the process of a worker that runs already; what comes through its pipe
    goes to `output`, or to our stderr without one."""
    write = output.write if output else _write_line

    def adopt(pid: int, pipe: LogPipe | None) -> WorkerProcess:
        process = AdoptedProcess(pid)
        return RelayedProcess(process, pipe, write) if pipe else process

    return adopt


def _write_line(text: str) -> None:
    with tolerate_lost_reader(sys.stderr):
        sys.stderr.write(f"{text}\n")


class RelayedProcess:
    """The process of a worker that writes through its parent, line by line. All that it has written is passed
    on before its end is known. To be made on a running loop."""

    def __init__(self, process: WorkerProcess, pipe: LogPipe, write: Callable[[str], None]) -> None:
        self._process = process
        self._write = write
        self._fd: int | None = pipe.fd
        self._partial = pipe.partial
        self._loop = asyncio.get_running_loop()
        os.set_blocking(pipe.fd, False)
        self._loop.add_reader(pipe.fd, self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def pipe(self) -> LogPipe | None:
        """The pipe as it stands; None once it is closed."""
        return None if self._fd is None else LogPipe(self._fd, self._partial)

    def send_signal(self, sig: int) -> None:
        self._process.send_signal(sig)

    def poll(self) -> int | None:
        code = self._process.poll()
        while code is not None and self._readable():
            pass
        return code

    def _readable(self) -> bool:
        """Pass on what can be read; tell whether there may be more."""
        if self._fd is None:
            return False
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines if data else filter(None, [*lines, self._partial]):
            self._write(line.decode(errors="replace"))
        if not data:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = None
        return bool(data)
