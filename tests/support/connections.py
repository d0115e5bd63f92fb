"""Connections for tests of what is above the socket."""

from collections.abc import Sequence

from wsctl.codes import CloseCode
from wsctl.frame import Batch
from wsctl.hub.connection import Connection, EndReason
from wsctl.hub.manager import ConnectionManager
from wsctl.log.history import Missed


class RecordedConnection(Connection):
    """A connection without a socket that remembers what was done to it."""

    def __init__(self, client_id: str, manager: ConnectionManager | None = None, opened: float = 0.0) -> None:
        super().__init__(client_id, "192.0.2.1:5", opened)
        self.manager = manager
        self.offered: list[Batch] = []
        self.closed: tuple[int, str, EndReason] | None = None
        self.aborted: str | None = None
        self.checked: list[float] = []
        self.missed = 0

    @property
    def payloads(self) -> list[bytes]:
        """The JSON of every frame offered, in order."""
        return [payload for batch in self.offered for payload in batch.payloads]

    @property
    def waiting(self) -> int:
        return 0

    @property
    def undelivered(self) -> int:
        return self.missed

    def offer(self, batch: Batch, written: int = 0) -> None:
        assert not written
        self.offered.append(batch)

    def replay(self, missed: Sequence[Batch]) -> None:
        self.offered += missed

    def catch_up(self, missed: Missed) -> None:
        super().catch_up(missed)
        if self.manager:
            sent = self.offered[1:]
            self.manager.caught_up(sum(b.messages for b in sent), sum(len(b.wire) for b in sent))

    def close(self, code: int, reason: str, end_reason: EndReason) -> None:
        self.closed = self.closed or (code, reason, end_reason)
        if self.manager:
            self.manager.retire(self, code, reason, end_reason)

    def abort(self, reason: str, end_reason: EndReason = EndReason.EVICTED) -> None:
        self.aborted = reason
        if self.manager:
            self.manager.retire(self, CloseCode.ABNORMAL, reason, end_reason)

    def check(self, now: float) -> None:
        self.checked.append(now)
