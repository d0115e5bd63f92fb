"""The journal of a server, as operators see it: the time of its commits, what waits, whether it is away."""

import os
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from wsctl.control.status import JournalState
from wsctl.hub.traffic import Durations
from wsctl.log.message_log import MessageLog


@runtime_checkable
class MonitoredJournal(Protocol):
    """A journal: its file, how it syncs, the reason why it is away, the messages that are not committed yet,
    and the bytes that it has on disk. `committed` is called after each commit with how many seconds it took,
    and how many messages it has kept. (A server without a journal does not load the module of one.)"""

    committed: Callable[[float, int], None]

    @property
    def path(self) -> str: ...
    @property
    def sync(self) -> str: ...
    @property
    def why(self) -> str | None: ...
    @property
    def waiting(self) -> int: ...
    @property
    def bytes(self) -> int: ...


class JournalMonitor:
    """Watches a journal, the home of a log.

    Attributes:
        commits: how long each commit took.
        messages: how many messages they have kept.
    """

    def __init__(self, journal: MonitoredJournal, log: MessageLog, clock: Callable[[], float]) -> None:
        self.commits = Durations()
        self.messages = 0
        self._journal = journal
        self._clock = clock
        self._since = clock()
        journal.committed = self._committed
        log.observers.append(self)

    def state(self) -> JournalState:
        """Return the state of the journal."""
        why = self._journal.why
        return JournalState(
            path=os.path.abspath(self._journal.path),
            sync=self._journal.sync,
            state="up" if why is None else "away",
            for_s=round(self._clock() - self._since, 3),
            why=why and why.removeprefix(f"the journal {self._journal.path}: "),
            bytes=self._journal.bytes,
            waiting=self._journal.waiting,
        )

    def cut_off(self, why: str) -> None:
        self._since = self._clock()

    def back(self, recovered: bool) -> None:
        self._since = self._clock()

    def _committed(self, seconds: float, messages: int) -> None:
        self.commits.note(seconds)
        self.messages += messages


def monitor_journal(log: MessageLog, clock: Callable[[], float]) -> JournalMonitor | None:
    """Watch the journal that is the home of a log; None where it has another one."""
    return JournalMonitor(log.home, log, clock) if isinstance(log.home, MonitoredJournal) else None
