"""Programs under test: real processes, started cold or forked from one that has imported everything."""

import atexit
import functools
import inspect
import os
import pickle
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.support.fork_server import (
    MODULES,
    PACKET,
    STATUS,
    Answer,
    Inherited,
    Question,
    Request,
    command_to_go_on,
    here,
)
from wsctl.process.spawn import HANDOVER_FD, JOB_FD, WORKER_FD

COLD = "WSCTL_TESTS_COLD"
"""With this variable set, everything starts cold: to compare, and to measure what is covered."""

LENT = "WSCTL_TESTS_FORK_SERVER"
"""The variable with the address of a fork server, for a part of the tests that is a program of its own: it
has its programs forked there, and needs no fork server of its own."""

_OF_SEVERAL_PROCESSES = frozenset({"--workers", "--reload"})
"""Flags with which uvicorn starts processes of its own, by what it was started with itself."""


class ForkedProcess(subprocess.Popen[Any]):
    """A `subprocess.Popen` of a program that the fork server starts."""

    def _execute_child(self, *given: Any) -> None:
        asked = _PARAMETERS.bind(self, *given).arguments
        ours, theirs = socket.socketpair()
        self._status = ours
        prepare = asked["preexec_fn"]
        request = Request(
            argv=list(map(os.fsdecode, asked["args"])),
            environ=dict(os.environ if asked["env"] is None else asked["env"]),
            folder=os.fspath(asked["cwd"]) if asked["cwd"] else os.getcwd(),
            pass_fds=tuple(asked["pass_fds"]),
            new_session=asked["start_new_session"],
            process_group=asked["process_group"],
            terminal=prepare is take_terminal,
            blocked=frozenset(map(int, signal.pthread_sigmask(signal.SIG_BLOCK, ()))),
            prepare=None if prepare is take_terminal else prepare,
        )
        streams = [asked["p2cread"], asked["c2pwrite"], asked["errwrite"]]
        fds = [fd if fd != -1 else number for number, fd in enumerate(streams)]
        with theirs:
            _ask(request, [*fds, *request.pass_fds, theirs.fileno()])
        try:
            self.pid = self._receive(0)
        except BaseException:
            ours.close()
            raise
        self._child_created = True
        pipes = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
        self._close_pipe_fds(*(asked[name] for name in pipes))  # type: ignore[attr-defined]

    def _internal_poll(self, _deadstate: int | None = None, **_: Any) -> int | None:
        code: int | None = super()._internal_poll(_deadstate, _waitpid=self._waitpid)  # type: ignore[misc]
        return code

    def _try_wait(self, flags: int) -> tuple[int, int]:
        return self._waitpid(self.pid, flags)

    def _waitpid(self, pid: int, flags: int) -> tuple[int, int]:
        """What `os.waitpid` says to a parent."""
        try:
            status = self._receive(socket.MSG_DONTWAIT if flags & os.WNOHANG else 0)
        except BlockingIOError:
            return 0, 0
        self._status.close()
        return pid, status

    def _receive(self, flags: int) -> int:
        packet = self._status.recv(STATUS.size, flags)
        if not packet:
            raise RuntimeError("the fork server has gone")
        return int(STATUS.unpack(packet)[0])


def take_terminal() -> None:
    """Make standard input the terminal whose Ctrl-C the program gets: to be run in it before it begins."""
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def popen(command: Sequence[str], *, cold: bool = False, **options: Any) -> "subprocess.Popen[Any]":
    """Start a program as `subprocess.Popen` does, forked where that cannot be told apart."""
    kind = ForkedProcess if not cold and can_fork(command, options) else subprocess.Popen
    return kind(command, **options)


def run(command: Sequence[str], *, timeout: float, input: str = "", **options: Any) -> Any:  # noqa: A002
    """Run a program to its end: returncode, stdout, stderr, all of it text."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen(command, text=True, **(pipes | options)) as process:
        try:
            out, err = process.communicate(input, timeout=timeout)
        except BaseException:
            process.kill()
            raise
        return subprocess.CompletedProcess(command, process.returncode, out, err)


def lending(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return the environment of a part of the tests that is to use the fork server of this process, if that
    can fork what the part starts."""
    able = can_fork((sys.executable, "-m", MODULES[0]), {"env": environ})
    return {**environ, LENT: _answer(os.getpid()).server.hex()} if able else dict(environ)


def is_lent() -> bool:
    """Whether this process uses the fork server of the one that has started it."""
    return LENT in os.environ and COLD not in os.environ


def stand_in() -> tuple[str, ...]:
    """Return a command that stands for `wsctl` where others start it, a shell or asyncio, and has it forked.

    Not where a shell has jobs: its child is the stand-in. The program itself where nothing can be forked.
    """
    cold = (sys.executable, "-m", "wsctl")
    if not can_fork(cold, {}):
        return cold
    path = Path(__file__).with_name("stand_in.py")
    return sys.executable, "-IS", str(path), _answer(os.getpid()).server.hex()


def put_stand_in(folder: Path) -> None:
    """Put a program `wsctl` into a folder that is a `stand_in`."""
    # The path of an interpreter can be too long for a first line.
    (folder / "wsctl").write_text(f'#!/bin/sh\nexec {shlex.join(stand_in())} "$@"\n')
    (folder / "wsctl").chmod(0o700)


