"""The processes of a server that start one another: a server its successor, a parent its workers.

Each runs this program as it is on disk now, with the same interpreter, arguments and environment. What it has
from the process that started it is a descriptor, whose number is in a variable:

    HANDOVER_FD   a successor, also that of a worker   the channel to its predecessor
    WORKER_FD     a worker                             the channel to its parent
    JOB_FD        a successor in a shell's job         the line to the process that the shell waits for
    RENEWAL_FD    a parent that was another program    the state of that, a file in memory
    TRIAL_FD      a child of a parent                  the same, which it shows that it can read, and ends
"""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, Protocol, TypeVar

from wsctl.ipc.framing import encode_packet

HANDOVER_FD = "WSCTL_HANDOVER_FD"
WORKER_FD = "WSCTL_WORKER_FD"
JOB_FD = "WSCTL_JOB_FD"
RENEWAL_FD = "WSCTL_RENEWAL_FD"
TRIAL_FD = "WSCTL_TRIAL_FD"

BETWEEN_PROCESSES = frozenset({HANDOVER_FD, WORKER_FD, JOB_FD, RENEWAL_FD, TRIAL_FD})
"""The variables that one process of ours gives to another, and no person sets."""

PASSED_SOCKETS = frozenset({"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"})
"""The variables that come with the sockets of systemd; they are for one process and no child of it."""

OF_SUPERVISED = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
"""The variables of a process that speaks with systemd: a successor does, a worker leaves it to its parent."""

INITS = frozenset({"tini", "docker-init", "dumb-init", "catatonit"})
"""First processes that start one program and end with it, and their container with them."""


PARENT_CHECK_INTERVAL = 0.001
"""Seconds until a successor looks again whether its parent has ended, which takes less than that."""


class Process(Protocol):
    """The part of a `subprocess.Popen` that a predecessor needs of its successor."""

    def kill(self) -> None: ...
    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int | None: ...


class WorkerProcess(Protocol):
    """The part of a `subprocess.Popen` that a parent needs of a worker."""

    @property
    def pid(self) -> int: ...
    def poll(self) -> int | None: ...
    def send_signal(self, sig: int) -> None: ...


Started = TypeVar("Started")

SpawnSuccessor = Callable[[int], Process]
"""Starts a successor whose channel is the descriptor. It goes on in another process, whose pid it tells."""

SpawnWorker = Callable[[int, int | None], WorkerProcess]
"""Starts a worker; takes the descriptors of its channel, and of the one to its predecessor if it has one."""


def spawn_with_channel(spawn: Callable[[int], Started]) -> tuple[socket.socket, Started]:
    """Start a process with one end of a socket pair, by its descriptor; return the other end and the process.

    Raises:
        OSError, ValueError: the system has no room for it, or a variable cannot be passed; nothing is left.
    """
    ours, theirs = socket.socketpair()
    with theirs:
        try:
            return ours, spawn(theirs.fileno())
        except BaseException:
            ours.close()
            raise


