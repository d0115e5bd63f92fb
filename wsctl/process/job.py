"""The place of a server in the job of a shell, which stays when successors take over.

A shell waits for the process that it has started, and Ctrl-C reaches the processes of that one's group. So a
successor stays in the group, and the first process, its work done, becomes a waiter (`waiter.py`).
"""

import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.drain.signals import PASSED_TO_SUCCESSOR
from wsctl.process import waiter
from wsctl.process.spawn import HANDOVER_FD, JOB_FD

PR_SET_CHILD_SUBREAPER = 36
"""The option of prctl(2) (<linux/prctl.h>) with which orphans below become children of this process, which
learns how they end."""


class Job:
    """The part of this process in the job. With `stays` the first process stays although no shell waits for
    it, because somebody else does: a container, an editor, a program that starts several.

    Attributes:
        line: the connection to the waiter; None in the first process, and where there is no job.
        successor: the pid of the process that has taken over from this one.
    """

    def __init__(self, line: socket.socket | None, *, supervised: bool, stays: bool = False) -> None:
        self.line = line
        self.successor: int | None = None
        self._supervised = supervised
        self._stays = stays and not supervised
        self._waits_at: socket.socket | None = None

    @property
    def outlives(self) -> bool:
        """True if the first process stays in any case, so that the end of this one ends nothing else."""
        return self._stays

    @property
    def passes_on(self) -> bool:
        """True if signals that reach this process are its successor's: the shell's own process gets all of
        the job, and the waiter may not have read yet that another one serves."""
        return bool(self.successor and (self._waits_at or self.line))

    def line_for_successor(self) -> socket.socket | None:
        """Return a descriptor of the line, which the caller owns; None where no shell waits for this
        process."""
        if self.line:
            return self.line.dup()
        if self._supervised or not (self._stays or _is_in_terminal()):
            return None
        _adopt_orphans()
        if self._waits_at:
            self._waits_at.close()
        self._waits_at, theirs = socket.socketpair()
        return theirs

    def handing_over(self, progress: HandoverProgress) -> None:
        """Take each state of a handover; when it is done, tell the waiter who serves."""
        if progress.state is HandoverState.DONE:
            self.successor = progress.successor
            self._say(f"serves {self.successor}")

    def pass_on(self, signum: int) -> bool:
        """Tell the successor of a signal that this process has received; False if it is not for that one."""
        if not self.successor or not self.passes_on:
            return False
        with suppress(ProcessLookupError):
            os.kill(self._serving() or self.successor, PASSED_TO_SUCCESSOR[signum])
        return True

    def _serving(self) -> int | None:
        """Return the process that has told the waiter-to-be that it serves, in place of the successor; the
        waiter reads that again."""
        told = b""
        if self._waits_at:
            with suppress(BlockingIOError):
                told = self._waits_at.recv(4096, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        pids = re.findall(rb"^serves (\d+)\n", told, re.MULTILINE)
        return int(pids[-1]) if pids else None

    def end(self, code: int) -> None:
        """Tell the waiter, if no successor serves, that this process ends with `code`. Where a shell waits
        for this process and a successor serves, it goes on as the waiter instead, and this does not
        return."""
        if self.successor and self._waits_at:
            _become_waiter(self._waits_at, self.successor)
        elif not self.successor:
            self._say(f"ended {os.getpid()} {code}")

    def _say(self, text: str) -> None:
        with suppress(OSError):
            if self.line:
                self.line.sendall(f"{text}\n".encode())


def job(environ: Mapping[str, str], *, stays: bool = False) -> Job:
    """Return the part of this process; `stays` is that of `Job`. A process that a service manager supervises
    has its own way to say who serves."""
    line = None
    if HANDOVER_FD in environ and environ.get(JOB_FD, "").isdecimal():
        with suppress(OSError):
            line = socket.socket(fileno=int(environ[JOB_FD]))
            line.set_inheritable(False)
    return Job(line, supervised="NOTIFY_SOCKET" in environ, stays=stays)


def _is_in_terminal() -> bool:
    """Tell whether this process has a terminal: one of its streams, or it leads the group in front."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return False
    try:
        leads = os.tcgetpgrp(terminal) == os.getpgrp() == os.getpid()
        return leads or any(os.isatty(fd) for fd in (0, 1, 2))
    except OSError:
        return False
    finally:
        os.close(terminal)


def _adopt_orphans() -> None:
    """Adopt the successor when it leaves its parent, so that this process learns exactly how it ends."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _become_waiter(channel: socket.socket, successor: int) -> None:
    """Replace this process by the waiter's own small program; where its file is gone, be the waiter in this
    process."""
    caught = _note_signals()
    signal.pthread_sigmask(signal.SIG_BLOCK, waiter.HELD)
    fd, program = channel.detach(), Path(waiter.__file__)
    if program.exists():
        os.set_inheritable(fd, True)
        os.set_inheritable(caught, True)
        words = [sys.executable, "-I", "-S", str(program), str(fd), str(successor), str(caught)]
        os.execv(sys.executable, words)  # noqa: S606
    waiter.Waiter(fd, successor, caught).run()


def _note_signals() -> int:
    """Return a descriptor from which the numbers of all signals can be read that this process catches from
    now on. The main thread can block them for itself alone, and what another thread catches, nobody would
    handle: executing a program ends the threads."""
    caught, noted = socket.socketpair()
    noted.setblocking(False)
    signal.set_wakeup_fd(noted.detach(), warn_on_full_buffer=False)
    for signum in waiter.PASSED:
        if signal.getsignal(signum) is not signal.SIG_IGN:
            signal.signal(signum, lambda signum, frame: None)
    return caught.detach()
