"""The lock of a journal: one process writes a file, and its lock ends with it, however it ends."""

import contextlib
import fcntl
import os
import time

from wsctl.log.journal.errors import UnusableJournal, explain_system

SUFFIX = "-lock"
"""The ending of the lock's name: a file beside the journal, since SQLite loses its own locks when anybody
else in the process closes the journal itself. It stays, empty of meaning while nobody holds it."""

TRIES, PAUSE = 10, 0.01
"""The tries to get the lock, and the seconds between two: whoever only looks has it for a moment."""

_held: set[tuple[int, int] | None] = set()
"""The locks that this process has, by device and inode: the kernel tells only processes apart."""


class FileLock:
    """The lock of the journal at `path`, held from here on until `release`.

    A POSIX lock: unlike one of `flock`, it does not pass on to children that an application forks.

    Raises:
        UnusableJournal: another server has it, or there can be no such file.
    """

    def __init__(self, path: str) -> None:
        self._path = path + SUFFIX
        # Before it is opened: to close it again would give up the lock.
        if identity(self._path) in _held:
            raise _in_use(os.getpid())
        try:
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            _lock(self._fd)
        except OSError as error:
            raise explain_system(error) from None
        self._held = identity(self._fd)
        _held.add(self._held)

    @property
    def is_in_place(self) -> bool:
        """True while others see this lock: nobody has removed its file."""
        return identity(self._path) == self._held

    def release(self) -> None:
        _held.discard(self._held)
        os.close(self._fd)


def identity(file: str | int) -> tuple[int, int] | None:
    """Return what tells a file from all others, its device and its inode; None where there is none."""
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _lock(fd: int) -> None:
    """Lock the file, and write there who has it."""
    try:
        _try_to_lock(fd)
    except (BlockingIOError, PermissionError):
        pid = os.pread(fd, 20, 0).strip()
        os.close(fd)
        raise _in_use(int(pid) if pid.isdigit() else None) from None
    with contextlib.suppress(OSError):  # a full disk: others do without the number
        os.ftruncate(fd, 0)
        os.pwrite(fd, b"%d\n" % os.getpid(), 0)


def _try_to_lock(fd: int) -> None:
    for _ in range(TRIES - 1):
        with contextlib.suppress(BlockingIOError, PermissionError):
            fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(PAUSE)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _in_use(pid: int | None) -> UnusableJournal:
    who = f"the process {pid}" if pid else "another process"
    return UnusableJournal(
        f"{who} writes it", "a journal is for one server: stop that one, or name another file"
    )


def writer_of(path: str) -> int | None:
    """Return the pid of the process that has the lock of a journal, 0 where that is not known; None while
    nobody has it.

    Not to be asked in a process that has it: this gives it up.
    """
    try:
        with open(path + SUFFIX, "r+b") as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
    except (BlockingIOError, PermissionError):
        pass
    except OSError:
        return None
    with contextlib.suppress(OSError), open(path + SUFFIX, "rb") as file:
        text = file.read(20).strip()
        return int(text) if text.isdigit() else 0
    return None
