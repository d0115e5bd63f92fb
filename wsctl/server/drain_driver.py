"""The driver of a drain, which does to the connections what `GracefulShutdownManager` decides."""

import asyncio
from collections.abc import Callable, Sequence

from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.drain.observers import DrainNotifier, DrainObserver
from wsctl.drain.phases import Phase
from wsctl.drain.plan import Action, CloseOldest, Invite, Step
from wsctl.drain.progress import LONGEST, ClientCounts, DrainProgress
from wsctl.server.condition import Condition
from wsctl.server.drainable import Drainable, DrainableGroup

_ENDING = frozenset({Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING})


class DrainDriver:
    """Runs the life of one server on its event loop; `drained` is what is connected.

    Attributes:
        life: what is decided; others only look at it.
        stopped: set when the process may end.
    """

    def __init__(
        self,
        life: GracefulShutdownManager,
        drained: Sequence[Drainable],
        clock: Callable[[], float],
        observers: Sequence[DrainObserver],
    ) -> None:
        self.life = life
        self._drained = DrainableGroup(drained)
        self._clock = clock
        self._observers = DrainNotifier(observers)
        self._wake = asyncio.Event()
        self.stopped = asyncio.Event()
        self._over = Condition()
        self._concluded = False
        self._drained.observe(self._on_change)

    def progress(self) -> DrainProgress | None:
        """Return the drain as it stands; None when there is none."""
        return self.life.progress(self._clock(), self.counts(LONGEST))

    def signal(self, signum: int) -> None:
        """Handle a SIGTERM, SIGINT or SIGHUP."""
        self._carry_out(self.life.signal(signum, self._clock(), self.counts()))
        self._wake.set()

    def orphan(self) -> None:
        """Drain with little time: the parent of this worker is gone."""
        self._carry_out(self.life.orphan(self._clock(), self.counts()))
        self._wake.set()

    def force(self) -> None:
        """Close the clients, or abort those that are being closed: the caller has found out that the operator
        insists."""
        self._carry_out(self.life.force(self._clock(), self.counts()))
        self._wake.set()

    def drain(self, timeout: float | None = None, by: str = "program") -> None:
        """Begin a drain, or move its deadline; `by` is the way on which that was requested. Raises
        `NotDraining` when it is too late for that."""
        self._carry_out(self.life.drain(self._clock(), self.counts(), timeout, by))
        self._wake.set()

    def cancel(self, by: str = "program") -> None:
        """Go back to serving. Raises `NotDraining` when that cannot be."""
        self._carry_out(self.life.cancel(self._clock(), by))
        self._over.notify_all()
        self._observers.cancelled()

    def set_waiting_for(self, waiting_for: int) -> None:
        """Take the number of servers that must have drained before this one may."""
        self._carry_out(self.life.set_waiting_for(waiting_for, self._clock(), self.counts()))
        self._wake.set()

    def begin_handover(self) -> None:
        """Begin a handover to a successor. Raises `NotDraining` when the server does not serve."""
        self.life.begin_handover()

    def abort_handover(self) -> None:
        """Go back to serving: there is no successor after all."""
        self._carry_out(self.life.abort_handover(self._clock(), self.counts()))
        self._wake.set()

    def finish_handover(self, reason: str = "handover") -> None:
        """Drain the clients that are left, for this reason: the successor serves."""
        self._carry_out(self.life.finish_handover(self._clock(), self.counts(), reason))
        self._wake.set()

    async def wait_until_over(self) -> None:
        """Wait until a drain has ended or was cancelled, also one that begins only now."""
        if not self.stopped.is_set():
            await self._over.wait()

    async def run(self) -> None:
        """Take each step when it is due, until the server has stopped."""
        while not self.stopped.is_set():
            self._wake.clear()
            self._carry_out(self.life.step(self._clock(), self.counts()))
            if self.stopped.is_set():
                return
            try:
                async with asyncio.timeout(self._pause()):
                    await self._wake.wait()
            except TimeoutError:
                pass

    def counts(self, named: int = 0) -> ClientCounts:
        """Count who is connected, and how connections ended; `named` of those connected longest are listed by
        name.

        Without names it costs the same however many clients there are: it is called at each departure.
        """
        return self._drained.counts(named)

    def conclude(self) -> None:
        """Show the end, if it was not shown yet: everything has ended that will."""
        self._concluded = True
        self._show()

    def _on_change(self) -> None:
        """React to a client that has connected or left, which matters only while the server ends."""
        phase = self.life.phase
        if phase in _ENDING:
            self._wake.set()
        elif phase is Phase.STOPPED:
            self._show()

    def _pause(self) -> float | None:
        now = self._clock()
        due = [at for at in (self.life.wake_at(), self._observers.next_at()) if at is not None]
        return max(0.0, min(due) - now) if due else None

    def _carry_out(self, actions: list[Step]) -> None:
        for step in self.life.take_interventions():
            self._observers.intervened(step)
        for action in actions:
            self._execute(action)
        self._show()

    def _execute(self, action: Step) -> None:
        match action:
            case Action.ANNOUNCE:
                self._announce(None)
            case Invite(window=window):
                self._announce(window)
            case Action.ANNOUNCE_CANCEL:
                self._drained.withdraw()
            case CloseOldest(count=count):
                self._drained.close_oldest(count)
            case Action.CLOSE:
                self._drained.close_all()
            case Action.ABORT:
                self._drained.abort()
            case Action.STOP:
                self._drained.flush()
                self.stopped.set()
                self._over.notify_all()

    def _announce(self, window: float | None) -> None:
        """Tell of the drain; with a window, each connection its own moment in it."""
        if progress := self.progress():
            self._drained.announce(progress.remaining_s, progress.reason, window)

    def _show(self) -> None:
        """Show the drain to the observers that are due; between two pictures it costs nothing. The end is
        shown after that of the last connection."""
        if self.life.phase is Phase.STOPPED and self._drained.is_closing and not self._concluded:
            return
        now = self._clock()
        if self._observers.is_due(self.life.phase, now) and (progress := self.progress()):
            self._observers.show(progress, now, self.life.exit_code)
