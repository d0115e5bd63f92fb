"""The file of a journal where the server will run. Its folder outlives the server: systemd makes it, or a
volume is mounted there. SQLite has more than one file in it, so that a folder and not a file is kept."""

from pathlib import PurePosixPath
from posixpath import normpath

from wsctl.cli.recipes.template import check_writable
from wsctl.errors import UsageError
from wsctl.settings import Settings

STATE = PurePosixPath("/var/lib")
"""The folder of what services keep (FHS 3.0 section 5.8), where `StateDirectory=` of systemd makes one."""

FOLDER = STATE / "wsctl"
"""The folder of a file that is given without one."""

LEAST_STORAGE = 1024
"""MiB of a volume for a journal: the smallest that clouds have."""

_SYSTEM = frozenset(
    ("/", "/bin", "/boot", "/etc", "/home", "/lib", "/opt", "/root", "/sbin", "/usr", "/var", "/var/lib")
)
"""Folders that belong to others: a volume there would hide what is in them."""

_LOST = ("/tmp/", "/var/tmp/", "/run/", "/dev/", "/proc/", "/sys/")  # noqa: S108
"""Folders whose files do not outlive a service, a container or the machine's next start."""

_HOMES = ("/home/", "/root/", "/run/user/")


def journal_file(settings: Settings) -> PurePosixPath | None:
    """Return the journal's file where the server will run: at its absolute path, or else in `FOLDER`; None
    without a journal.

    Raises:
        UsageError: its folder is not one that is kept for it.
    """
    if settings.journal is None:
        return None
    check_writable("--journal", settings.journal)
    path = PurePosixPath(normpath(settings.journal))
    if not path.is_absolute():
        return FOLDER / path.name
    if str(path).startswith(_LOST):
        raise UsageError(f"--journal {path}: what is there does not outlive the server; {_instead(path)}")
    if str(path.parent) in _SYSTEM:
        raise UsageError(f"--journal {path}: it needs a folder of its own; {_instead(path)}")
    return path


def service_file(settings: Settings) -> PurePosixPath | None:
    """Return `journal_file` for a service of systemd, which sees nobody's home.

    Raises:
        UsageError: its folder is not one that is kept for it, or a service cannot enter it.
    """
    path = journal_file(settings)
    if path and str(path).startswith(_HOMES):
        raise UsageError(f"--journal {path}: a service cannot enter a home; {_instead(path)}")
    return path


def storage(history_bytes: int) -> int:
    """Return the MiB of a volume for a journal that keeps so many bytes of messages, with room for its index,
    its WAL and a checkpoint that is late."""
    return max(LEAST_STORAGE, 4 * history_bytes >> 20)


def _instead(path: PurePosixPath) -> str:
    return f"give --journal {path.name}, which will be {FOLDER / path.name} there, or another folder"
