"""The plan of one drain: its steps, the moments at which they are due, and its progress."""

from dataclasses import dataclass
from enum import Enum, auto

from wsctl.drain.pace import Forecast, Pace, Spread
from wsctl.drain.phases import Phase
from wsctl.drain.progress import ClientCounts, DrainProgress


class Action(Enum):
    """An action that the server must carry out now."""

    ANNOUNCE = auto()
    """Tell the clients that a drain began, or its new deadline."""
    ANNOUNCE_CANCEL = auto()
    """Tell the clients that the drain was cancelled."""
    CLOSE = auto()
    """Send every client a close frame."""
    ABORT = auto()
    """Cut the connections whose close was not answered."""
    STOP = auto()
    """End the process."""


@dataclass(frozen=True, slots=True)
class Invite:
    """The announcement that also asks each client to leave at its own moment, spread over `window` seconds
    from now."""

    window: float


@dataclass(frozen=True, slots=True)
class CloseOldest:
    """A close frame to `count` clients, those connected longest."""

    count: int


Step = Action | Invite | CloseOldest


class DrainPlan:
    """A drain, from when it was requested. All moments are on the caller's clock.

    Attributes:
        reason: the cause of the drain, for people.
        final: the reason why the drain cannot be cancelled; None when it can.
        announced_at: the earliest moment at which the clients are told, when the timeout starts.
        waiting_for: the number of servers that must have drained before; None while that is not known.
        deadline: the moment at which the clients are closed by force.
        baseline: the counts when the clients were told.
        closed_some: True if the drain has closed clients before the deadline.
    """

    def __init__(self, pace: Pace, now: float, counts: ClientCounts, reason: str, final: str | None) -> None:
        self.reason = reason
        self.final = final
        self.baseline = counts
        self.closed_some = False
        self.announced_at = now + pace.delay
        self.waiting_for: int | None = None if pace.in_turn else 0
        self._delay_over = False
        self._began = now
        self._pace = pace
        self._forecast = Forecast(now, counts.active)
        self._invited_until = now
        self.move(now, pace.timeout)

    def move(self, now: float, timeout: float) -> None:
        """Put the deadline `timeout` seconds from now, or from when the clients are told if that is later."""
        begin = max(now, self.announced_at)
        self.deadline = begin + timeout
        self._spread = Spread(max(begin, self.deadline - self._pace.spread), self.deadline)

    def hasten(self, now: float, timeout: float) -> None:
        """Tell the clients now if they are not told yet, wait for no other server, and close them `timeout`
        seconds from now."""
        self.announced_at = min(self.announced_at, now)
        self.waiting_for = 0
        self.move(now, timeout)

    def may_announce(self, now: float, active: int) -> bool:
        """Decide whether it is time to tell the clients; if none are connected, the server's turn is not
        waited for."""
        self._delay_over = now >= self.announced_at
        return self._delay_over and (self.waiting_for == 0 or not active)

    def lameduck_until(self) -> float:
        """Return the moment at which the drain must be looked at next while the clients are not told."""
        return self.deadline if self._delay_over else self.announced_at

    def mark_announced(self, now: float, counts: ClientCounts) -> None:
        """Start to count the clients that leave: they are told now."""
        self.baseline = counts
        self._forecast = Forecast(now, counts.active)

    def announcement(self, now: float) -> Step:
        """Return the step that tells the clients of the drain: with a window, each gets its own moment to
        leave."""
        window = min(self._pace.window, self.deadline - now)
        self._invited_until = now + window
        return Invite(window) if window > 0 else Action.ANNOUNCE

    def announcement_of_move(self, now: float) -> Step:
        """Return the step that tells the clients of a new deadline: they keep their moments, unless some
        would come too late."""
        return self.announcement(now) if self._invited_until > self.deadline else Action.ANNOUNCE

    def due(self, now: float, active: int) -> int:
        """Return how many clients must be closed now, before the deadline."""
        self._forecast.observe(now, active)
        count = self._spread.due(now, active)
        self.closed_some = self.closed_some or count > 0
        return count

    def next_at(self) -> float:
        """Return the moment at which `due` must be called next, or the deadline if that is earlier."""
        return min(self._spread.next_at(), self.deadline)

    def progress(self, phase: Phase, now: float, counts: ClientCounts) -> DrainProgress:
        """Return the drain as it stands. Before the clients are told, nobody counts as having left."""
        base = counts if phase is Phase.LAMEDUCK else self.baseline
        forced = counts.forced - base.forced
        # Who was closed in a drain that was cancelled may be aborted in this one: it is none of either.
        earlier = min(0, forced)
        draining = phase is Phase.DRAINING
        eta = self._forecast.eta_s(now, counts.active, self.deadline) if draining else None
        return DrainProgress(
            phase=phase,
            reason=self.reason,
            cancellable=self.final is None and phase in (Phase.LAMEDUCK, Phase.DRAINING),
            started_with=base.active,
            active=counts.active,
            elapsed_s=round(now - self._began, 3),
            remaining_s=round(max(0.0, self.deadline - now), 3),
            left=counts.left - base.left,
            evicted=counts.evicted - base.evicted,
            forced=forced - earlier,
            aborted=counts.aborted - base.aborted + earlier,
            undelivered=counts.undelivered - base.undelivered,
            oldest=counts.longest[0].client_id if counts.longest else None,
            handed_over=counts.handed_over,
            eta_s=None if eta is None else round(eta, 3),
            longest=counts.longest,
            by_policy=counts.by_policy - base.by_policy,
            websockets=counts.websockets,
            responses=counts.responses,
            routes=counts.routes,
            waiting_for=(self.waiting_for or 0) if phase is Phase.LAMEDUCK else 0,
        )
