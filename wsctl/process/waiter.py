"""The process that keeps a server's place in the job of a shell: a program of its own, of the standard
library only.

The process that the shell has started becomes the waiter when its successor serves. It passes signals on, and
ends as the last of the successors does. They have the other end of its channel and write lines to it; the
reader may be of an older version than the writer:

    serves PID        a successor has taken over
    ended PID CODE    it ends with this code

When the last of them has hung up, nobody serves any more.
"""

import os
import resource
import select
import signal
import sys
import threading
from contextlib import suppress
from typing import NoReturn

PASSED = frozenset(
    {
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
        signal.SIGQUIT,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTSTP,
        signal.SIGCONT,
        signal.SIGWINCH,
    }
)
"""The signals that are meant for the server."""

HELD = PASSED | {signal.SIGCHLD}
"""The signals that must not act on the waiter by themselves."""

SI_KERNEL = 0x80
"""The code by which Linux marks a signal of its own: a terminal's reaches every process of the job."""


class Waiter:
    """Waits for the process `pid`, and for those that take over from it, at the end `fd` of their channel.
    From `caught` the numbers of signals can be read that this process caught before it waited for them."""

    def __init__(self, fd: int, pid: int, caught: int | None = None) -> None:
        self._fd = fd
        self._pid = pid
        self._caught = caught
        self._rest = b""
        self._reading = threading.Lock()
        self._codes: dict[int, int] = {}
        self._over = False

    def run(self) -> NoReturn:
        """Pass signals on until the last successor has ended, and end in the same way."""
        signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
        threading.Thread(target=self._listen, daemon=True).start()
        self._pass_caught()
        while not self._over:
            signum, from_terminal = _next_signal()
            if signum == signal.SIGCHLD:
                self._reap()
            else:
                self._pass(signum, from_terminal)
        self._end()

    def _pass_caught(self) -> None:
        if self._caught is not None:
            os.set_blocking(self._caught, False)
            with suppress(BlockingIOError):
                for signum in os.read(self._caught, 4096):
                    self._pass(signum, from_terminal=False)
            os.close(self._caught)

    def _listen(self) -> None:
        while not self._over:
            self._wait_readable(None)
            self._read()
        os.kill(os.getpid(), signal.SIGCHLD)

    def _read(self) -> None:
        """Take what has come from the successors, and wait for nothing."""
        with self._reading:
            while not self._over and self._wait_readable(0):
                data = os.read(self._fd, 4096)
                self._over = not data
                *lines, self._rest = (self._rest + data).split(b"\n")
                for line in lines:
                    self._take(line.split())

    def _wait_readable(self, timeout: int | None) -> bool:
        poll = select.poll()  # not select(2): the number of the descriptor may be above a thousand
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(timeout))

    def _take(self, words: list[bytes]) -> None:
        match words:
            case [b"serves", pid]:
                self._pid = int(pid)
            case [b"ended", pid, code]:
                self._codes[int(pid)] = int(code)

    def _pass(self, signum: int, from_terminal: bool) -> None:
        self._read()  # the process that served last may have told of its successor, and ended, a moment ago
        with suppress(ProcessLookupError):
            if not from_terminal or os.getpgid(self._pid) != os.getpgrp():
                os.kill(self._pid, signum)
        if signum == signal.SIGTSTP:
            _stop()

    def _reap(self) -> None:
        """Collect the exit codes of processes that have ended: where the system lets us, all successors are
        our children."""
        with suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._codes[ended[0]] = os.waitstatus_to_exitcode(ended[1])

    def _end(self) -> NoReturn:
        with suppress(ChildProcessError):
            while self._codes.get(self._pid) is None:
                pid, status = os.wait()
                self._codes[pid] = os.waitstatus_to_exitcode(status)
        code = self._codes.get(self._pid, 1)
        if code < 0:
            _die_by(-code)
        os._exit(code if code >= 0 else 128 - code)


def _next_signal() -> tuple[int, bool]:
    """Return the next signal, and whether a terminal has sent it."""
    if not hasattr(signal, "sigwaitinfo"):  # macOS does not tell: the server takes two at once for one
        return signal.sigwait(HELD), False
    info = signal.sigwaitinfo(HELD)
    return info.si_signo, info.si_code == SI_KERNEL


def _stop() -> None:
    """Stop until the shell lets the job go on."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTSTP})
    os.kill(os.getpid(), signal.SIGTSTP)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTSTP})


def _die_by(signum: int) -> None:
    """End by the signal that the server was ended by, so that the shell says the same."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if signum != signal.SIGKILL:
        signal.signal(signum, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signum})
    os.kill(os.getpid(), signum)


if __name__ == "__main__":
    Waiter(*map(int, sys.argv[1:4])).run()  # a process of an earlier release names no third descriptor
