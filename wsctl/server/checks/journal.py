"""The checks whether a journal can be kept where the settings say: its file, its disk and the room there.
Nothing is written."""

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wsctl.log.journal.errors import MOVE_DAMAGED, UnusableJournal
from wsctl.log.journal.lock import writer_of
from wsctl.log.journal.reader import summarize, verify
from wsctl.log.journal.schema import Found, look_at
from wsctl.process.registry import ServerRecord
from wsctl.server.diagnostics.finding import Finding, error, ok, warning
from wsctl.server.listening.sockets import OWN_SERVER_CURE
from wsctl.settings import Settings

FILE, DISK, PLACE = "journal", "journal disk", "journal place"

ON_DISK = 2.25
"""Bytes on the disk for each of a message, at most: one of 2 KiB is alone on a page of 4 KiB, and one of 60
bytes has as many in its other columns."""

OVERHEAD = 64 << 20
"""Bytes beside the messages: the write-ahead log, and a commit."""

NETWORK = frozenset(
    ("9p", "afs", "ceph", "cifs", "fuse.glusterfs", "fuse.sshfs", "lustre", "nfs", "nfs4", "smb3", "smbfs")
)
"""File systems of other machines, on which the memory that SQLite's write-ahead log shares is not shared
(https://sqlite.org/wal.html)."""

MEMORY = frozenset({"tmpfs", "ramfs", "devtmpfs"})
"""File systems that end with the machine, or with the service or container that has one of its own."""

LAYERS = frozenset({"overlay", "aufs"})
"""File systems of containers, which end with these."""


@dataclass(frozen=True, slots=True)
class JournalPlace:
    """The folder of a journal: the type of its file system, None if that is not known, the bytes that are
    free there, and the size of the journal that is there already."""

    folder: Path
    file_system: str | None
    free: int
    used: int


def check_journal(file: str, settings: Settings, records: Iterable[ServerRecord]) -> Iterator[Finding]:
    """Check the place of a journal; `records` are this user's servers."""
    path = Path(file).absolute()
    yield _check_file(path, settings, records)
    if os.path.isdir(path.parent):
        place = find_place(path)
        yield check_room(settings, place)
        yield from filter(None, [check_place(place)])


def check_room(settings: Settings, place: JournalPlace) -> Finding:
    """Check whether the disk has room for the messages that are kept."""
    needed = int(ON_DISK * settings.history_bytes) + OVERHEAD
    missing = needed - place.used - place.free
    if missing <= 0:
        return ok(DISK, f"{_size(place.free)} free, and the journal may grow to {_size(needed)}")
    text = f"{_size(place.free)} free, and the journal may grow to {_size(needed)}: then nothing is published"
    return warning(
        DISK, text, f"make room for {_size(missing)} more on the disk, or a smaller --history-bytes"
    )


def check_place(place: JournalPlace) -> Finding | None:
    """Check the kind of the file system; None where it is not known, or an ordinary one."""
    kind, folder = place.file_system, place.folder
    if kind in NETWORK:
        text = f"{folder} is on a network file system ({kind}), where a journal does not work"
        return error(PLACE, text, "a disk of this machine, or --redis")
    if kind in MEMORY:
        text = f"{folder} is in memory ({kind}): the journal ends with the machine, or with its container"
        return warning(PLACE, text, "a folder on a disk")
    if kind in LAYERS:
        text = f"{folder} is a part of the container ({kind}), and the journal ends with it"
        return warning(PLACE, text, f"mount a volume at {folder}")
    return None


def find_place(path: Path, mounts: Path = Path("/proc/self/mountinfo")) -> JournalPlace:
    """Find out about the folder of a journal, which is there."""
    used = sum(_bytes(f"{path}{ending}") for ending in ("", "-wal"))
    return JournalPlace(
        path.parent, find_file_system(path.parent, mounts), shutil.disk_usage(path.parent).free, used
    )


def find_file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str | None:
    """Return the type of the file system that a folder is on (proc(5)); None where that is not told."""
    try:
        device = os.stat(folder).st_dev
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return None
    name = f"{os.major(device)}:{os.minor(device)}"
    for line in lines:
        found = re.match(r"\d+ \d+ (\S+) .* - (\S+)", line)
        if found and found[1] == name:
            return found[2]
    return None


def _check_file(path: Path, settings: Settings, records: Iterable[ServerRecord]) -> Finding:
    if why := _unwritable(path):
        return error(FILE, f"{path}: {why}", f"give the server's user {path.parent}, or name another file")
    try:
        if look_at(str(path)) is Found.NOTHING:
            return ok(FILE, f"{path} will be made; sync {settings.journal_sync}: {_survives(settings)}")
        if (writer := writer_of(str(path))) is not None:
            return _explain_writer(path, writer, records)
        return _check_contents(path, settings)
    except UnusableJournal as failure:
        return error(FILE, f"{path}: {failure}", failure.cure)


def _unwritable(path: Path) -> str | None:
    """Return the reason why the file cannot be written; None where it can."""
    if not os.path.isdir(path.parent):
        return None  # which `look_at` tells
    if not os.access(path.parent, os.W_OK | os.X_OK):
        return "its folder cannot be written"
    if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):
        return "it cannot be written"
    return None


def _explain_writer(path: Path, writer: int, records: Iterable[ServerRecord]) -> Finding:
    if ours := next((record for record in records if record.pid == writer), None):
        return warning(
            FILE, f"your own server has {path}: {ours.url or ours.uds}, pid {ours.pid}", OWN_SERVER_CURE
        )
    who = f"the process {writer}" if writer else "another process"
    return error(
        FILE, f"{who} has {path}", "a journal is for one server: stop that one, or name another file"
    )


def _check_contents(path: Path, settings: Settings) -> Finding:
    facts = summarize(str(path))
    if problem := next(verify(str(path)), None):
        return error(FILE, f"{path} is damaged: {problem}", MOVE_DAMAGED)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return warning(FILE, f"other users may read {path}, with all messages in it", f"chmod 600 {path}")
    kept = f"{facts.messages} messages, {_size(facts.file_bytes + facts.wal_bytes)}"
    return ok(FILE, f"{path}: {kept}; sync {settings.journal_sync}: {_survives(settings)}")


def _survives(settings: Settings) -> str:
    return (
        "it survives a power cut"
        if settings.journal_sync == "full"
        else "a power cut loses the last messages"
    )


def _bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _size(count: int) -> str:
    return f"{count / (1 << 30):.1f} GiB" if count >= 1 << 30 else f"{count >> 20} MiB"
