"""The writer thread of a journal: it opens the file, writes all that waits by one commit, and closes the
file again. What it did it tells the event loop by reports, in order."""

import logging
import threading
from collections.abc import Callable, Container, Sequence
from typing import NamedTuple, Protocol

from wsctl import messages
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Key, id_behind
from wsctl.log.journal.commit_queue import CommitQueue, QueuedDraft
from wsctl.log.journal.errors import CHECK_DISK, UnusableJournal
from wsctl.log.journal.file import JournalFile
from wsctl.log.journal.rows import Row
from wsctl.log.known_ids import KnownIds
from wsctl.log.message_log import written
from wsctl.log.retention import Floors

log = logging.getLogger("wsctl.journal")


class FileOpened(NamedTuple):
    """The file is open: it keeps what is behind the `floors` up to `newest`, of which the log does not have
    the `entries`; `known` are the ids that it knows, where it remembers them, `keys` the idempotency keys
    that it has seen lately, `size` the bytes on the disk."""

    floors: Floors
    newest: MessageId
    entries: list[tuple[Entry, Key]]
    known: KnownIds | None
    keys: list[tuple[str, int, int]]
    size: int


class Committed(NamedTuple):
    """So many `messages` are written, the `entries`, by a commit that took so many `seconds`. Drafts that
    came `again` had been written before; of the `repeated` ones another message has the idempotency key."""

    entries: list[tuple[Entry, Key]]
    messages: int
    again: dict[Key, MessageId]
    repeated: dict[Key, MessageId]
    seconds: float
    size: int


class Ended(NamedTuple):
    """The file is closed: for `why`, or since that was asked for; `failed` are the drafts of a commit that
    was tried."""

    why: UnusableJournal | None
    failed: list[Key]


Report = FileOpened | Committed | Ended


class Tell(Protocol):
    """Tells the event loop, from any thread."""

    def __call__(self, report: Report) -> object: ...


class Writer:
    """The thread that has a journal's file: it ends when its queue is closed, or with the first failure.

    `open_file` opens the file, and returns it with what the log does not have of it; `taken` returns the
    newest id that the log has taken, from any thread; `clock` is in seconds.
    """

    def __init__(
        self,
        queue: CommitQueue,
        open_file: Callable[[], tuple[JournalFile, Sequence[Row]]],
        tell: Tell,
        *,
        taken: Callable[[], MessageId],
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._open_file = open_file
        self._tell = tell
        self._taken = taken
        self._clock = clock
        self._under_way: list[Key] = []

    def start(self) -> None:
        self._queue.enter()
        # A disk that hangs does not keep a process that ends.
        threading.Thread(target=self._run, name="wsctl journal", daemon=True).start()

    def _run(self) -> None:
        why: UnusableJournal | None = None
        try:
            self._work()
        except UnusableJournal as error:
            why = error
        except Exception:
            log.exception("the journal failed")
            why = UnusableJournal("an error that was not expected, see the log", CHECK_DISK, certain=False)
        self._queue.leave()
        self._tell(Ended(why, self._under_way))

    def _work(self) -> None:
        file, unknown = self._open_file()
        try:
            entries = [_kept(row) for row in unknown]
            known, keys = file.known_ids(), file.seen_keys()
            self._tell(FileOpened(file.floors(), file.newest, entries, known, keys, file.size))
            while (work := self._queue.next()) is not None:
                if callable(work):
                    work(file)
                else:
                    self._write(file, work)
        finally:
            file.close()

    def _write(self, file: JournalFile, drafts: Sequence[QueuedDraft]) -> None:
        began = self._clock()
        self._under_way = [draft.key for draft in drafts]
        came_again = {draft.key for draft in drafts if draft.again}
        again = file.find(came_again) if came_again else {}
        keys = {draft.once for draft in drafts if draft.once is not None}
        seen = file.find_keys(keys, int(drafts[-1].ts * 1000)) if keys else {}
        rows, repeated = _rows(drafts, again, seen, file.newest)
        file.append(rows, taken=self._taken())
        self._under_way = []
        took = self._clock() - began
        self._tell(Committed([_kept(row) for row in rows], len(rows), again, repeated, took, file.size))
        file.checkpoint()


def _rows(
    drafts: Sequence[QueuedDraft], again: Container[Key], seen: dict[str, MessageId], newest: MessageId
) -> tuple[list[Row], dict[Key, MessageId]]:
    """Give each draft its id, behind the newest one; return those with an idempotency key that was `seen`
    with the id of the first message that had it."""
    rows: list[Row] = []
    repeated: dict[Key, MessageId] = {}
    for draft in drafts:
        if draft.key in again:
            continue
        if draft.once is not None and draft.once in seen:
            repeated[draft.key] = seen[draft.once]
            continue
        newest = id_behind(newest, draft.ts)
        if draft.once is not None:
            seen[draft.once] = newest
        frame = messages.numbered(written(newest), draft.body)
        rows.append(Row(newest, draft.key, draft.to, frame, draft.topic, draft.once))
    return rows, repeated


def _kept(row: Row) -> tuple[Entry, Key]:
    return row.entry(), row.key
