"""The decisions about how a server ends, without I/O.

Facts come in as arguments (the time, who is left, which signal), decisions go out as actions and
as `DrainProgress`. The bar, the log, `status` and `/health` all read that one record.

    first signal to end, or a request -> lameduck for the delay, if there is one: not ready, else as before
    the delay is over, and its turn   -> draining: new clients are turned away, messages flow
    nobody left                       -> stopped
    deadline, or SIGINT again         -> closing: a close frame to all, then abort, then stopped

    a handover                        -> serving again, or draining beside the successor
"""

from dataclasses import replace
from signal import Signals

from wsctl.codes import CLOSE_TIMEOUT, ExitCode
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.pace import HANDOVER_WINDOW, ORPHAN_TIMEOUT, RELOAD, RELOAD_TIMEOUT, Pace
from wsctl.drain.phases import IllegalMove, Phase, PhaseMachine
from wsctl.drain.plan import Action, CloseOldest, DrainPlan, Step
from wsctl.drain.progress import ClientCounts, DrainProgress
from wsctl.drain.signals import ORPHANED, PARENT_GONE, SignalMeaning, SignalReader

_BY_SIGNAL = "a drain begun by a signal cannot be cancelled"
_SUCCEEDED = "a successor serves already: this drain cannot be cancelled"

NO_UPGRADE = "the server is {phase}, and only one that serves can be upgraded: {advice}"
"""The reason why there is no upgrade now; the advice is one of the three texts that follow."""

TAKE_BACK = "'wsctl drain --cancel' takes the drain back, then upgrade it"
START_ANEW = "its drain cannot be taken back any more, start it anew when it has ended"
TRY_AGAIN = "try again in a moment"

_UNDER_WAY = (Phase.LAMEDUCK, Phase.DRAINING)
"""The phases of a drain that can still be moved, cancelled and forced."""


class NotDraining(Exception):
    """A request that cannot be fulfilled in this phase; the text says which phase it is."""


