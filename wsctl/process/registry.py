"""The folder in which servers of one user on one machine are found by the commands."""

import fcntl
import json
import logging
import os
import socket
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from wsctl import __version__
from wsctl.errors import WsctlError

MAX_SOCKET_PATH = 103
"""Bytes of a Unix socket's path that both Linux (108) and macOS (104) take, with the final NUL."""

LONGEST_PID = 1 << 22
"""The largest number that Linux gives a process (PID_MAX_LIMIT of 64-bit machines)."""

log = logging.getLogger("wsctl.server")


@dataclass(frozen=True, slots=True)
class ServerRecord:
    """The record of a running server: where it is reached, and where it is controlled.

    `url` is None for a server that listens on the Unix socket `uds` only. `generation` counts the processes
    that had the address one after the other, each taking over from the one before. `parent` is the pid of the
    process that speaks for this one and its like, None where there is none. `admin` is the URL of its admin
    address, None without one.
    """

    pid: int
    url: str | None
    uds: str | None
    control: str
    started: float
    version: str = __version__
    generation: int = 1
    parent: int | None = None
    admin: str | None = None

    @property
    def port(self) -> int | None:
        """The port of the URL; None without a URL."""
        return urlsplit(self.url).port if self.url else None

    @property
    def admin_port(self) -> int | None:
        """The port of the admin address; None without one."""
        return urlsplit(self.admin).port if self.admin else None


def runtime_folder(environ: Mapping[str, str]) -> Path:
    """Return `WSCTL_RUNTIME_DIR`, else `XDG_RUNTIME_DIR/wsctl`, else a temporary folder of this user's."""
    if chosen := environ.get("WSCTL_RUNTIME_DIR"):
        return Path(chosen)
    if xdg := environ.get("XDG_RUNTIME_DIR"):
        return Path(xdg) / "wsctl"
    return Path(tempfile.gettempdir()) / f"wsctl-{os.getuid()}"


class UnusableFolder(WsctlError):
    """The runtime folder cannot be made, or somebody else could write to it."""


