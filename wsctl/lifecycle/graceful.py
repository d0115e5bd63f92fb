"""How a server ends: the decisions, without I/O.

Facts come in as arguments (the time, who is left, which signal), decisions go out as actions and
as `DrainProgress`. The bar, the log, `status` and `/health` all read that one record.

    first SIGTERM/SIGINT or a request -> draining: new clients are turned away, messages flow
    nobody left                       -> stopped
    deadline, or SIGINT again         -> closing: a close frame to all, then abort, then stopped
"""

from dataclasses import dataclass, replace
from enum import Enum, auto
from signal import SIGINT, Signals

from wsctl.codes import ExitCode
from wsctl.hub.connection import CLOSE_TIMEOUT
from wsctl.lifecycle.phases import Life, Phase

FORCE_AFTER = 1.0
"""Seconds after the first signal from which SIGINT means force. One Ctrl-C can arrive as several
signals (process groups, supervisors that forward it); a person needs longer to decide."""


class Action(Enum):
    """What the server must do now."""

    ANNOUNCE = auto()
    """Tell the clients that a drain began, or its new deadline."""
    REASSURE = auto()
    """Tell the clients that the drain was cancelled."""
    CLOSE = auto()
    """Send every client a close frame."""
    ABORT = auto()
    """Cut the connections whose close was not answered."""
    STOP = auto()
    """End the process."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Who is connected, and how stays ended since the start."""

    active: int = 0
    closing: int = 0
    left: int = 0
    evicted: int = 0
    forced: int = 0
    aborted: int = 0
    undelivered: int = 0
    oldest: str | None = None


@dataclass(frozen=True, slots=True)
class DrainProgress:
    """A drain as it stands: counts of clients, and seconds.

    `left` by themselves, `evicted` by a limit, `forced` closed at the deadline or by the operator,
    `aborted` of those without an answer; `undelivered` messages that waited for aborted ones;
    `oldest` is the id of the client connected longest.
    """

    phase: Phase
    reason: str
    cancellable: bool
    started_with: int
    active: int
    elapsed_s: float
    remaining_s: float
    left: int
    evicted: int
    forced: int
    aborted: int
    undelivered: int
    oldest: str | None


@dataclass(slots=True)
class _Drain:
    began: float
    deadline: float
    reason: str
    by_signal: bool
    baseline: Counts


class NotDraining(Exception):
    """There is no drain to cancel, or it can no longer be moved."""


