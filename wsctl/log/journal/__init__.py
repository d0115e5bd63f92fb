"""The journal: a log's home in a file on disk. SQLite, which not every Python has, is loaded only where there
is one."""

import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from wsctl.errors import UsageError
from wsctl.log.message_log import MessageLog
from wsctl.settings import JournalSync

if TYPE_CHECKING:
    from wsctl.log.journal.home import JournalHome


def journal_home(
    path: str, sync: JournalSync, messages: MessageLog, *, wall: Callable[[], float] = time.time
) -> "JournalHome":
    """Make the home of a log that the settings `journal` and `journal_sync` ask for.

    Raises:
        UsageError: this Python has no SQLite.
    """
    require_sqlite()
    from wsctl.log.journal.home import JournalHome

    return JournalHome(path, messages, full=sync == "full", wall=wall)


def require_sqlite() -> None:
    """Check that this Python has SQLite.

    Raises:
        UsageError: it was built without.
    """
    if find_spec("_sqlite3") is None:
        raise UsageError("a journal needs SQLite, and this Python was built without: take another Python")
