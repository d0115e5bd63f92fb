"""The step by which a successor leaves its predecessor, which started it, as its parent."""

import contextlib
import os
from collections.abc import Mapping

from wsctl.ipc.framing import encode_packet
from wsctl.ipc.handshake import HANDOVER_FD, JOB_FD, WORKER_FD


def leave_parent(environ: Mapping[str, str]) -> bool:
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