def _prepare(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise UnusableFolder(f"{folder}: {error.strerror or error}; set WSCTL_RUNTIME_DIR") from None
    _check(folder, found)
    # A new folder that was made for us is narrowed; one with something in it may be a system's.
    if stat.S_IMODE(found.st_mode) != 0o700 and not any(folder.iterdir()):
        folder.chmod(0o700)


def _check(folder: Path, found: os.stat_result) -> None:
    """Refuse a folder that is not this user's, or that others can write to. It is not narrowed either: it may
    be a system's folder."""
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise UnusableFolder(f"{folder} is not a folder of this user's; set WSCTL_RUNTIME_DIR")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise UnusableFolder(f"others can write to {folder}: chmod 700 it, or set WSCTL_RUNTIME_DIR")


def check_folder(folder: Path) -> None:
    """Check that servers could be found through this folder, which need not be there yet and is not made.

    Raises:
        UnusableFolder: it cannot be made, is not ours alone, or its path is too long for a socket.
    """
    try:
        _check(folder, folder.lstat())
        last = folder
    except FileNotFoundError:
        last = next(above for above in folder.absolute().parents if above.exists())
    except OSError as error:
        raise UnusableFolder(f"{folder}: {error.strerror or error}; set WSCTL_RUNTIME_DIR") from None
    if not os.access(last, os.W_OK | os.X_OK):
        raise UnusableFolder(f"{last} cannot be written to; set WSCTL_RUNTIME_DIR")
    _check_length(folder / f"{LONGEST_PID}.sock")


def _check_length(path: Path) -> None:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise UnusableFolder(f"{path} is too long for a socket; set WSCTL_RUNTIME_DIR to a shorter one")


def control_socket(folder: Path, pid: int) -> socket.socket:
    """Return a bound Unix socket, mode 0600, in the folder, which is made with mode 0700.

    Raises:
        UnusableFolder: the folder is not ours alone, or its path is too long for a socket.
    """
    _prepare(folder)
    path = folder / f"{pid}.sock"
    _check_length(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        clear_stale(folder)
        with _locked(folder):
            path.unlink(missing_ok=True)
            sock.bind(str(path))
            sock.listen()  # from here on whoever finds it sees that somebody is there
    except OSError as error:
        sock.close()
        raise UnusableFolder(f"{path}: {error.strerror or error}; set WSCTL_RUNTIME_DIR") from None
    finally:
        os.umask(before)
    return sock


@contextmanager
def announced(record: ServerRecord) -> Iterator[None]:
    """Keep the record beside the control socket while the server runs; both go at the end."""
    control = Path(record.control)
    path = control.with_suffix(".json")
    draft = path.with_suffix(".tmp")
    draft.write_text(json.dumps(asdict(record)) + "\n")
    draft.replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        control.unlink(missing_ok=True)


class Registration:
    """The place of this process in the runtime folder, in a `with` block, at whose end nothing is left of it.
    `control` is a control socket that this process has there already.

    Attributes:
        control: the control socket; None, which is logged, if the folder cannot be used.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        generation: int = 1,
        parent: int | None = None,
        control: socket.socket | None = None,
    ) -> None:
        self._generation = generation
        self._parent = parent
        self._made = ExitStack()
        self.control = control or _open_control_socket(environ)

    def __enter__(self) -> Self:
        if self.control:  # also of a process that never comes so far as to be announced
            self._made.callback(Path(self.control.getsockname()).unlink, missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._made.close()

    def announce(self, at: str, admin: str | None = None) -> None:
        """Write the record, by which commands find this process; `at` is its first address, a URL or
        unix:PATH, and `admin` the URL of its admin address."""
        if self.control:
            self._made.enter_context(announced(self._record(at, admin, self.control)))

    def _record(self, at: str, admin: str | None, control: socket.socket) -> ServerRecord:
        uds = at.removeprefix("unix:") if at.startswith("unix:") else None
        return ServerRecord(
            os.getpid(),
            None if uds else at,
            uds,
            control.getsockname(),
            time.time(),
            generation=self._generation,
            parent=self._parent,
            admin=admin,
        )


def _open_control_socket(environ: Mapping[str, str]) -> socket.socket | None:
    try:
        return control_socket(runtime_folder(environ), os.getpid())
    except UnusableFolder as error:
        text = "no control socket: the commands will not find this server"
        log.warning(text, extra={"fields": {"why": str(error)}})
        return None


def running_servers(folder: Path) -> list[ServerRecord]:
    """Return the servers that run, oldest first. What dead ones left behind is cleared away, announced or
    not.

    Raises:
        UnusableFolder: somebody else could have written the records.
    """
    if not folder.is_dir():
        return []
    _check(folder, folder.lstat())
    clear_stale(folder)
    read = [record for path in folder.glob("*.json") if (record := _read(path))]
    found = [record for record in read if _answers(record.control)]
    return sorted(found, key=lambda record: (record.started, record.generation))


def clear_stale(folder: Path) -> None:
    """Remove what processes left behind that were killed: records, drafts of them, and sockets, also of one
    that did not come so far as to be announced."""
    with _locked(folder):
        for pid in {path.stem for path in folder.iterdir() if path.suffix in _MADE}:
            if pid.isdecimal() and not _answers(str(folder / f"{pid}.sock")):
                remove_files(folder, int(pid))


def remove_files(folder: Path, pid: int) -> None:
    """Remove what a process has made in the folder."""
    for suffix in _MADE:
        with suppress(OSError):  # it is gone, or a folder: then it is nothing of ours
            (folder / f"{pid}{suffix}").unlink()


_MADE = (".json", ".tmp", ".sock")
"""The suffixes of what a process makes in the folder: its record, a draft of it, its control socket."""


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes from clearing the folder: between bind and listen a new socket looks like a dead
    one's."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _read(path: Path) -> ServerRecord | None:
    try:
        # A newer version may say more; an older one has no generations, no workers and no admin address.
        found = {"generation": 1, "parent": None, "admin": None} | json.loads(path.read_text())
        return ServerRecord(**{field.name: found[field.name] for field in fields(ServerRecord)})
    except (OSError, ValueError, TypeError, LookupError):
        return None


def _answers(control: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(control)
        except (TimeoutError, BlockingIOError):
            return True  # too busy to accept at once, but there
        except OSError:
            return False
    return True
