"""The step by which a successor leaves its predecessor, which started it, as its parent."""

import contextlib
import os
from collections.abc import Mapping

from wsctl.lifecycle.handover import VARIABLE
from wsctl.lifecycle.job import VARIABLE as VARIABLE_OF_JOB
from wsctl.lifecycle.parcels import packed
from wsctl.lifecycle.workers import VARIABLE as VARIABLE_OF_WORKERS


def leave_parent(environ: Mapping[str, str]) -> bool:
    """Go on, in a successor, in a process whose parent has ended; in any other process do nothing. Returns
    whether this is a successor. A worker stays the child of its parent, which started it.

    The system's first process is its parent then. systemd waits only for a main process that is a child of
    its own: another one's it would kill at the beginning of a stop and not at the end. The predecessor is
    told the number.
    """
    channel = environ.get(VARIABLE, "")
    if not channel.isdecimal():
        return False
    if VARIABLE_OF_WORKERS in environ:
        _tell(int(channel), os.getpid())
        return True
    pid = os.fork()
    if pid:
        _tell(int(channel), pid)
        os._exit(0)
    if VARIABLE_OF_JOB not in environ:
        # A terminal hangs up on everybody in it when the process ends that it was opened for.
        os.setsid()
    return True


def _tell(channel: int, pid: int) -> None:
    with contextlib.suppress(OSError):
        os.write(channel, packed("pid", {"pid": pid}, (), ()))