class Spawner:
    """Starts processes of this program beside the one with the environment `environ`."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        own = BETWEEN_PROCESSES | PASSED_SOCKETS
        self._environ = {name: value for name, value in environ.items() if name not in own}
        self._unsupervised = {k: value for k, value in self._environ.items() if k not in OF_SUPERVISED}

    def successor(self, channel: int, line: socket.socket | None) -> "subprocess.Popen[bytes]":
        """Start a process that takes over from this one; with a `line`, in the job of a shell, which is
        closed here."""
        with line or contextlib.nullcontext():
            passed = {HANDOVER_FD: channel} | ({JOB_FD: line.fileno()} if line else {})
            return subprocess.Popen(  # noqa: S603
                restart_command(), env=self._environ | _as_variables(passed), pass_fds=list(passed.values())
            )

    def worker(
        self, channel: int, predecessor: int | None, stderr: int | None = None
    ) -> "subprocess.Popen[bytes]":
        """Start a worker, which writes its log to `stderr`, as `Popen` takes it.

        Its own process group keeps a terminal's Ctrl-C from it: the parent passes that on.
        """
        passed = {WORKER_FD: channel} | ({} if predecessor is None else {HANDOVER_FD: predecessor})
        return subprocess.Popen(  # noqa: S603
            restart_command(),
            env=self._unsupervised | _as_variables(passed),
            pass_fds=list(passed.values()),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            process_group=0,
        )

    def trial(self, state: int) -> "subprocess.Popen[bytes]":
        """Start a process that shows whether this program, as it is on disk now, starts and can read a state;
        what it says against that is on its stderr."""
        return subprocess.Popen(  # noqa: S603
            restart_command(),
            env=self._unsupervised | _as_variables({TRIAL_FD: state}),
            pass_fds=[state],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            process_group=0,
        )

    def renew(self, state: int, kept: Sequence[int]) -> NoReturn:
        """Execute this program, as it is on disk now, in place of this process, with a state and descriptors.

        Raises:
            OSError: that cannot be done; nothing has changed.
        """
        inherited = [state, *kept]
        try:
            for fd in inherited:
                os.set_inheritable(fd, True)
            environ = self._environ | _as_variables({RENEWAL_FD: state})
            os.execve(sys.executable, restart_command(), environ)  # noqa: S606
        finally:
            for fd in inherited:
                os.set_inheritable(fd, False)


class AdoptedProcess:
    """A child of this process, started by the program that was here before it."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._code: int | None = None

    def send_signal(self, sig: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, sig)

    def poll(self) -> int | None:
        """Return the exit status as `subprocess` counts, None while it runs. Somebody else may have waited
        for it: then it has failed."""
        if self._code is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:
                self._code = 1
            else:
                self._code = os.waitstatus_to_exitcode(status) if pid else None
        return self._code


def _as_variables(passed: Mapping[str, int]) -> dict[str, str]:
    return {name: str(fd) for name, fd in passed.items()}


def restart_command() -> list[str]:
    """Return the command that starts this program as it is on disk now, with the same interpreter and
    arguments."""
    return [sys.executable, *sys.orig_argv[1:]]


def daemonize(environ: Mapping[str, str]) -> bool:
    """Go on, in a successor, in a process whose parent has ended; in any other process do nothing. Returns
    whether this is a successor. A worker stays the child of its parent, which started it.

    The system's first process is its parent then. systemd waits only for a main process that is a child of
    its own: another one's it would kill at the beginning of a stop and not at the end. The predecessor is
    told the number before anything else.
    """
    channel = environ.get(HANDOVER_FD, "")
    if not channel.isdecimal():
        return False
    if WORKER_FD in environ:
        _tell(int(channel), os.getpid())
        return True
    parent = os.getpid()
    if os.fork():
        os._exit(0)
    # By itself, so that nothing else that it sends can come before.
    _tell(int(channel), os.getpid())
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_INTERVAL)
    if JOB_FD not in environ:
        # A terminal hangs up on everybody in it when the process ends that it was opened for.
        os.setsid()
    return True


def _tell(channel: int, pid: int) -> None:
    with contextlib.suppress(OSError):
        os.write(channel, encode_packet("pid", {"pid": pid}, (), ()))


def why_not_outlived(
    pid: int | None = None, parent: int | None = None, first: Callable[[], str] | None = None
) -> str | None:
    """Return the reason why the successor would end with this process, or None.

    `first` returns the name of process 1.
    """
    pid = os.getpid() if pid is None else pid
    parent = os.getppid() if parent is None else parent
    advice = "deploy a new container instead"
    if pid == 1:
        return f"this is process 1, whose end is its container's: {advice}"
    name = (first or init_name)() if parent == 1 else ""
    if name in INITS:
        return f"process 1 is {name}, which ends its container when this process ends: {advice}"
    return None


def init_name() -> str:
    """Return the name of process 1, empty if it cannot be read."""
    try:
        return Path("/proc/1/comm").read_text().strip()
    except OSError:
        return ""
