"""A process that has imported everything and forks: each program that it starts is ready in milliseconds.

Each packet on its control socket asks for one program: see `Request`.
A child is a process of its own, with the streams, environment, folder, session and descriptors it was asked
for, and runs a module as `python -m` does. The fork server has one thread and no signal handler, so that a
child begins as a fresh interpreter would. `tests.support.processes` is the other side.

A server that it has started asks it in turn for its workers and its successor, at a socket with a name. They
are children of the fork server then, and not of that server, which is told of their ends as a parent is: by
SIGCHLD, and by their `STATUS`.

At the same socket a `stand_in` asks for the command that a shell has run.
"""

import contextlib
import fcntl
import functools
import gc
import importlib
import io
import json
import os
import pickle
import pkgutil
import resource
import runpy
import select
import signal
import socket
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

MODULES = ("wsctl", "uvicorn", "tests.support.faulty", "tests.support.hasty")
"""What it can run: it has imported all they need."""

AT_IMPORT = ("wsctl.main", "wsctl.__main__", "wsctl.cli.completions.__main__")
"""Modules that read the environment, or run, when they are imported."""

WHEN_RUN = (
    "encodings.idna",
    "fastapi.telemetry._runtime",
    "prompt_toolkit.key_binding.bindings.search",
    "pydantic.dataclasses",
    "pydantic.v1",
    "redis.asyncio.sentinel",
    "typer._click.decorators",
    "uvicorn.main",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)
"""Modules of others that a program imports only when it runs, and that take a third of its start, or with
`--redis` most of it."""

PACKET = 1 << 17
"""Bytes of a request at most: an environment is some kilobytes."""

DESCRIPTORS = 64
"""Descriptors that come with a request at most."""

STATUS = struct.Struct("=q")
"""What a client reads about a child: its pid, then what `waitpid` says of it."""

CREDENTIALS = struct.Struct("=3i")
"""What the kernel says of a client: its pid, user and group."""


PATIENCE = 2.0
"""Seconds for one process to say what it wants: it may be stopped just then, and others wait."""


@dataclass(frozen=True)
class Inherited:
    """What a process has of the one that started it, without being told."""

    session: int
    group: int
    ignored: frozenset[int]
    limits: tuple[tuple[int, int], ...]

    @classmethod
    def here(cls) -> "Inherited":
        """Return what a child of this process would inherit."""
        signals = signal.valid_signals()
        kinds = [number for name, number in vars(resource).items() if name.startswith("RLIMIT_")]
        return cls(
            os.getsid(0),
            os.getpgrp(),
            frozenset(int(number) for number in signals if signal.getsignal(number) is signal.SIG_IGN),
            tuple(map(resource.getrlimit, kinds)),
        )


class _Here:
    """Where this process comes from.

    Attributes:
        name: the address of the fork server that has started it; None in every other process.
        inherited: what that gives to each of its children.
        starter: the pid of the server that has asked for this process, if one has.
    """

    name: bytes | None = None
    inherited: Inherited | None = None
    starter: int | None = None


here = _Here()


def parent() -> int:
    """Return the pid of the process that has started this one, as `os.getppid` does in a cold one."""
    return here.starter or os.getppid()


@dataclass(frozen=True)
class Question:
    """What the fork server knows of this process: a packet on the socket beside it brings an `Answer`."""

    pid: int


@dataclass(frozen=True)
class Answer:
    """What the fork server knows of a process.

    Attributes:
        children: those that this one has started and that live.
        starter: the pid of the one that has started this one.
        ended: what `waitpid` says of this one, once it has ended.
        server: the address of the fork server.
    """

    children: frozenset[int]
    starter: int | None
    ended: int | None
    server: bytes


@dataclass(frozen=True)
class Request:
    """One program to start. With it come its three standard streams, `pass_fds`, and the socket for the
    child's `STATUS`.

    Attributes:
        argv: what the interpreter would be started with, itself first: `-m`, the module, its arguments.
        pass_fds: the numbers under which the child has the descriptors.
        terminal: whether its standard input becomes the terminal that controls it.
        blocked: the signals that it begins with blocked.
        prepare: called in the child before anything else.
        tied: whether it is killed when its client has gone.
    """

    argv: list[str]
    environ: dict[str, str]
    folder: str | None
    pass_fds: tuple[int, ...]
    new_session: bool
    process_group: int
    terminal: bool
    blocked: frozenset[int]
    prepare: Callable[[], None] | None
    tied: bool = False

    @classmethod
    def for_stand_in(cls, packet: bytes) -> "Request":
        """Return what a `stand_in` asks for: a child as a shell starts it."""
        asked = json.loads(packet)
        return cls(
            argv=asked["argv"],
            environ=asked["environ"],
            folder=asked["folder"],
            pass_fds=(),
            new_session=False,
            process_group=-1,
            terminal=False,
            blocked=frozenset(),
            prepare=functools.partial(_inherit, asked["umask"], asked["ignored"]),
            tied=True,
        )


