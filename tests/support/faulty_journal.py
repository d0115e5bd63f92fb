"""A journal whose disk fails, or hangs, when a test wants it to."""

import threading
from collections.abc import Sequence
from typing import Any

from wsctl.log.history import MessageId
from wsctl.log.journal.errors import UnusableJournal
from wsctl.log.journal.file import JournalFile
from wsctl.log.journal.opening import Opening
from wsctl.log.journal.rows import Row


class Disk:
    """What a test does with the disk of a journal.

    Attributes:
        fails: raised by each commit, and with `fails_to_open` when it is opened.
        writes_first: whether a commit that fails is written all the same.
        commits: the sizes of the commits.
        turns: released by a test for each commit while `hangs`.
    """

    def __init__(self) -> None:
        self.fails: UnusableJournal | None = None
        self.fails_to_open: UnusableJournal | None = None
        self.writes_first = False
        self.commits: list[int] = []
        self.hangs = False
        self.turns = threading.Semaphore(0)
        self.reached = threading.Event()

    def opening(self, *told: Any, **how: Any) -> "FaultyOpening":
        return FaultyOpening(self, *told, **how)


class FaultyOpening(Opening):
    def __init__(self, disk: Disk, *told: Any, **how: Any) -> None:
        super().__init__(*told, **how)
        self._disk = disk

    def open(self) -> tuple[JournalFile, Sequence[Row]]:
        if self._disk.fails_to_open:
            raise self._disk.fails_to_open
        file, unknown = super().open()
        append = file.append

        def faulty(rows: Sequence[Row], *, taken: MessageId) -> None:
            disk = self._disk
            disk.reached.set()
            if disk.hangs:
                disk.turns.acquire()
            if disk.fails and not disk.writes_first:
                raise disk.fails
            append(rows, taken=taken)
            disk.commits.append(len(rows))
            if disk.fails:
                raise disk.fails

        file.append = faulty  # type: ignore[method-assign]
        return file, unknown
