"""How long an HTTP connection may stay in each of its states: decided here, acted on by whoever has it."""

from enum import Enum
from math import inf

from wsctl.hub.connection import STALL_TIMEOUT

HEAD_TIMEOUT = 10.0
"""Seconds for a request head to be complete, and for a TLS handshake."""

BODY_TIMEOUT = 20.0
"""Seconds for a request body to be complete, and more for what has come (Apache's `RequestReadTimeout`)."""

BODY_RATE = 500
"""Bytes of a body that buy it one more second (Apache's `MinRate`)."""

REST_TIMEOUT = 10.0
"""Seconds for the rest of a body whose request has been answered: nobody waits for it."""

IDLE_TIMEOUT = 10.0
"""Seconds between two requests: twice uvicorn's own, which it forgets when bytes come in between."""

MAX_UNREAD = 256 * 1024
"""Bytes that are read past although the answer is out: more than the largest usual body, so that whoever
sends it all before reading finds the answer, and whoever never stops is not listened to."""


class Stage(Enum):
    """The states of an HTTP connection."""

    IDLE = "between two requests"
    HEAD = "a head arrives"
    BODY = "a body arrives, and its request is not answered"
    ANSWER = "a whole request is being answered"
    REST = "a body arrives whose request has been answered"


LIMITS = {
    Stage.IDLE: IDLE_TIMEOUT,
    Stage.HEAD: HEAD_TIMEOUT,
    Stage.BODY: BODY_TIMEOUT,
    Stage.ANSWER: inf,  # the application's own time: only operators' requests take any
    Stage.REST: REST_TIMEOUT,
}


class Deadlines:
    """The state of one connection, and since when it is in it; its first head is awaited from `since` on.

    Attributes:
        stage: the state it is in.
    """

    __slots__ = ("_came", "_since", "_stalled", "_unsent", "stage")

    def __init__(self, since: float) -> None:
        self.stage = Stage.HEAD
        self._since = since
        self._came = 0
        self._unsent = 0
        self._stalled = since

    def received(self, size: int, now: float) -> None:
        """Bytes came, and are about to be parsed."""
        if self.stage is Stage.IDLE:
            self._enter(Stage.HEAD, now)
        self._came += size

    def requested(self, now: float) -> None:
        """A head is complete."""
        self._enter(Stage.BODY, now)

    def ended(self, now: float) -> None:
        """A request is complete."""
        self._enter(Stage.IDLE if self.stage is Stage.REST else Stage.ANSWER, now)

    def answered(self, now: float) -> None:
        """An answer is complete."""
        self._enter(Stage.REST if self.stage is Stage.BODY else Stage.IDLE, now)

    @property
    def busy(self) -> bool:
        """Whether the application has a request in hand."""
        return self.stage in (Stage.BODY, Stage.ANSWER)

    @property
    def too_much(self) -> bool:
        """Whether more is sent behind an answer than is read past."""
        return self.stage is Stage.REST and self._came > MAX_UNREAD

    def overdue(self, now: float) -> bool:
        """Whether the state has lasted for too long."""
        more = self._came / BODY_RATE if self.stage is Stage.BODY else 0.0
        return now - self._since >= LIMITS[self.stage] + more

    def stalled(self, now: float, unsent: int) -> bool:
        """Whether nothing of what waits to be written was taken for too long, `unsent` bytes now. What is
        written in between is no progress."""
        if not unsent or unsent < self._unsent or not self._unsent:
            self._stalled = now
        self._unsent = unsent
        return bool(unsent) and now - self._stalled >= STALL_TIMEOUT

    def _enter(self, stage: Stage, now: float) -> None:
        self.stage, self._since, self._came = stage, now, 0