def _inherit(umask: int, ignored: Iterable[int]) -> None:
    os.umask(umask)
    for signum in ignored:
        signal.signal(signum, signal.SIG_IGN)


def main(fd: int) -> None:
    """Serve on a descriptor until the client has gone; a child runs what was asked for."""
    control = socket.socket(fileno=fd)
    import_everything()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind("")  # the kernel chooses a name
        listening.listen(128)
        here.name, here.inherited = listening.getsockname(), Inherited.here()
        request = ForkServer(control, listening).serve()
    if request is not None:
        run(request)


def import_everything() -> None:
    """Import what the programs import, and what those import when they run."""
    import tests.support.processes
    import wsctl

    for module in pkgutil.walk_packages(wsctl.__path__, "wsctl."):
        if module.name not in AT_IMPORT:
            importlib.import_module(module.name)
    for name in WHEN_RUN:
        with contextlib.suppress(ImportError):  # another version may have no such module
            importlib.import_module(name)
    assert tests.support.processes
    gc.freeze()  # a child that collects need not touch, and so copy, what it shares


@dataclass
class Child:
    """A process that was started, and the socket on which `starter`, or the client, is told of its end."""

    pid: int
    status: socket.socket
    starter: int | None


class ForkServer:
    """Starts processes: those that its client asks for on `control`, and those that they ask for in turn."""

    def __init__(self, control: socket.socket, listening: socket.socket) -> None:
        self._control = control
        self._listening = listening
        self._children: dict[int, Child] = {}
        self._tied: dict[int, int] = {}
        self._poll = select.poll()
        self._ended: dict[int, tuple[int | None, int]] = {}

    def serve(self) -> Request | None:
        """Start one child after the other. Returns its request in a child, None once the client has gone."""
        self._poll.register(self._control, select.POLLIN)
        self._poll.register(self._listening, select.POLLIN)
        while True:
            # Who has gone comes first: once its child has ended, its descriptor may be another's.
            for ready, _ in sorted(self._poll.poll(), key=lambda event: event[0] not in self._tied):
                if ready in self._tied or ready in self._children:
                    self._end(ready)
                    continue
                if ready == self._control.fileno():
                    packet, fds, _, _ = socket.recv_fds(self._control, PACKET, DESCRIPTORS)
                    if not packet:
                        return None
                    starter = None
                else:
                    packet, fds, starter = self._hear()
                    if not packet:
                        continue
                asked = _read(packet)
                if isinstance(asked, Question):
                    with socket.socket(fileno=fds[0]) as answer:
                        answer.send(pickle.dumps(self._answer(asked)))
                    continue
                child = self._start(asked, fds, starter)
                if child is None:
                    return asked
                self._watch(child, tied=asked.tied)

    def _watch(self, child: Child, *, tied: bool) -> None:
        watch = os.pidfd_open(child.pid)
        self._children[watch] = child
        self._poll.register(watch, select.POLLIN)
        if tied:
            self._tied[child.status.fileno()] = child.pid
            self._poll.register(child.status, 0)  # which tells that the other end is closed

    def _end(self, ready: int) -> None:
        """End a child whose client has gone, or tell of the end of one."""
        self._poll.unregister(ready)
        if ready in self._tied:
            os.kill(self._tied.pop(ready), signal.SIGKILL)
            return
        child = self._children.pop(ready)
        if self._tied.pop(child.status.fileno(), None):
            self._poll.unregister(child.status)
        self._tell_end(child)
        os.close(ready)

    def _answer(self, question: Question) -> Answer:
        children = self._children.values()
        starter, ended = self._ended.get(question.pid, (None, None))
        lives = next((child for child in children if child.pid == question.pid), None)
        if lives:
            starter, ended = lives.starter, None
        its_own = frozenset(c.pid for c in children if c.starter == question.pid)
        return Answer(its_own, starter, ended, self._listening.getsockname())

    def _hear(self) -> tuple[bytes, list[int], int]:
        """Hear what a process wants that was started here; nothing if it has ended or was stopped."""
        connection, _ = self._listening.accept()
        with connection:
            of_peer = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, CREDENTIALS.size)
            connection.settimeout(PATIENCE)
            try:
                packet, fds, _, _ = socket.recv_fds(connection, PACKET, DESCRIPTORS)
            except TimeoutError:
                packet, fds = b"", []
        return packet, fds, CREDENTIALS.unpack(of_peer)[0]

    def _start(self, request: Request, fds: list[int], starter: int | None) -> Child | None:
        """Fork a child; returns None in it."""
        pid = os.fork()
        if not pid:
            for ours in (self._control, self._listening, *(c.status for c in self._children.values())):
                ours.detach()  # or they would close what gets their numbers
            here.starter = starter
            become(request, fds)
            return None
        status = socket.socket(fileno=fds.pop())
        for fd in fds:
            os.close(fd)
        try:
            status.send(STATUS.pack(pid))
        except OSError:  # it was interrupted before it knew of this child
            os.kill(pid, signal.SIGKILL)
        return Child(pid, status, starter)

    def _tell_end(self, child: Child) -> None:
        ended = os.waitpid(child.pid, 0)[1]
        with child.status, contextlib.suppress(OSError):  # nobody asks any more
            child.status.send(STATUS.pack(ended))
        self._ended[child.pid] = child.starter, ended
        if child.starter in {other.pid for other in self._children.values()}:
            os.kill(child.starter, signal.SIGCHLD)


