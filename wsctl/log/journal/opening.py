"""The opening of a journal's file by the writer thread, and its settlement with what the log has already."""

import os
from collections.abc import Sequence

from wsctl.log.history import Entry
from wsctl.log.home import Key
from wsctl.log.journal.errors import MAKE_ROOM, UnusableJournal
from wsctl.log.journal.file import JournalFile
from wsctl.log.journal.rows import Row
from wsctl.log.message_log import MessageLog
from wsctl.log.retention import Floors

ROOM = 256 << 10
"""Bytes that must be free before a file whose disk was full is tried again: a little more than one long
message takes, so that it does not come back for one commit alone."""

UNNAMED = Key("", 0)
"""The key of a message that the log has, and that nobody passes on again."""


class Opening:
    """One opening of the file at `path`, with what the log has at the moment in which this is made; `open` is
    for the writer thread.

    The `first` one of a process takes all that the file has. Later ones find what the log does not have: what
    another process has written, or a commit of which nobody knew. Where the file has less than the log,
    because it was removed, it gets what the log has.
    """

    def __init__(self, path: str, messages: MessageLog, *, full: bool, first: bool, was_full: bool) -> None:
        history = messages.history
        self._path = path
        self._full = full
        self._first = first
        self._was_full = was_full
        self._most, self._most_bytes, self._ttl = history.most, history.most_bytes, history.ttl
        self._position = messages.position
        here = messages.position
        self._floors = Floors(here, {}, here) if first else history.floors()
        self._entries: list[Entry] = [] if first else history.entries()

    def open(self) -> tuple[JournalFile, Sequence[Row]]:
        """Open the file; return it and what the log does not have of it.

        Raises:
            UnusableJournal: it cannot be written.
        """
        if self._was_full:
            self._require_room()
        file = JournalFile(
            self._path,
            full=self._full,
            most=self._most,
            most_bytes=self._most_bytes,
            floor=self._floors.newest,
            ttl=self._ttl,
        )
        try:
            return file, self._settle(file)
        except BaseException:
            file.close()
            raise

    def _settle(self, file: JournalFile) -> list[Row]:
        if self._first:
            return file.behind((0, 0))
        if file.newest < self._position:
            file.replace(self._floors, [_row(entry) for entry in self._entries])
        return file.behind(self._position)

    def _require_room(self) -> None:
        found = os.statvfs(os.path.dirname(os.path.abspath(self._path)))
        if found.f_bavail * found.f_frsize < ROOM:
            raise UnusableJournal("its disk is full", MAKE_ROOM)


def _row(entry: Entry) -> Row:
    (payload,) = entry.batch.payloads
    return Row(entry.id, UNNAMED, entry.to, payload, entry.topic)
