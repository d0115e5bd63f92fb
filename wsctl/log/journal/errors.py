"""The reasons why a journal cannot be used, in words for operators, and what to do about them."""

import errno
import sqlite3

from wsctl.log.home import Away

MOVE_DAMAGED = (
    "move it away, with its -wal file, and a new one is begun; 'wsctl journal --verify' looks at it"
)
CHECK_DISK = "check the disk, or name another file with --journal"
MAKE_ROOM = "make room on its disk"

READ_ONLY = "give the server's user the right to write the file and its folder, or name another file"


class UnusableJournal(Away):
    """A journal that cannot be used, or did not do what it was asked; the text does not name the file.

    Attributes:
        certain: True if nothing of it was written, nor will be found later.
    """

    def __init__(self, what: str, cure: str, *, certain: bool = True) -> None:
        super().__init__(what, cure)
        self.certain = certain

    @property
    def is_full(self) -> bool:
        """True if it was for want of room on the disk."""
        return self.cure == MAKE_ROOM


def explain_system(error: OSError, what_for: str = "written") -> UnusableJournal:
    """Explain an error of the file system; the file was to be `written` or `read`."""
    what = (error.strerror or str(error)).lower()
    match error.errno:
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return UnusableJournal(f"it cannot be {what_for} ({what})", READ_ONLY)
        case errno.ENOSPC | errno.EDQUOT:
            return UnusableJournal("its disk is full", MAKE_ROOM)
    return UnusableJournal(what, CHECK_DISK)


def explain(error: sqlite3.Error, *, committing: bool = False) -> UnusableJournal:
    """Explain an error of SQLite. One that came while `committing` leaves open what was written, unless
    SQLite says that it could not write."""
    name = getattr(error, "sqlite_errorname", "")
    what, cure = _words(name, str(error))
    return UnusableJournal(what, cure, certain=not committing or name == "SQLITE_FULL")


def _words(name: str, text: str) -> tuple[str, str]:
    match name.split("_")[1:]:
        case ["FULL"]:
            return "its disk is full", MAKE_ROOM
        case ["CORRUPT", *_] | ["NOTADB", *_]:
            return f"it is damaged ({text})", MOVE_DAMAGED
        case ["READONLY", *_] | ["CANTOPEN", *_] | ["PERM", *_]:
            return f"it cannot be written ({text})", READ_ONLY
        case ["BUSY", *_] | ["LOCKED", *_]:
            return "another program has locked it", "end that program: only wsctl is to write it"
        case ["IOERR", *_]:
            return f"an error of the disk ({name})", CHECK_DISK
    return text, CHECK_DISK
