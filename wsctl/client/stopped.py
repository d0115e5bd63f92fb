"""Detection of a process of this machine that is stopped: it has a control socket, and answers nobody."""

import subprocess
from contextlib import suppress
from pathlib import Path

from wsctl.client.target import Target
from wsctl.errors import Silent

PROC = Path("/proc")

_STOPPED = "Tt"
"""The states of proc(5) and ps(1) that a stop signal and a debugger make."""


def check_runs(target: Target) -> None:
    """Check that a process can be asked: one that is stopped would do what was asked whenever it goes on.

    Raises:
        Silent: the process is stopped.
    """
    if target.pid and is_stopped(target.pid):
        how = f"'fg' in its shell or 'kill -CONT {target.pid}' lets it go on"
        raise Silent(f"{target.process} does not answer: it is stopped (Ctrl-Z or SIGSTOP); {how}")


def is_stopped(pid: int, proc: Path = PROC) -> bool:
    """Tell whether Ctrl-Z, SIGSTOP or a debugger has stopped a process; False where that cannot be found
    out."""
    if (proc / "self").exists():
        with suppress(OSError, IndexError):
            # The name of the program comes before, in brackets, and may have any character in it.
            return (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] in _STOPPED
        return False
    with suppress(OSError, subprocess.SubprocessError):
        asked = ["ps", "-o", "state=", "-p", str(pid)]
        told = subprocess.run(asked, capture_output=True, text=True, timeout=1, check=False).stdout  # noqa: S603
        return told.strip()[:1] in tuple(_STOPPED)
    return False