class GracefulShutdownManager:
    """The state machine of the end. `timeout` is the longest drain, in seconds.

    Each method that brings a fact returns the actions it causes, in order.
    """

    def __init__(self, timeout: float, life: Life | None = None) -> None:
        self._life = life or Life()
        self._timeout = timeout
        self._drain: _Drain | None = None
        self._first_signal: float | None = None
        self._abort_at = 0.0
        self._counts = Counts()
        self._ended: float | None = None
        self.by_operator = False

    @property
    def phase(self) -> Phase:
        return self._life.phase

    @property
    def exit_code(self) -> ExitCode:
        """What the process ends with, as things stand."""
        if self.by_operator:
            return ExitCode.OPERATOR
        done = self._drain and (self._counts.forced + self._counts.aborted) > (
            self._drain.baseline.forced + self._drain.baseline.aborted
        )
        return ExitCode.FORCED if done else ExitCode.DONE

    def started(self) -> None:
        """The server accepts connections."""
        self._life.move(Phase.SERVING)

    def signal(self, signum: int, now: float, counts: Counts) -> list[Action]:
        """A SIGTERM or SIGINT. The first begins a drain; SIGINT again, a second later, forces."""
        if self.phase is Phase.STARTING:
            self._life.move(Phase.STOPPED)
            return [Action.STOP]
        if self._first_signal is None and self.phase is not Phase.STOPPED:
            self._first_signal = now
            return self._drain_for_signal(signum, now, counts)
        if self._first_signal is None or signum != SIGINT or now - self._first_signal < FORCE_AFTER:
            return []
        if self.phase is Phase.DRAINING:
            self.by_operator = True
            return self._close(now, counts)
        if self.phase is Phase.CLOSING:
            self.by_operator = True
            return self._stop(now, counts, [Action.ABORT])
        return []

    def drain(self, now: float, counts: Counts, timeout: float | None = None) -> list[Action]:
        """A request to drain. During a drain it moves the deadline to `timeout` seconds from now.

        Raises:
            NotDraining: the server is already closing its clients.
        """
        if self.phase is Phase.SERVING:
            return self._begin(now, counts, "requested", timeout, by_signal=False)
        if self.phase is not Phase.DRAINING or self._drain is None:
            raise NotDraining(f"the server is {self.phase}")
        if timeout is None:
            return self.step(now, counts)
        self._drain.deadline = now + timeout
        return self.step(now, counts) or [Action.ANNOUNCE]

    def cancel(self) -> list[Action]:
        """Go back to serving.

        Raises:
            NotDraining: there is no drain, or it was begun by a signal and so cannot be cancelled.
        """
        if self.phase is not Phase.DRAINING or self._drain is None:
            raise NotDraining(f"the server is {self.phase}, there is no drain to cancel")
        if self._drain.by_signal:
            raise NotDraining("a drain begun by a signal cannot be cancelled")
        self._life.move(Phase.SERVING)
        self._drain = None
        return [Action.REASSURE]

    def step(self, now: float, counts: Counts) -> list[Action]:
        """Time has passed or somebody came or went."""
        self._counts = counts
        if self.phase is Phase.DRAINING and self._drain:
            if not counts.active:
                return self._stop(now, counts, [])
            if now >= self._drain.deadline:
                return self._close(now, counts)
        elif self.phase is Phase.CLOSING:
            if not counts.active + counts.closing:
                return self._stop(now, counts, [])
            if now >= self._abort_at:
                return self._stop(now, counts, [Action.ABORT])
        return []

    def wake_at(self) -> float | None:
        """When `step` must be called at the latest; None when nothing is due."""
        if self.phase is Phase.DRAINING and self._drain:
            return self._drain.deadline
        return self._abort_at if self.phase is Phase.CLOSING else None

    def progress(self, now: float, counts: Counts) -> DrainProgress | None:
        """The drain as it stands at `now`; None when there is none."""
        drain = self._drain
        if drain is None:
            return None
        at = now if self._ended is None else self._ended
        base = drain.baseline
        return DrainProgress(
            phase=self.phase,
            reason=drain.reason,
            cancellable=not drain.by_signal and self.phase is Phase.DRAINING,
            started_with=base.active,
            active=counts.active,
            elapsed_s=round(at - drain.began, 3),
            remaining_s=round(max(0.0, drain.deadline - at), 3),
            left=counts.left - base.left,
            evicted=counts.evicted - base.evicted,
            forced=counts.forced - base.forced,
            aborted=counts.aborted - base.aborted,
            undelivered=counts.undelivered - base.undelivered,
            oldest=counts.oldest,
        )

    def _drain_for_signal(self, signum: int, now: float, counts: Counts) -> list[Action]:
        name = Signals(signum).name
        if self._drain is None:
            return self._begin(now, counts, name, None, by_signal=True)
        self._drain = replace(self._drain, reason=name, by_signal=True)
        return self.step(now, counts)

    def _begin(
        self, now: float, counts: Counts, reason: str, timeout: float | None, *, by_signal: bool
    ) -> list[Action]:
        self._life.move(Phase.DRAINING)
        longest = self._timeout if timeout is None else timeout
        self._drain = _Drain(now, now + longest, reason, by_signal, counts)
        return self.step(now, counts) or [Action.ANNOUNCE]

    def _close(self, now: float, counts: Counts) -> list[Action]:
        self._counts = counts
        self._life.move(Phase.CLOSING)
        self._abort_at = now + CLOSE_TIMEOUT
        return [Action.CLOSE]

    def _stop(self, now: float, counts: Counts, before: list[Action]) -> list[Action]:
        self._counts = counts
        self._ended = now
        self._life.move(Phase.STOPPED)
        return [*before, Action.STOP]
