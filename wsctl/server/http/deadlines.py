"""The deadlines of an HTTP connection in each of its states: decided here, enforced by its protocol."""

from enum import Enum
from math import inf

from wsctl.hub.connection import STALL_TIMEOUT

HEAD_TIMEOUT = 10.0
"""Seconds for a request head to be complete, and for a TLS handshake."""

BODY_TIMEOUT = 20.0
"""Seconds for a request body to be complete, and one more for every `BODY_RATE` bytes that have come
(Apache's `RequestReadTimeout`)."""

BODY_RATE = 500
"""Bytes of a request body that extend its deadline by one second (Apache's `MinRate`)."""

LATE_BODY_TIMEOUT = 10.0
"""Seconds for the rest of a body whose request has been answered: nobody waits for it."""

IDLE_TIMEOUT = 5.0
"""Seconds between two requests, as uvicorn's own timer has it, which needs one a request."""

MAX_UNREAD = 256 * 1024
"""Bytes that are read and discarded after an answer: more than the largest usual body, so that a client which
sends all of it before reading finds the answer, and one that never stops is not read any further."""


class Stage(Enum):
    """The states of an HTTP connection."""

    IDLE = "between two requests"
    HEAD = "a head arrives"
    BODY = "a body arrives, and its request is not answered"
    ANSWER = "a whole request is being answered"
    LATE_BODY = "a body arrives whose request has been answered"


_IDLE, _HEAD, _BODY, _ANSWER, _LATE_BODY = Stage
"""The states by names of their own: in Python 3.11 to look one up at its class takes longer than all that is
done with it, and each request goes through all."""


TIMEOUTS = {
    Stage.IDLE: IDLE_TIMEOUT,
    Stage.HEAD: HEAD_TIMEOUT,
    Stage.BODY: BODY_TIMEOUT,
    Stage.ANSWER: inf,  # the application's own time: only operators' requests take any
    Stage.LATE_BODY: LATE_BODY_TIMEOUT,
}


class Deadlines:
    """The state of one connection, and since when it has it; the first request head is awaited from `since`
    on.

    Attributes:
        stage: the state of the connection.
    """

    __slots__ = ("_came", "_since", "_stalled", "_unsent", "stage")

    def __init__(self, since: float) -> None:
        self.stage = _HEAD
        self._since = since
        self._came = 0
        self._unsent = 0
        self._stalled = since

    def received(self, size: int, now: float) -> None:
        """Note that `size` bytes came, which are about to be parsed."""
        if self.stage is _IDLE:
            self.stage, self._since, self._came = _HEAD, now, 0
        self._came += size

    def requested(self, now: float) -> None:
        """Note that a request head is complete."""
        self.stage, self._since, self._came = _BODY, now, 0

    def ended(self, now: float) -> None:
        """Note that a request is complete."""
        self.stage = _IDLE if self.stage is _LATE_BODY else _ANSWER
        self._since, self._came = now, 0

    def answered(self, now: float) -> None:
        """Note that an answer is complete."""
        self.stage = _LATE_BODY if self.stage is _BODY else _IDLE
        self._since, self._came = now, 0

    @property
    def busy(self) -> bool:
        """True while the application is handling a request."""
        return self.stage in (_BODY, _ANSWER)

    @property
    def too_much(self) -> bool:
        """True if more than `MAX_UNREAD` bytes of a request have come behind its answer."""
        return self.stage is _LATE_BODY and self._came > MAX_UNREAD

    def overdue(self, now: float) -> bool:
        """Tell whether the deadline of the state has passed."""
        more = self._came / BODY_RATE if self.stage is _BODY else 0.0
        return now - self._since >= TIMEOUTS[self.stage] + more

    def stalled(self, now: float, unsent: int) -> bool:
        """Tell whether the peer has taken nothing of what waits to be written for `STALL_TIMEOUT` seconds;
        `unsent` bytes wait now. What is written in between is no progress."""
        if not unsent or unsent < self._unsent or not self._unsent:
            self._stalled = now
        self._unsent = unsent
        return bool(unsent) and now - self._stalled >= STALL_TIMEOUT
