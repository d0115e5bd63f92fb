"""One server: its parts put together."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from wsctl import __version__, messages
from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.drain.observers import DrainObserver
from wsctl.drain.pace import Pace
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverProgress
from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.periodic import periodic_broadcast_task
from wsctl.hub.replays import Replays
from wsctl.hub.traffic import Durations
from wsctl.log.history import Missed
from wsctl.log.message_log import MessageLog
from wsctl.server.admission import Admission, DrainRejected, Handshake, Verdict
from wsctl.server.credentials import verifier_of
from wsctl.server.credentials.expiry import ExpiryTimes, RenewalHandler
from wsctl.server.credentials.verifier import KeySummary
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.drain_rejection import DrainRejector
from wsctl.server.host_header import AllowedHosts, host_name
from wsctl.server.http_semantics import HttpRefusal
from wsctl.server.limits import LAST_FILES, capacity, fits, raise_open_files
from wsctl.server.pending_connections import MAX_PENDING
from wsctl.server.refusal_log import RefusalLog
from wsctl.server.sharing import Sharing
from wsctl.server.status_reporter import StatusReporter
from wsctl.settings import Settings

log = logging.getLogger("wsctl.server")

ACCEPTING = frozenset({Phase.STARTING, Phase.SERVING, Phase.LAMEDUCK, Phase.HANDOVER})
"""The phases in which new clients are taken."""


class Handover(Protocol):
    """The handover to a successor process. `failures` counts the successors that did not take over."""

    failures: int

    def begin(self, by: str) -> None: ...
    async def wait_until_over(self) -> None: ...
    def progress(self) -> HandoverProgress | None: ...

    @property
    def leaving(self) -> bool: ...


class Node:
    """The parts of one server, each made once and handed what it needs.

    Making it raises UsageError or CannotStart when there is nothing to check credentials with.

    Attributes:
        generation: 1 for a first process, and one more after each handover.
        handover: None where the process is not ours to replace.
        refused: the number of clients that were not let in, by the code of the answer; "draining" for those
            sent away.
        elsewhere: returns how many clients the other processes of this server have.
        lateness: how late the event loop came to what was due each second.
    """

    def __init__(
        self,
        settings: Settings,
        observers: Sequence[DrainObserver],
        clock: Callable[[], float] = time.monotonic,
        *,
        generation: int = 1,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.generation = generation
        self.handover: Handover | None = None
        self.settings = settings
        self.clock = clock
        self._open_files = raise_open_files()
        self.capacity = capacity(settings.max_connections, self._open_files)
        self.manager = ConnectionManager(clock, lambda call: asyncio.get_running_loop().call_soon(call))
        self.log = MessageLog(self.manager.deliver, settings.history, settings.history_bytes, wall)
        self.replays = Replays(
            settings.history_bytes,
            clock,
            call_soon=lambda call: asyncio.get_running_loop().call_soon(call),
            call_later=lambda wait, call: asyncio.get_running_loop().call_later(wait, call),
        )
        self.expiry = ExpiryTimes(wall)
        self.verifier = verifier = verifier_of(settings, wall)
        renewal = RenewalHandler(verifier, self.expiry).handle
        self.intake = Intake(
            self.log,
            settings.rate,
            settings.client_publish,
            clock,
            renewal,
            by_address=settings.auth == "none",
        )
        self.manager.retired.append(self.intake.left)
        self.life = GracefulShutdownManager(_pace(settings))
        self.shared = self._sharing() if settings.redis else None
        shared = [self.shared] if self.shared else []
        self.driver = DrainDriver(self.life, self.manager, clock, [*observers, *shared])
        self.reporter = StatusReporter(
            life=self.life,
            driver=self.driver,
            manager=self.manager,
            log=self.log,
            intake=self.intake,
            shared=self.shared,
            clock=clock,
            capacity=self.capacity,
            generation=generation,
            handover=self._handover_now,
            elsewhere=self._elsewhere_now,
        )
        self.drain_rejector = DrainRejector()
        self.hosts = AllowedHosts((*settings.allow_host, host_name(settings.host)))
        self.admission = Admission(
            settings,
            self.capacity,
            connected=lambda: len(self.manager.active_connections) + len(self.manager.closing),
            accepting=lambda: self.life.phase in ACCEPTING,
            verifier=verifier,
            is_connected=lambda client_id: client_id in self.manager.active_connections,
        )
        self.each_second: list[Callable[[float], None]] = [self.manager.check, self.reporter.sample]
        self.refusals = RefusalLog(clock)
        self.each_second += [self.expiry.close_expired, self.refusals.check]
        self.refused: Counter[str] = Counter()
        self.lateness = Durations()
        self._began = time.time()
        self.elsewhere: Callable[[], int] = lambda: 0

    async def open(self) -> None:
        """Log what tokens are checked with, and join the servers that share the Redis, if there is one; to be
        awaited before the server runs. A successor joins them when it takes over.

        Raises:
            CannotStart: there is no Redis that can be used.
        """
        if keys := self.keys:
            ids = {"kids": ", ".join(keys.ids)} if keys.ids else {}
            log.info("tokens are checked", extra={"fields": {"algorithm": ", ".join(keys.algorithms), **ids}})
        if self.shared:
            await self.shared.check()
            if self.generation == 1:
                await self.shared.begin()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the tasks beside the connections, for as long as the server runs."""
        interval = self.settings.broadcast_interval
        work = [self.driver.run(), self._tick()]
        if interval:
            work.append(periodic_broadcast_task(self.manager, interval, elsewhere=self._elsewhere_now))
        tasks = [asyncio.create_task(job) for job in work]
        for task in tasks:
            task.add_done_callback(_report)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if self.shared:
                await self.shared.session.end()

    @property
    def keys(self) -> KeySummary | None:
        """The keys that tokens are checked with; None where there are none."""
        return self.verifier.keys if self.verifier else None

    def started(self) -> None:
        """Note that the server accepts connections."""
        self.life.started()
        if self.shared:
            self.shared.session.beat_soon()

    def welcome(self, client_id: str, since: str | None, keepalive: int) -> tuple[bytes, Missed | None]:
        """Return a new connection's first frame, and what the client has missed since the message `since`,
        None when that cannot be told. `keepalive` is in seconds, 0 for none."""
        missed = None if since is None else self.log.missed(since, client_id)
        recovered = None if since is None else missed is not None
        return self._welcome(client_id, recovered, keepalive), missed

    def crowded(self, pending: int) -> bool:
        """Tell whether so many connections that are no clients are too many, or leave too few descriptors to
        operators."""
        clients = len(self.manager.active_connections) + len(self.manager.closing)
        used = pending + clients + len(self.drain_rejector.waiting)
        return pending > MAX_PENDING or not fits(used + LAST_FILES, self._open_files)

    def admit(self, asked: Handshake) -> Verdict:
        """Return the verdict on a handshake, and count the clients that are not let in."""
        verdict = self.admission.admit(asked)
        if isinstance(verdict, DrainRejected):
            self.refused[Phase.DRAINING] += 1
        elif isinstance(verdict, HttpRefusal):
            self.refused[verdict.code] += 1
        return verdict

    def note_refused(self, code: str, host: str) -> None:
        """Log that a request or handshake from `host` was refused, with others of that second."""
        if code == "full":
            event = "full: new clients are refused"
            self.refusals.note(code, host, level=logging.WARNING, event=event, capacity=self.capacity)
        else:
            self.refusals.note(code, host)

    def note_evicted(self, host: str) -> None:
        """Count and log that a connection from `host` has ended because it was no client's and others
        came."""
        self.refused["full"] += 1
        event = "full: the oldest connections without a client end"
        self.refusals.note("crowded", host, level=logging.WARNING, event=event)

    @property
    def leaving(self) -> bool:
        """True if a successor leads this server."""
        return self.handover is not None and self.handover.leaving

    def _elsewhere_now(self) -> int:
        return self.elsewhere()

    def _handover_now(self) -> HandoverProgress | None:
        return self.handover.progress() if self.handover else None

    def _sharing(self) -> Sharing:
        return Sharing(
            self.settings,
            self.manager,
            self.log,
            about=lambda: {
                "generation": self.generation,
                "phase": self.life.phase,
                "connections": len(self.manager.active_connections),
                "started": round(self._began, 3),
            },
            welcome=self._welcome,
            turn=self._turn,
            clock=self.clock,
        )

    def _turn(self, waiting_for: int) -> None:
        self.driver.set_waiting_for(waiting_for)

    def _welcome(self, client_id: str, recovered: bool | None, keepalive: int = 0) -> bytes:
        active = self.manager.active_connections
        return messages.welcome(
            client_id,
            self.log.newest,
            __version__,
            self.life.phase,
            recovered,
            connections=len(active) + (client_id not in active) + self.elsewhere(),
            keepalive_s=keepalive,
            degraded=self.reporter.degraded,
        )

    async def _tick(self) -> None:
        while True:
            now = self.clock()
            for look in self.each_second:
                look(now)
            due = self.clock() + 1
            await asyncio.sleep(1)
            self.lateness.note(max(0.0, self.clock() - due))


def _pace(settings: Settings) -> Pace:
    return Pace(
        timeout=settings.shutdown_timeout,
        delay=settings.drain_delay,
        spread=settings.drain_spread,
        window=settings.reconnect_window,
        in_turn=settings.max_draining > 0,
    )


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        log.error("a background task failed", exc_info=task.exception())
