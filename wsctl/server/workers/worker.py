"""A worker as the parent sees it: a process, a channel to it, and its log lines."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, Any

from wsctl.codes import ExitCode
from wsctl.control.status import ServerStatus
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, HandoverProgress
from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet, close_all
from wsctl.ipc.rpc import RequestHandler, RpcPeer
from wsctl.process.spawn import Spawner, SpawnWorker, WorkerProcess, spawn_with_channel
from wsctl.server.condition import Condition
from wsctl.server.workers.group_log import KINDS, GroupLog
from wsctl.server.workers.protocol import VERSION

Facts = dict[str, Any]

FRESH = 3.0
"""Seconds for which a worker's report is believed: it reports every second unless it hangs."""


class Worker:
    """One process. `messages` gets its packets about the log. `on_change` is called after each other one,
    `on_process_request` with one about another process, and `on_exit` once, when it has ended and everything
    it sent was read. Moments are on `clock`.

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
        spawn: SpawnWorker,
        hello: Facts,
        listeners: Sequence[int],
        handler: RequestHandler,
        *,
        messages: GroupLog | None,
        clock: Callable[[], float],
        on_change: Callable[["Worker"], None],
        on_process_request: Callable[["Worker", Packet], None],
        on_exit: Callable[["Worker"], None],
        succeeds: int | None = None,
    ) -> None:
        ours, self.process = spawn_with_channel(lambda channel: spawn(channel, succeeds))
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
        self._drained = Condition()
        self._channel = Channel(ours, self._receive, self._disconnected, self._drained.notify_all)
        self.send_packet, self.send_encoded = self._channel.send, self._channel.send_encoded
        self._rpc = RpcPeer(self._channel, handler)
        self.start_call, self.call = self._rpc.start_call, self._rpc.call
        fields = hello | {"version": VERSION, "number": number}
        self._channel.send("hello", fields, fds=[os.dup(fd) for fd in listeners])

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


def worker_spawner(environ: Mapping[str, str], output: LogOutput | None) -> SpawnWorker:
    """Return a function that starts a worker, whose log lines go to `output`. Without one it writes to our
    stderr by itself."""
    spawner = Spawner(environ)
    if output is None:
        return spawner.worker

    def spawn(channel: int, predecessor: int | None) -> WorkerProcess:
        return RelayedProcess(spawner.worker(channel, predecessor, subprocess.PIPE), output.write)

    return spawn


class RelayedProcess:
    """The process of a worker that writes through its parent, line by line. All that it has written is passed
    on before its end is known. To be made on a running loop."""

    def __init__(self, process: "subprocess.Popen[bytes]", write: Callable[[str], None]) -> None:
        self._process = process
        self._write = write
        self._stream: IO[bytes] | None = process.stderr
        self._partial = b""
        self._loop = asyncio.get_running_loop()
        if self._stream:
            os.set_blocking(self._stream.fileno(), False)
            self._loop.add_reader(self._stream.fileno(), self._readable)

    @property
    def pid(self) -> int:
        return self._process.pid

    def send_signal(self, sig: int) -> None:
        self._process.send_signal(sig)

    def poll(self) -> int | None:
        code = self._process.poll()
        while code is not None and self._readable():
            pass
        return code

    def _readable(self) -> bool:
        """Pass on what can be read; tell whether there may be more."""
        if not self._stream:
            return False
        try:
            data = os.read(self._stream.fileno(), 65536)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines if data else filter(None, [*lines, self._partial]):
            self._write(line.decode(errors="replace"))
        if not data:
            self._close(self._stream)
        return bool(data)

    def _close(self, stream: IO[bytes]) -> None:
        self._loop.remove_reader(stream.fileno())
        stream.close()
        self._stream = None