class GracefulShutdownManager:
    """The state machine of how a server ends.

    Each method that brings a fact returns the actions it causes, in order.
    """

    def __init__(self, pace: Pace, life: PhaseMachine | None = None) -> None:
        self._life = life or PhaseMachine()
        self._pace = pace
        self._drain: DrainPlan | None = None
        self._signals = SignalReader()
        self._signal: str | None = None
        self._interventions: list[Intervention] = []
        self._abort_at = 0.0
        self._counts = ClientCounts()
        self._ended: float | None = None
        self.by_operator = False

    @property
    def phase(self) -> Phase:
        return self._life.phase

    @property
    def exit_code(self) -> ExitCode:
        """The exit code of the process, as things stand."""
        if self.by_operator:
            return ExitCode.OPERATOR
        if self._drain and self._drain.reason == RELOAD:  # whoever changes code means its connections to end
            return ExitCode.DONE
        done = self._drain and (self._counts.forced + self._counts.aborted) > (
            self._drain.baseline.forced + self._drain.baseline.aborted
        )
        return ExitCode.FORCED if done else ExitCode.DONE

    @property
    def signalled(self) -> bool:
        """True if a signal has asked this server to end."""
        return self._signal is not None

    def take_interventions(self) -> list[Intervention]:
        """Return what operators have caused since the last call, in order."""
        taken, self._interventions = self._interventions, []
        return taken

    def started(self) -> None:
        """Go to serving: the server accepts connections."""
        self._life.move(Phase.SERVING)

    def signal(
        self, signum: int, now: float, counts: ClientCounts, *, reason: str | None = None
    ) -> list[Step]:
        """Take a SIGTERM, SIGINT or SIGHUP, or what stands for one, as its `reason` says. The first begins a
        drain; SIGINT again, a second later, forces.

        During a handover the first is remembered: the drain begins when the handover has ended.
        """
        if self.phase is Phase.STARTING:
            self._life.move(Phase.STOPPED)
            return [Action.STOP]
        if self.phase is Phase.STOPPED:
            return []
        name = reason or Signals(signum).name
        match self._signals.read(signum, now):
            case SignalMeaning.BEGIN:
                self._signal = name
                return self._first_signal(name, now, counts)
            case SignalMeaning.FORCE:
                return self._force(now, counts, name)
            case SignalMeaning.TOO_SOON:
                self._record(InterventionKind.TOO_SOON, name, now)
        return []

    def orphan(self, now: float, counts: ClientCounts) -> list[Step]:
        """Drain with little time, or go on so: the parent of this worker is gone."""
        timeout = min(ORPHAN_TIMEOUT, self._pace.timeout)
        self._pace = replace(self._pace, timeout=timeout, delay=0.0, spread=0.0, in_turn=False)
        steps = self.signal(PARENT_GONE, now, counts, reason=ORPHANED)
        if self.phase not in _UNDER_WAY or self._drain is None or self._drain.deadline <= now + timeout:
            return steps
        told = self.phase is Phase.DRAINING
        self._drain.hasten(now, timeout)
        steps += self.step(now, counts)
        if told and not steps:
            steps.append(self._drain.announcement_of_move(now))
        return steps

    def force(self, now: float, counts: ClientCounts, by: str = "parent") -> list[Step]:
        """Close the clients, or abort those that are being closed: the operator insists."""
        return self._force(now, counts, by)

    def drain(
        self, now: float, counts: ClientCounts, timeout: float | None = None, by: str = "program"
    ) -> list[Step]:
        """Begin a drain. During a drain, move its deadline to `timeout` seconds from now, or from when the
        clients are told if that is still to come.

        Raises:
            NotDraining: the server is already closing its clients, or being handed over.
        """
        if self.phase is Phase.SERVING:
            pace = self._pace if timeout is None else replace(self._pace, timeout=timeout)
            return self._begin(now, counts, "requested", None, by=by, pace=pace)
        if self.phase not in _UNDER_WAY or self._drain is None:
            raise NotDraining(self._phase_text())
        told = self.phase is Phase.DRAINING
        if timeout is not None:
            before = self._drain.deadline - now
            self._drain.move(now, timeout)
            self._record(InterventionKind.MOVED, by, now, before)
        actions = self.step(now, counts)
        if actions or timeout is None or not told or self.phase is not Phase.DRAINING:
            return actions
        return [self._drain.announcement_of_move(now)]

    def cancel(self, now: float = 0.0, by: str = "program") -> list[Step]:
        """Go back to serving. Clients that were told of the drain are told of its end.

        Raises:
            NotDraining: there is no drain, or it was begun by a signal and so cannot be cancelled.
        """
        told = self.phase is Phase.DRAINING
        if self.phase not in _UNDER_WAY or self._drain is None:
            raise NotDraining(f"{self._phase_text()}, there is no drain to cancel")
        if self._drain.final:
            raise NotDraining(self._drain.final)
        self._interventions.append(Intervention(InterventionKind.CANCELLED, by, self._drain.deadline - now))
        self._life.move(Phase.SERVING)
        self._drain = None
        return [Action.ANNOUNCE_CANCEL] if told else []

    def set_waiting_for(self, waiting_for: int, now: float, counts: ClientCounts) -> list[Step]:
        """Take the number of servers that must have drained before this one may; 0: it is this one's turn."""
        if self._drain is None or self._drain.waiting_for == waiting_for:
            return []
        self._drain.waiting_for = waiting_for
        return self.step(now, counts)

    def begin_handover(self) -> None:
        """Begin a handover: until `abort_handover` or `finish_handover` there is no drain.

        Raises:
            NotDraining: the server does not serve, or not alone.
        """
        if self.phase is not Phase.SERVING:
            raise NotDraining(self.why_no_upgrade())
        self._life.move(Phase.HANDOVER)

    def why_no_upgrade(self) -> str:
        """Say what prevents an upgrade in this phase, and what to do about it."""
        if self._drain and self._drain.final == _SUCCEEDED:
            return "a successor serves already: 'wsctl status' shows it, upgrade that one"
        return why_no_upgrade(self.phase, cancellable=self._drain is not None and self._drain.final is None)

    def abort_handover(self, now: float, counts: ClientCounts) -> list[Step]:
        """Go back to serving: there is no successor after all. A signal that came meanwhile takes effect."""
        self._leave_handover()
        self._life.move(Phase.SERVING)
        return self._drain_for_signal(self._signal, now, counts) if self._signal else []

    def finish_handover(self, now: float, counts: ClientCounts, reason: str = "handover") -> list[Step]:
        """Drain the clients that are left: the successor serves, so that they have a place to go to at once.
        `RELOAD` as the reason leaves them little time."""
        self._leave_handover()
        pace = replace(self._pace, delay=0.0, window=self._pace.window or HANDOVER_WINDOW, in_turn=False)
        if reason == RELOAD:
            pace = replace(pace, timeout=min(RELOAD_TIMEOUT, pace.timeout), spread=0.0, window=0.0)
        reason = self._signal or reason
        return self._begin(now, counts, reason, _SUCCEEDED, by=reason, pace=pace)

    def step(self, now: float, counts: ClientCounts) -> list[Step]:
        """Decide what is due now: time has passed, or a client has connected or left."""
        self._counts = counts
        if self.phase is Phase.CLOSING:
            return self._closing(now, counts)
        if self.phase is Phase.DRAINING and self._drain:
            return self._draining(self._drain, now, counts)
        if self.phase is Phase.LAMEDUCK and self._drain:
            return self._lameduck(self._drain, now, counts)
        return []

    def wake_at(self) -> float | None:
        """Return the moment at which `step` must be called at the latest; None when nothing is due."""
        if self.phase is Phase.CLOSING:
            return self._abort_at
        if self._drain is None or self.phase is Phase.STOPPED:
            return None
        return self._drain.lameduck_until() if self.phase is Phase.LAMEDUCK else self._drain.next_at()

    def progress(self, now: float, counts: ClientCounts) -> DrainProgress | None:
        """Return the drain as it stands at `now`; None when there is none."""
        at = now if self._ended is None else self._ended
        return self._drain.progress(self.phase, at, counts) if self._drain else None

    def _begin(
        self, now: float, counts: ClientCounts, reason: str, final: str | None, *, by: str, pace: Pace
    ) -> list[Step]:
        self._drain = DrainPlan(pace, now, counts, reason, final)
        self._record(InterventionKind.BEGUN, by, now)
        if pace.delay or (pace.in_turn and counts.active):
            self._life.move(Phase.LAMEDUCK)
            return []
        return self._announce(self._drain, now, counts)

    def _first_signal(self, name: str, now: float, counts: ClientCounts) -> list[Step]:
        if self.phase is Phase.HANDOVER:
            self._record(InterventionKind.LATER, name, now)
            return []
        return self._drain_for_signal(name, now, counts)

    def _record(self, kind: InterventionKind, by: str, now: float, was_s: float | None = None) -> None:
        left = self._drain.deadline - now if self._drain else None
        self._interventions.append(Intervention(kind, by, was_s, left))

    def _drain_for_signal(self, name: str, now: float, counts: ClientCounts) -> list[Step]:
        if self._drain is None:
            return self._begin(now, counts, name, _BY_SIGNAL, by=name, pace=self._pace)
        self._drain.reason, self._drain.final = name, _BY_SIGNAL
        self._record(InterventionKind.FINAL, name, now)
        return self.step(now, counts)

    def _lameduck(self, drain: DrainPlan, now: float, counts: ClientCounts) -> list[Step]:
        if drain.may_announce(now, counts.active):
            return self._announce(drain, now, counts)
        return self._close(drain, now, counts) if now >= drain.deadline else []

    def _announce(self, drain: DrainPlan, now: float, counts: ClientCounts) -> list[Step]:
        self._life.move(Phase.DRAINING)
        drain.mark_announced(now, counts)
        return self.step(now, counts) or [drain.announcement(now)]

    def _draining(self, drain: DrainPlan, now: float, counts: ClientCounts) -> list[Step]:
        due = drain.due(now, counts.active)
        if not counts.active:
            return self._last_has_left(drain, now, counts)
        if now >= drain.deadline:
            return self._close(drain, now, counts)
        return [CloseOldest(due)] if due else []

    def _last_has_left(self, drain: DrainPlan, now: float, counts: ClientCounts) -> list[Step]:
        """Stop, or wait for the answers of clients that were closed before the deadline: they have as long to
        answer as those closed at it."""
        closed_some = drain.closed_some or counts.by_policy > drain.baseline.by_policy
        if not closed_some or not counts.closing:
            return self._stop(now, counts, [])
        self._move_to_closing(now)
        return []

    def _force(self, now: float, counts: ClientCounts, by: str) -> list[Step]:
        if self.phase is Phase.CLOSING:
            self._record(InterventionKind.CUT, by, now)
            self.by_operator = True
            return self._stop(now, counts, [Action.ABORT])
        if self.phase in _UNDER_WAY and self._drain:
            self._record(InterventionKind.FORCED, by, now)
            self.by_operator = True
            return self._close(self._drain, now, counts)
        return []

    def _close(self, drain: DrainPlan, now: float, counts: ClientCounts) -> list[Step]:
        if self.phase is Phase.LAMEDUCK:
            drain.mark_announced(now, counts)
        self._counts = counts
        self._move_to_closing(now)
        return [Action.CLOSE]

    def _move_to_closing(self, now: float) -> None:
        self._life.move(Phase.CLOSING)
        self._abort_at = now + CLOSE_TIMEOUT

    def _closing(self, now: float, counts: ClientCounts) -> list[Step]:
        if not counts.active + counts.closing:
            return self._stop(now, counts, [])
        return self._stop(now, counts, [Action.ABORT]) if now >= self._abort_at else []

    def _stop(self, now: float, counts: ClientCounts, before: list[Step]) -> list[Step]:
        self._counts = counts
        self._ended = now
        self._life.move(Phase.STOPPED)
        return [*before, Action.STOP]

    def _leave_handover(self) -> None:
        if self.phase is not Phase.HANDOVER:
            raise IllegalMove(f"{self.phase}: there is no handover to leave")

    def _phase_text(self) -> str:
        doing = "being handed over" if self.phase is Phase.HANDOVER else str(self.phase)
        return f"the server is {doing}"


def why_no_upgrade(phase: Phase, *, cancellable: bool) -> str:
    """Say what prevents an upgrade, and what to do about it. `cancellable`: the drain, if there is one, can
    be cancelled."""
    if phase in _UNDER_WAY and cancellable:
        return NO_UPGRADE.format(phase=phase, advice=TAKE_BACK)
    if phase in (*_UNDER_WAY, Phase.CLOSING, Phase.STOPPED):
        return NO_UPGRADE.format(phase=phase, advice=START_ANEW)
    return NO_UPGRADE.format(phase=phase, advice=TRY_AGAIN)
