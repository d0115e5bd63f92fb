"""The start of a worker by its parent: in a process group of its own, without the parent's own variables."""

import asyncio
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from wsctl.ipc.handshake import HANDOVER_FD, WORKER_FD
from wsctl.process.replacement import restart_command
from wsctl.server.sockets import PASSED_SOCKETS
from wsctl.server.workers.worker import Spawn

_PARENT_VARIABLES = PASSED_SOCKETS | {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", HANDOVER_FD}
"""The variables that are meant for the parent, which speaks with systemd for all."""


@dataclass(frozen=True, slots=True)
class LogOutput:
    """The destination of the workers' log lines where the parent writes them, above its bar."""

    write: Callable[[str], None]
    colour: bool


def worker_spawner(environ: Mapping[str, str], output: LogOutput | None) -> Spawn:
    """Return a function that starts this program again, as a worker. Without `output` it writes to our
    stderr by itself.

    Its own process group keeps a terminal's Ctrl-C from it: the parent passes that on.
    """
    kept = {name: value for name, value in environ.items() if name not in _PARENT_VARIABLES}

    def spawn(channel: int, predecessor: int | None) -> "subprocess.Popen[bytes]":
        passed = {WORKER_FD: channel}
        if predecessor is not None:
            passed[HANDOVER_FD] = predecessor
        process = _RelayedProcess(
            restart_command(),
            env=kept | {name: str(fd) for name, fd in passed.items()},
            pass_fds=list(passed.values()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE if output else None,
            process_group=0,
        )
        if output and process.stderr:
            process.lines = _LineRelay(process.stderr.fileno(), output.write, process)
        return process

    return spawn


class _RelayedProcess(subprocess.Popen[bytes]):
    """A worker that writes through its parent. All it has written is passed on before its end is known."""

    lines: "_LineRelay | None" = None

    def poll(self) -> int | None:
        code = super().poll()
        if code is not None and self.lines:
            self.lines.finish()
        return code


class _LineRelay:
    """Passes on what a process writes, line by line, until its end."""

    def __init__(self, fd: int, write: Callable[[str], None], process: "subprocess.Popen[bytes]") -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._write = write
        self._process = process  # which owns the descriptor
        self._partial = b""
        self._over = False
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(fd, self._readable)

    def finish(self) -> None:
        """Pass on everything that can be read."""
        while not self._over and self._readable():
            pass

    def _readable(self) -> bool:
        """Pass on what can be read; tell whether there was something."""
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        for line in lines if data else filter(None, [*lines, self._partial]):
            self._write(line.decode(errors="replace"))
        if not data:
            self._over = True
            self._loop.remove_reader(self._fd)
            if self._process.stderr:
                self._process.stderr.close()
        return bool(data)
