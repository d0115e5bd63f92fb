"""A server under measurement: its process, what it costs, and how much memory it has."""

import os
import re
import select
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.bench.peer import Peer
from tests.support.processes import is_lent, popen

ROOT = Path(__file__).parent.parent.parent

START_TIMEOUT = 30.0
"""Seconds until a server must have said where it listens."""

_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") / 1024


def _cores() -> tuple[int, int] | None:
    free = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return (free[0], free[1]) if len(free) > 1 else None


CORES = _cores()
"""One core for the server and one for the client; None on a machine that has only one."""


class Server:
    """A peer's process, alone on its core unless it is not `pinned`; killed when the block ends."""

    def __init__(self, peer: Peer, *extra: str, pinned: bool = True) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="wsb")
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - it lives as long as the process
        # A server is measured as it starts cold; a test that only sees whether there are figures may fork it.
        self._process = popen(
            [*peer.command, *extra],
            cold=not is_lent(),
            cwd=ROOT,
            env=_environ(self._folder.name),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            preexec_fn=_on_its_core if pinned else _on_both_cores,
        )
        self.pid = self._process.pid
        try:
            self.port = self._port()
            self.settle()  # it may still import what it needs later
        except BaseException:
            self._end()
            raise

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self._end()

    def cpu(self) -> float:
        """Seconds of CPU the process has used."""
        return cpu_of(self.pid)

    def cpu_of_all(self) -> float:
        """The same, with its workers."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()
        return sum(map(cpu_of, map(int, children)), self.cpu())

    def ticks(self) -> tuple[int, int]:
        """Clock ticks in user space and in the kernel (proc_pid_stat(5))."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]), int(fields[12])

    def memory(self) -> float:
        """Resident KiB."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * _PAGE_KIB

    def settle(self) -> None:
        """Wait until it and its workers have nothing to do: less than a hundredth of the time in use."""
        for _ in range(100):
            before = self.cpu_of_all()
            time.sleep(0.05)
            if self.cpu_of_all() - before < 0.0005:
                return

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def complaint(self) -> str:
        """The last line it wrote on stderr."""
        self._log.seek(0)
        return (self._log.read().strip().splitlines() or ["it said nothing"])[-1]

    def _port(self) -> int:
        assert self._process.stdout
        said, deadline = b"", time.monotonic() + START_TIMEOUT
        while not (found := re.search(rb"://\S+:(\d+)\s", said)):
            patience = max(0.0, deadline - time.monotonic())
            ready, _, _ = select.select([self._process.stdout], [], [], patience)
            chunk = os.read(self._process.stdout.fileno(), 4096) if ready else b""
            if not chunk:
                raise ConnectionError(f"it did not start: {self.complaint()}")
            said += chunk
        return int(found[1])

    def _end(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        self._log.close()
        self._folder.cleanup()


def _on_its_core() -> None:
    """Have this process, which begins, on the server's core from its first thread on."""
    if CORES:
        os.sched_setaffinity(0, {CORES[0]})


def _on_both_cores() -> None:
    if CORES:
        os.sched_setaffinity(0, CORES)


def cpu_of(pid: int) -> float:
    """Seconds of CPU that a process has used, in nanosecond steps: the clock of clock_getcpuclockid(3)."""
    return time.clock_gettime(~pid << 3 | 2)


def _environ(runtime_dir: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WSCTL_", "UVICORN_", "WEB_"))}
    return kept | {"WSCTL_RUNTIME_DIR": runtime_dir}
