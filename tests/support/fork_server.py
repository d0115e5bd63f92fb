"""A process that has imported everything and forks: each program that it starts is ready in milliseconds.

Each packet on its control socket asks for one program: see `Request`.
A child is a process of its own, with the streams, environment, folder, session and descriptors it was asked
for, and runs a module as `python -m` does. The fork server has one thread and no signal handler, so that a
child begins as a fresh interpreter would. `tests.support.processes` is the other side.
"""

import contextlib
import fcntl
import gc
import importlib
import io
import os
import pickle
import pkgutil
import runpy
import select
import signal
import socket
import struct
import sys
import termios
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

MODULES = ("wsctl", "uvicorn", "tests.support.faulty", "tests.support.hasty")
"""What it can run: it has imported all they need."""

AT_IMPORT = ("wsctl.main", "wsctl.__main__", "wsctl.cli.completions.__main__")
"""Modules that read the environment, or run, when they are imported."""

WHEN_RUN = (
    "encodings.idna",
    "fastapi.telemetry._runtime",
    "pydantic.v1",
    "typer._adapters",
    "typer._click.decorators",
    "uvicorn.main",
    "uvicorn.protocols.websockets.websockets_sansio_impl",
)
"""Modules of others that a program imports only when it runs, and that take a third of its start."""

PACKET = 1 << 17
"""Bytes of a request at most: an environment is some kilobytes."""

DESCRIPTORS = 64
"""Descriptors that come with a request at most."""

STATUS = struct.Struct("=q")
"""What a client reads about a child: its pid, then what `waitpid` says of it."""


@dataclass(frozen=True)
class Request:
    """One program to start. With it come its three standard streams, `pass_fds`, and the socket for the
    child's `STATUS`.

    Attributes:
        argv: what the interpreter would be started with, itself first: `-m`, the module, its arguments.
        pass_fds: the numbers under which the child has the descriptors.
        terminal: whether its standard input becomes the terminal that controls it.
        prepare: called in the child before anything else.
    """

    argv: list[str]
    environ: dict[str, str]
    folder: str | None
    pass_fds: tuple[int, ...]
    new_session: bool
    process_group: int
    terminal: bool
    prepare: Callable[[], None] | None


def main(fd: int) -> None:
    """Serve on a descriptor until the client has gone; a child runs what was asked for."""
    control = socket.socket(fileno=fd)
    import_everything()
    request = serve(control)
    if request is not None:
        run(request)


def import_everything() -> None:
    """Import what the programs import, and what those import when they run."""
    import wsctl

    for module in pkgutil.walk_packages(wsctl.__path__, "wsctl."):
        if module.name not in AT_IMPORT:
            importlib.import_module(module.name)
    for name in WHEN_RUN:
        with contextlib.suppress(ImportError):  # another version may have no such module
            importlib.import_module(name)
    gc.freeze()  # a child that collects need not touch, and so copy, what it shares


def serve(control: socket.socket) -> Request | None:
    """Start one child after the other. Returns its request in a child, and None once the client has gone."""
    children: dict[int, tuple[int, socket.socket]] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready in children:
                poll.unregister(ready)
                pid, status = children.pop(ready)
                os.close(ready)
                with status, contextlib.suppress(OSError):  # nobody asks any more
                    status.send(STATUS.pack(os.waitpid(pid, 0)[1]))
                continue
            packet, fds, _, _ = socket.recv_fds(control, PACKET, DESCRIPTORS)
            if not packet:
                return None
            request: Request = pickle.loads(packet)
            pid = os.fork()
            if not pid:
                for ours in (control, *(status for _, status in children.values())):
                    ours.detach()  # or they would close what gets their numbers
                become(request, fds)
                return request
            status = socket.socket(fileno=fds.pop())
            for fd in fds:
                os.close(fd)
            try:
                status.send(STATUS.pack(pid))
            except OSError:  # it was interrupted before it knew of this child
                os.kill(pid, signal.SIGKILL)
            children[watch := os.pidfd_open(pid)] = pid, status
            poll.register(watch, select.POLLIN)


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
    """Run the module as the main one."""
    signal.set_wakeup_fd(-1)
    runpy._run_module_as_main(request.argv[2])  # type: ignore[attr-defined]


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