class ForkingSubprocess:
    """What a server needs of the module `subprocess`: its workers and successors are forked, where they would
    inherit nothing from it that they do not get from the fork server."""

    PIPE, DEVNULL, TimeoutExpired = subprocess.PIPE, subprocess.DEVNULL, subprocess.TimeoutExpired

    def Popen(self, command: Sequence[str], **options: Any) -> "subprocess.Popen[Any]":  # noqa: N802
        """Start a program as `subprocess.Popen` does."""
        alike = _gives_what_fork_server_gives(but_session=_begins_session(options["env"]))
        return popen(command, cold=not alike, **options)


class ForkingOs:
    """What a server needs of the module `os`, where its workers are children of the fork server."""

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def waitpid(self, pid: int, flags: int) -> tuple[int, int]:
        """What `os.waitpid` says to a parent, also of a child that the fork server has for it."""
        known = _answer(pid)
        if known.starter != os.getpid():
            return os.waitpid(pid, flags)
        return (0, 0) if known.ended is None else (pid, known.ended)

    def execve(self, path: str, command: list[str], environ: Mapping[str, str]) -> None:
        """Execute a program in place of this process; if it is wsctl, its children are forked as before."""
        goes_on = can_fork(command, {"env": environ}) and _gives_what_fork_server_gives()
        os.execve(path, command_to_go_on(command) if goes_on else command, environ)


def _begins_session(environ: Mapping[str, str]) -> bool:
    """Whether a process leaves the session and the group that it is started in before it does anything: a
    successor for which no shell waits, as `daemonize` says."""
    return HANDOVER_FD in environ and WORKER_FD not in environ and JOB_FD not in environ


def _gives_what_fork_server_gives(*, but_session: bool = False) -> bool:
    """Whether a child of this process would inherit what one of the fork server does. Servers raise a limit,
    each for itself."""
    given = here.inherited
    if given is None:
        return False
    ours = replace(Inherited.here(), limits=given.limits)
    return given == (replace(ours, session=given.session, group=given.group) if but_session else ours)


def children(pid: int) -> set[int]:
    """The processes that a process has started and that have not been waited for; none where it has gone."""
    found: set[int] = set()
    with suppress(FileNotFoundError, ProcessLookupError):
        found.update(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
        if is_lent() or _fork_server.cache_info().currsize:
            found |= _answer(pid).children
    return found


def descendants(pid: int) -> set[int]:
    """Its children, theirs, and so on."""
    found = children(pid)
    return found.union(*map(descendants, found))


def lives(pid: int) -> bool:
    """Whether a process is there and has not ended, waited for or not."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def can_fork(command: Sequence[str], options: Mapping[str, Any]) -> bool:
    """Whether a forked process is all that a cold one would be.

    Not so where the interpreter itself is told something by its environment or its flags, where uvicorn makes
    processes of its own, and where the system lacks what the fork server needs (macOS).
    """
    if COLD in os.environ or not hasattr(os, "pidfd_open") or not os.path.exists("/proc/self/fd"):
        return False
    if list(command[:2]) != [sys.executable, "-m"] or command[2] not in MODULES:
        return False
    if command[2] == "uvicorn" and _OF_SEVERAL_PROCESSES.intersection(command):
        return False
    environ: Mapping[str, str] = options.get("env") or os.environ
    alike = _told_interpreter(environ) == _told_interpreter(os.environ)
    return alike and _can_be_sent(options.get("preexec_fn"))


def _told_interpreter(environ: Mapping[str, str]) -> dict[str, str]:
    """Variables that an interpreter reads when it starts, but for the one that a fork can still heed."""
    names = [name for name in environ if name.startswith(("PYTHON", "LANG", "LC_", "TZ"))]
    return {name: environ[name] for name in names if name != "PYTHONUNBUFFERED"}


def _can_be_sent(prepare: Any) -> bool:
    return prepare is None or "<" not in prepare.__qualname__


def _answer(pid: int) -> Answer:
    """What the fork server knows of a process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        _ask(Question(pid), [theirs.fileno()])
        answer: Answer = pickle.loads(ours.recv(PACKET))
    return answer


def _ask(what: Request | Question, fds: Sequence[int]) -> None:
    """Send to the fork server: that of this process, one that is lent, or the one that has started this
    process."""
    packet = pickle.dumps(what)
    assert len(packet) < PACKET
    name = bytes.fromhex(os.environ[LENT]) if is_lent() else here.name
    if name is None:
        socket.send_fds(_fork_server(), [packet], fds)
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as connection:
        connection.connect(name)
        socket.send_fds(connection, [packet], fds)


@functools.cache
def _fork_server() -> socket.socket:
    """The connection to this process's fork server, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        # Not with -m: a request is of the module's class, and not of the main module's.
        program = f"from tests.support import fork_server; fork_server.main({theirs.fileno()})"
        command = [sys.executable, "-c", program]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), stdin=subprocess.DEVNULL)
    atexit.register(_end, process, ours)
    return ours


def _end(process: "subprocess.Popen[bytes]", connection: socket.socket) -> None:
    connection.close()
    process.wait()


_PARAMETERS = inspect.signature(subprocess.Popen._execute_child)  # type: ignore[attr-defined]
