"""The drain, carried out: what `GracefulShutdownManager` decides, done to the connections."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from wsctl import messages
from wsctl.codes import CloseCode, ExitCode
from wsctl.hub.connection import Ending
from wsctl.hub.manager import ConnectionManager
from wsctl.lifecycle.graceful import Action, Counts, DrainProgress, GracefulShutdownManager
from wsctl.lifecycle.phases import Phase

log = logging.getLogger("wsctl.drain")


class DrainObserver(Protocol):
    """Somebody who shows a drain to people.

    Attributes:
        interval: seconds between two calls of `progressed`.
    """

    interval: float

    def began(self, progress: DrainProgress) -> None: ...
    def progressed(self, progress: DrainProgress) -> None: ...
    def cancelled(self) -> None: ...
    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None: ...


_ENDING = frozenset({Phase.DRAINING, Phase.CLOSING})

_START = ("reason", "active", "started_with", "elapsed_s", "remaining_s")
_COURSE = ("active", "started_with", "elapsed_s", "remaining_s", "left", "evicted", "oldest")
_END = (
    "active",
    "started_with",
    "elapsed_s",
    "remaining_s",
    "left",
    "evicted",
    "forced",
    "aborted",
    "undelivered",
)


class DrainLog:
    """The drain as log lines: its start, every `interval` seconds, its end."""

    def __init__(self, interval: float = 10.0) -> None:
        self.interval = interval

    def began(self, progress: DrainProgress) -> None:
        self._line("draining", progress, _START)

    def progressed(self, progress: DrainProgress) -> None:
        self._line("still draining", progress, _COURSE)

    def cancelled(self) -> None:
        log.info("drain cancelled")

    def ended(self, progress: DrainProgress, exit_code: ExitCode) -> None:
        self._line("drained", progress, _END, exit_code=int(exit_code))

    def _line(self, event: str, progress: DrainProgress, names: tuple[str, ...], **more: object) -> None:
        fields = {name: value for name in names if (value := getattr(progress, name)) is not None}
        log.info(event, extra={"fields": fields | more})


class DrainDriver:
    """Runs the life of one server on its event loop.

    Attributes:
        stopped: set when the process may end.
    """

    def __init__(
        self,
        life: GracefulShutdownManager,
        hub: ConnectionManager,
        clock: Callable[[], float],
        observers: Sequence[DrainObserver],
    ) -> None:
        self._life = life
        self._hub = hub
        self._clock = clock
        self._observers = [_Shown(observer) for observer in observers]
        self._poke = asyncio.Event()
        self.stopped = asyncio.Event()
        self._waiters: list[asyncio.Future[None]] = []
        hub.observers.append(self._notice)

    def progress(self) -> DrainProgress | None:
        """The drain as it stands; None when there is none."""
        return self._life.progress(self._clock(), self.counts())

    def signal(self, signum: int) -> None:
        """A SIGTERM or SIGINT arrived."""
        self._carry_out(self._life.signal(signum, self._clock(), self.counts()))
        self._poke.set()

    def drain(self, timeout: float | None = None) -> None:
        """Begin a drain, or move its deadline. Raises `NotDraining` when it is too late for that."""
        self._carry_out(self._life.drain(self._clock(), self.counts(), timeout))
        self._poke.set()

    def cancel(self) -> None:
        """Go back to serving. Raises `NotDraining` when that cannot be."""
        self._carry_out(self._life.cancel())
        for shown in self._observers:
            shown.cancelled()

    async def ending(self) -> None:
        """Wait until a drain has ended or was cancelled, also one that begins only now."""
        if not self.stopped.is_set():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    async def run(self) -> None:
        """Take each step when it is due, until the server has stopped."""
        while not self.stopped.is_set():
            self._poke.clear()
            self._carry_out(self._life.step(self._clock(), self.counts()))
            if self.stopped.is_set():
                return
            try:
                async with asyncio.timeout(self._pause()):
                    await self._poke.wait()
            except TimeoutError:
                pass

    def counts(self) -> Counts:
        """Who is connected, and how stays ended."""
        hub, tally = self._hub, self._hub.tally
        return Counts(
            active=len(hub.active_connections),
            closing=len(hub.closing),
            left=tally[Ending.LEFT],
            evicted=tally[Ending.EVICTED],
            forced=tally[Ending.FORCED],
            aborted=tally[Ending.ABORTED],
            undelivered=hub.undelivered,
            oldest=next(iter(hub.active_connections), None),
        )

    def _notice(self) -> None:
        """Somebody came or went; it matters only while the server ends."""
        if self._life.phase in _ENDING:
            self._poke.set()

    def _pause(self) -> float | None:
        now = self._clock()
        due = [at for at in (self._life.wake_at(), *(s.next_at for s in self._observers)) if at is not None]
        return max(0.0, min(due) - now) if due else None

    def _carry_out(self, actions: list[Action]) -> None:
        for action in actions:
            self._do(action)
        self._show()

    def _do(self, action: Action) -> None:
        match action:
            case Action.ANNOUNCE:
                progress = self.progress()
                if progress:
                    self._hub.broadcast(messages.shutdown(progress.remaining_s, progress.reason))
            case Action.REASSURE:
                self._hub.broadcast(messages.shutdown(None, "the drain was cancelled"))
                self._over()
            case Action.CLOSE:
                self._hub.close_all(CloseCode.SERVICE_RESTART, "the server is restarting: reconnect")
            case Action.ABORT:
                self._hub.abort_closing()
            case Action.STOP:
                self._hub.flush()
                self.stopped.set()
                self._over()

    def _over(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _show(self) -> None:
        progress = self.progress()
        if progress is None:
            return
        for shown in self._observers:
            shown.show(progress, self._clock(), self._life.exit_code)


class _Shown:
    """One observer, and what it was last told."""

    def __init__(self, observer: DrainObserver) -> None:
        self._observer = observer
        self._over = False
        self.next_at: float | None = None

    def show(self, progress: DrainProgress, now: float, exit_code: ExitCode) -> None:
        if self._over:
            return
        if self.next_at is None:
            self._observer.began(progress)
            self.next_at = now + self._observer.interval
        if progress.phase is Phase.STOPPED:
            self._observer.ended(progress, exit_code)
            self._over, self.next_at = True, None
        elif now >= self.next_at:
            self._observer.progressed(progress)
            # A process that was stopped for a while does not catch up on what nobody saw.
            missed = (now - self.next_at) // self._observer.interval
            self.next_at += (missed + 1) * self._observer.interval

    def cancelled(self) -> None:
        self._observer.cancelled()
        self.next_at = None