def _read(packet: bytes) -> Request | Question:
    if packet.startswith(b"{"):
        return Request.for_stand_in(packet)
    asked: Request | Question = pickle.loads(packet)
    return asked


def become(request: Request, fds: Iterable[int]) -> None:
    """Make of a child what was asked for, as `subprocess` and the interpreter do."""
    *given, _ = fds
    _place(given, (0, 1, 2, *request.pass_fds))
    if request.new_session:
        os.setsid()
    if request.process_group >= 0:
        os.setpgid(0, request.process_group)
    if request.terminal:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    if request.folder is not None:
        os.chdir(request.folder)
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    if request.prepare:
        request.prepare()
    os.environ.clear()
    os.environ.update(request.environ)
    sys.orig_argv[:] = request.argv
    sys.argv[:] = request.argv[2:]
    sys.path[0] = str(Path.cwd())
    unbuffered = bool(request.environ.get("PYTHONUNBUFFERED"))
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, _stream(number, unbuffered=unbuffered))
        setattr(sys, f"__{name}__", getattr(sys, name))


def run(request: Request) -> None:
    """Run the module as the main one. The processes that it starts are forked too, where they can be."""
    signal.set_wakeup_fd(-1)
    given = here.inherited
    if given and given == replace(Inherited.here(), session=given.session, group=given.group):
        fork_what_it_starts()
    runpy._run_module_as_main(request.argv[2])  # type: ignore[attr-defined]


def fork_what_it_starts() -> None:
    """Have this process, a server, ask the fork server for its workers and its successor."""
    from tests.support import processes
    from wsctl.process import spawn

    spawn.subprocess = processes.ForkingSubprocess()  # type: ignore[attr-defined,assignment]
    spawn.os = processes.ForkingOs()  # type: ignore[attr-defined,assignment]


STOPS_IN = "RENEWED_STOPS_IN"
"""The variable with a folder. A program that is executed anew makes a file `here` in it, and begins when
there is one with the name `go`."""


def go_on(state: str, argv: list[str]) -> None:
    """Be the program, executed anew, of a process that came from a fork server."""
    if STOPS_IN in os.environ:
        folder = Path(os.environ[STOPS_IN])
        (folder / "here").touch()
        while not (folder / "go").exists():
            time.sleep(0.01)
    vars(here).update(pickle.loads(bytes.fromhex(state)))
    fork_what_it_starts()
    sys.orig_argv[:] = argv
    sys.argv[:] = argv[2:]
    sys.path[0] = str(Path.cwd())
    runpy._run_module_as_main(argv[2])  # type: ignore[attr-defined]


def command_to_go_on(command: list[str]) -> list[str]:
    """The command that executes the program of this process anew, which then still knows its fork server."""
    root, state = str(Path(__file__).parents[2]), pickle.dumps(vars(here)).hex()
    program = (
        f"import sys; sys.path[0] = {root!r}; from tests.support.fork_server import go_on; "
        f"go_on({state!r}, {command!r})"
    )
    return [command[0], "-c", program]


def _place(given: list[int], numbers: tuple[int, ...]) -> None:
    """Have the descriptors under these numbers, to be inherited, and no other."""
    above = max(*numbers, *given) + 1
    moved = [fcntl.fcntl(fd, fcntl.F_DUPFD, above) for fd in given]
    for fd, number in zip(moved, numbers, strict=True):
        os.dup2(fd, number)
    for name in os.listdir("/proc/self/fd"):
        if int(name) not in numbers:
            with contextlib.suppress(OSError):
                os.close(int(name))


def _stream(number: int, *, unbuffered: bool) -> io.TextIOWrapper:
    """A standard stream as a fresh interpreter makes it."""
    writes = number > 0
    raw = io.FileIO(number, "wb" if writes else "rb", closefd=False)
    raw.name = ("<stdin>", "<stdout>", "<stderr>")[number]
    stream = io.TextIOWrapper(
        io.BufferedReader(raw) if not writes else raw if unbuffered else io.BufferedWriter(raw),
        encoding="utf-8",
        errors="backslashreplace" if number == 2 else "strict",
        newline="\n" if writes else None,
        line_buffering=number == 2 or os.isatty(number),
        write_through=writes and unbuffered,
    )
    stream.mode = "w" if writes else "r"  # type: ignore[misc]
    return stream
