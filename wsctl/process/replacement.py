"""The replacement of this process by a fresh one: the command that starts it, whether it can outlive this
process, and its step out of it."""

import contextlib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from wsctl.ipc.framing import encode_packet
from wsctl.ipc.handshake import HANDOVER_FD, JOB_FD, WORKER_FD

INITS = frozenset({"tini", "docker-init", "dumb-init", "catatonit"})
"""First processes that start one program and end with it, and their container with them."""


def restart_command() -> list[str]:
    """Return the command that starts this program as it is on disk now, with the same interpreter and
    arguments."""
    return [sys.executable, *sys.orig_argv[1:]]


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


def daemonize(environ: Mapping[str, str]) -> bool:
    """Go on, in a successor, in a process whose parent has ended; in any other process do nothing. Returns
    whether this is a successor. A worker stays the child of its parent, which started it.

    The system's first process is its parent then. systemd waits only for a main process that is a child of
    its own: another one's it would kill at the beginning of a stop and not at the end. The predecessor is
    told the number.
    """
    channel = environ.get(HANDOVER_FD, "")
    if not channel.isdecimal():
        return False
    if WORKER_FD in environ:
        _tell(int(channel), os.getpid())
        return True
    pid = os.fork()
    if pid:
        _tell(int(channel), pid)
        os._exit(0)
    if JOB_FD not in environ:
        # A terminal hangs up on everybody in it when the process ends that it was opened for.
        os.setsid()
    return True


def _tell(channel: int, pid: int) -> None:
    with contextlib.suppress(OSError):
        os.write(channel, encode_packet("pid", {"pid": pid}, (), ()))
