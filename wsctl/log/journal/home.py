"""A journal on disk as the home of a log: what it is given is written by a thread of its own, and taken by
the log once it is written. The event loop never waits for the disk.

the file can be opened     -> there: drafts are written, all that wait by one commit
a commit fails, or is slow -> away: publishers are refused, and the file is opened again and again
it can be written again    -> there: what is found in it that nobody heard of is taken by the log
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import Any

from wsctl.errors import CannotStart
from wsctl.log.history import Entry, MessageId
from wsctl.log.home import Away, Draft, Home, Kept, Key, Refusal, RemoteConnection, body_of
from wsctl.log.idempotency import of_sender
from wsctl.log.journal.commit_queue import CommitQueue, QueuedDraft
from wsctl.log.journal.drafts import DraftsUnderWay
from wsctl.log.journal.errors import CHECK_DISK, UnusableJournal
from wsctl.log.journal.file import JournalFile
from wsctl.log.journal.opening import Opening
from wsctl.log.journal.writer import Committed, Ended, FileOpened, Report, Writer
from wsctl.log.message_log import MessageLog
from wsctl.log.refusals import AWAY, CONFIRM_TIMEOUT, FULL, LATE, UNCONFIRMED

TAKEN_TOGETHER = 128
"""Messages that the log takes in one iteration of the event loop, some milliseconds of it."""

FIRST_RETRY, SLOWEST_RETRY = 0.1, 1.0
"""Seconds between two tries to open a file that failed: doubled from the first to the second."""

STEADY = 5.0
"""Seconds without a failure after which the next one counts as the first again."""

CLOSE_TIMEOUT = 5.0
"""Seconds that a process which ends, or is replaced, waits for the disk."""

EXPIRE_EVERY = 1.0
"""Seconds between two looks for messages that are too old."""

SLOW = f"a commit takes longer than {CONFIRM_TIMEOUT:g} s"

log = logging.getLogger("wsctl.journal")


class JournalHome(Home):
    """The home of a log in the file at `path`; with `full`, what it has survives a loss of power too.

    `opening` opens it; `clock` is in seconds, `wall` the time of day.

    Attributes:
        path: the file.
        sync: `full` or `normal`.
        bytes: the size of the file on the disk, with its write-ahead log, after the last commit.
        committed: called after each commit, with its seconds and how many messages it wrote.
    """

    def __init__(
        self,
        path: str,
        messages: MessageLog,
        *,
        full: bool = True,
        opening: type[Opening] = Opening,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.path = path
        self.sync = "full" if full else "normal"
        self.bytes = 0
        self.committed: Callable[[float, int], None] = lambda seconds, count: None
        self._messages = messages
        self._opening = opening
        self._clock = clock
        self._wall = wall
        self._queue = CommitQueue()
        self._drafts = DraftsUnderWay()
        self._timer: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._reports: deque[Report | tuple[Entry, Key]] = deque()
        self._loads: set[asyncio.Future[Kept]] = set()
        self._beginning: asyncio.Future[None] | None = None
        self._is_running = self._closing = False
        self._wanted = False
        self._suspended = False
        self._ended = asyncio.Event()
        self._why: UnusableJournal | None = None
        self._failures = 0
        self._failed = self._since = clock()

    @property
    def why(self) -> str | None:
        return None if self._why is None else f"the journal {self.path}: {self._why}"

    @property
    def waiting(self) -> int:
        """The number of messages that are not yet written and taken."""
        return len(self._drafts)

    def publish(self, draft: Draft) -> None:
        ts = self._wall()
        body = body_of(draft, ts)
        if self._suspended or draft.key in self._drafts:
            return
        if self._why:
            self._refuse(draft.key, AWAY, again=draft.again)
        elif self._drafts.are_too_many:
            self._refuse(draft.key, FULL, again=draft.again)
        else:
            deadline = self._clock() + CONFIRM_TIMEOUT
            once = draft.idempotency_key and of_sender(draft.idempotency_key, draft.sender)
            queued = QueuedDraft(draft.key, ts, draft.to, body, draft.again, deadline, draft.topic, once)
            self._drafts.add(queued)
            self._queue.put(queued)
            self._watch()
            self._want()

    async def load(self, after: MessageId, until: MessageId, most: int, most_bytes: int) -> Kept:
        if not self._is_running:
            raise Away(self.why or f"the journal {self.path} is not open", CHECK_DISK)
        loop = asyncio.get_running_loop()
        kept: asyncio.Future[Kept] = loop.create_future()

        def read(file: JournalFile) -> None:
            try:
                answer = partial(_resolve, kept, file.load(after, until, most, most_bytes))
            except UnusableJournal as error:
                answer = partial(_fail, kept, error)
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(answer)

        self._loads.add(kept)
        kept.add_done_callback(self._loads.discard)
        self._queue.ask(read)
        return await kept

    async def begin(self) -> None:
        self._beginning = asyncio.get_running_loop().create_future()
        self._want()
        await self._beginning

    async def suspend(self) -> dict[str, Any]:
        """Write what waits, and close the file, for the process that goes on with it.

        Raises:
            Away: the disk takes too long.
        """
        self._suspended = True
        if not await self._close():
            raise Away(f"the journal {self.path} cannot be closed: {SLOW}", CHECK_DISK)
        return {"why": None if self._why is None else str(self._why)}

    def resume(self, here: Collection[RemoteConnection]) -> None:
        self._suspended = False
        self._want()

    def resume_at(self, point: dict[str, Any], here: Collection[RemoteConnection]) -> None:
        if why := point["why"]:
            self._why = UnusableJournal(why, CHECK_DISK)
        self.resume(())

    async def end(self) -> None:
        if not self._suspended:
            await self._close()
            self._why = self._why or UnusableJournal("it is closed", "start the server again")
            self._withdraw_all()

    # The writer thread, and what it reports

    def _want(self) -> None:
        """Have a writer thread, from now on."""
        self._wanted = True
        if not self._is_running and self._retry is None:
            self._start()
        elif self._is_running and self._closing:
            # One that has left the queue ends: another one follows it.
            self._closing = not self._queue.reopen()

    async def _close(self) -> bool:
        """Have the thread write all that waits and close the file; return whether it did, in time."""
        self._wanted = False
        for timer in (self._retry, self._expiry):
            if timer:
                timer.cancel()
        self._retry = self._expiry = None
        if self._is_running:
            self._closing = True
            self._queue.close()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._ended.wait()
        return not self._is_running

    def _start(self) -> None:
        loop = asyncio.get_running_loop()

        def tell(report: Report) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._receive, report)

        self._retry = None
        self._is_running, self._closing = True, False
        self._ended.clear()
        opening = self._opening(
            self.path,
            self._messages,
            full=self.sync == "full",
            first=self._beginning is not None,
            was_full=self._why is not None and self._why.is_full,
        )
        writer = Writer(
            self._queue, opening.open, tell, taken=lambda: self._messages.position, clock=self._clock
        )
        writer.start()

    def _receive(self, report: Report) -> None:
        idle = not self._reports
        if not self._beginning and not isinstance(report, Ended):
            self._reports.extend(report.entries)
        self._reports.append(report)
        if idle:
            self._work_off()

    def _work_off(self) -> None:
        """Take what was written and hear what happened, in order; what is much, in several iterations of the
        loop."""
        try:
            for _ in range(min(TAKEN_TOGETHER, len(self._reports))):
                self._handle(self._reports.popleft())
        finally:
            if self._reports:
                asyncio.get_running_loop().call_soon(self._work_off)

    def _handle(self, report: Report | tuple[Entry, Key]) -> None:
        match report:
            case FileOpened():
                self._open(report)
            case Committed():
                self._count(report)
            case Ended():
                self._end(report)
            case entry, key:
                self._take(entry, key)

    def _take(self, entry: Entry, key: Key) -> None:
        self._drafts.drop(key)
        # What a new file was filled with, or an old one had, the log has.
        if entry.id > self._messages.position:
            self._messages.take(entry, key)

    def _open(self, report: FileOpened) -> None:
        self.bytes = report.size
        if self._beginning:
            entries = [entry for entry, _ in report.entries]
            now = self._wall()
            keys = [(key, ms, sequence, max(0.0, now - ms / 1000)) for key, ms, sequence in report.keys]
            self._messages.seen_keys.restore(keys)
            floors, known = report.floors, report.known
            self._messages.restore(report.newest, floors.newest, entries, floors=floors, known=known)
            fields = {"journal": self.path, "sync": self.sync, "messages": len(entries)}
            log.info("the journal is open", extra={"fields": fields})
            _resolve(self._beginning, None)
            self._beginning = None
        self._come_back()
        self._expire_later()

    def _expire_later(self) -> None:
        """Have messages deleted that become too old, also while nothing is published."""
        if self._messages.history.ttl and self._expiry is None:
            self._expiry = asyncio.get_running_loop().call_later(EXPIRE_EVERY, self._expire_old)

    def _expire_old(self) -> None:
        self._expiry = None
        if self._is_running and not self._closing:
            now, taken = int(self._wall() * 1000), self._messages.position
            self._queue.ask(lambda file: file.expire(now, taken=taken))
            self._expire_later()

    def _count(self, report: Committed) -> None:
        self.bytes = report.size
        for key, message_id in report.again.items():
            self._drafts.drop(key)
            self._messages.repeat(key, message_id)
        for key, message_id in report.repeated.items():
            self._drafts.drop(key)
            self._messages.answer_repeated(key, message_id)
        self.committed(report.seconds, report.messages)
        self._come_back()

    def _end(self, report: Ended) -> None:
        self._is_running = False
        for key in report.failed:
            certain = report.why is not None and report.why.certain
            again = self._drafts.drop(key)
            self._refuse(key, AWAY if certain else UNCONFIRMED, again=again)
        for kept in list(self._loads):
            _fail(kept, Away(f"the journal {self.path} was closed", CHECK_DISK))
        if self._beginning:
            self._wanted = False
            _fail(self._beginning, _cannot_start(self.path, report.why))
            self._beginning = None
        elif report.why:
            self._go_away(report.why)
            self._failures = self._failures + 1 if self._clock() - self._failed < STEADY else 1
            self._failed = self._clock()
        self._ended.set()
        if self._wanted:
            self._try_again()

    # There and away

    def _go_away(self, why: UnusableJournal) -> None:
        """Refuse all that waits, and everything until the file can be written."""
        was_there, self._why = self._why is None, why
        self._withdraw_all()
        if was_there:
            self._since = self._clock()
            fields = {"journal": self.path, "why": str(why), "fix": why.cure}
            log.warning("the journal is away", extra={"fields": fields})
            self._messages.cut_off(self.why or "")

    def _come_back(self) -> None:
        if self._why is None:
            return
        self._why = None
        fields = {"journal": self.path, "away_s": round(self._clock() - self._since, 3)}
        log.info("the journal is back", extra={"fields": fields})
        self._messages.back(recovered=True)

    def _withdraw_all(self) -> None:
        for draft in self._queue.withdraw():
            self._drafts.drop(draft.key)
            self._refuse(draft.key, AWAY, again=draft.again)

    def _try_again(self) -> None:
        """Open the file again: at once where another process has written it, or after a pause."""
        if self._why is None:
            self._start()
            return
        pause = min(FIRST_RETRY * 2.0 ** min(self._failures - 1, 10), SLOWEST_RETRY)
        self._retry = asyncio.get_running_loop().call_later(pause, self._start)

    # Drafts under way

    def _refuse(self, key: Key, why: Refusal, *, again: bool) -> None:
        """Refuse a draft: as unconfirmed if another process was ever given it, whatever the reason."""
        self._messages.refuse(key, UNCONFIRMED if again else why)

    def _watch(self) -> None:
        deadline = self._drafts.next_deadline() if self._timer is None else None
        if deadline is not None:
            pause = max(0.0, deadline - self._clock())
            self._timer = asyncio.get_running_loop().call_later(pause, self._expire)

    def _expire(self) -> None:
        """Refuse the drafts that waited too long. If the thread has them, the disk does not answer."""
        self._timer = None
        now = self._clock()
        for draft in self._queue.withdraw(now):
            self._drafts.drop(draft.key)
            self._refuse(draft.key, LATE, again=draft.again)
        overdue = self._drafts.take_overdue(now)
        for key in overdue:
            self._messages.refuse(key, UNCONFIRMED)
        if overdue and not self._reports:
            self._go_away(UnusableJournal(SLOW, CHECK_DISK))
        self._watch()


def _cannot_start(path: str, why: Away | None) -> CannotStart:
    return CannotStart(f"--journal {path}: {why}; {why.cure}" if why else f"--journal {path}: it was closed")


def _resolve(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
