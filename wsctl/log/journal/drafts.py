"""The drafts that a journal was given and has not answered yet."""

from wsctl.log.home import Key
from wsctl.log.journal.commit_queue import QueuedDraft
from wsctl.log.refusals import MOST_BYTES_WAITING, MOST_WAITING


class DraftsUnderWay:
    """The drafts from `publish` until the log has taken or refused them, in their order: those that wait in
    the queue, those that the writer thread has, and those that are written."""

    def __init__(self) -> None:
        self._drafts: dict[Key, QueuedDraft] = {}
        self._overdue: set[Key] = set()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._drafts)

    def __contains__(self, key: Key) -> bool:
        return key in self._drafts

    @property
    def are_too_many(self) -> bool:
        """True if no more may wait."""
        return len(self._drafts) >= MOST_WAITING or self._bytes >= MOST_BYTES_WAITING

    def add(self, draft: QueuedDraft) -> None:
        self._drafts[draft.key] = draft
        self._bytes += len(draft.body)

    def drop(self, key: Key) -> bool:
        """Drop a draft that is answered, or about to be; return whether it came again."""
        self._overdue.discard(key)
        draft = self._drafts.pop(key, None)
        if draft is None:
            return False
        self._bytes -= len(draft.body)
        return draft.again

    def next_deadline(self) -> float | None:
        """Return when the next one is late."""
        deadlines = (draft.deadline for key, draft in self._drafts.items() if key not in self._overdue)
        return next(deadlines, None)

    def take_overdue(self, now: float) -> list[Key]:
        """Return those that are late by now, each of them once."""
        found = []
        for key, draft in self._drafts.items():
            if draft.deadline > now:
                break
            if key not in self._overdue:
                found.append(key)
        self._overdue.update(found)
        return found
