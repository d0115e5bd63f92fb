"""`wsctl serve --workers N`: the parent of the processes that serve.

The parent has the listening sockets and no client. Signals, the bar, systemd and the commands reach it, and
it passes on what they ask for.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wsctl import __version__
from wsctl.codes import ExitCode
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.observers import DrainNotifier, DrainObserver
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.drain.signals import SignalAction, SignalMeaning, SignalReader, SignalRole
from wsctl.errors import CannotStart
from wsctl.ipc.rpc import Reply
from wsctl.log.journal import journal_home
from wsctl.process.registry import Registration, runtime_folder
from wsctl.process.sd_notify import SystemdNotifier
from wsctl.process.signals import (
    SignalHandlers,
    begin_handover,
    block_in_thread,
    blocked_end_signals,
    blocked_until_renewed,
    log_status,
    settle,
    stop_until_continued,
)
from wsctl.process.spawn import RENEWAL_FD, TRIAL_FD, Spawner
from wsctl.server.credentials import verifier_of
from wsctl.server.dashboard.access import DashboardAccess
from wsctl.server.diagnostics.exposure import exposed, log_exposure
from wsctl.server.diagnostics.startup import log_drain_advice, log_startup
from wsctl.server.journal_monitor import monitor_journal
from wsctl.server.listening.sockets import ListeningAt, address, open_admin_listeners, open_listeners
from wsctl.server.workers.control_http import ConnectionState, ControlHttpServer
from wsctl.server.workers.group_control import GroupControl
from wsctl.server.workers.group_log import GroupLog
from wsctl.server.workers.parent_state import ParentSockets, ParentState, receive_state, take_sockets
from wsctl.server.workers.pool import WorkerPool
from wsctl.server.workers.renewal import ParentRenewal
from wsctl.server.workers.rolling_upgrade import RollingUpgrade
from wsctl.server.workers.worker import LogOutput, worker_adopter, worker_spawner
from wsctl.settings import Settings

CHECK_INTERVAL = 1.0
"""Seconds after which the drain is looked at though no worker reports anything: workers that hang must not
hide it, nor hold the exit."""

KILL_DELAY = 2.0
"""Seconds that workers have to end after the operator has told them twice to."""

log = logging.getLogger("wsctl.workers")


class Parent:
    """One parent. `on_up` is called when all workers serve, `handles_signals` when there are handlers for the
    signals that end it. With a `state` it goes on for the program that this process was before."""

    def __init__(
        self,
        settings: Settings,
        sockets: ParentSockets,
        *,
        spawner: Spawner,
        log_output: LogOutput | None,
        observers: Sequence[DrainObserver],
        notifier: SystemdNotifier,
        on_up: Callable[[], None],
        handles_signals: Callable[[], None],
        state: ParentState | None = None,
        access: DashboardAccess | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sockets = sockets
        self._state = state
        self._generation = state.generation if state else 1
        self._clock = clock
        self._on_up = on_up
        self._handles_signals = handles_signals
        self._signals = SignalReader()
        self._force_count = 0
        self._messages = _create_log(settings)
        self._handlers = self._create_signal_handlers()
        self._pool = self._create_pool(settings, spawner, log_output)
        if state and self._messages:
            # Before any of the workers is heard.
            workers = {worker.pid: worker for worker in self._pool.all_workers}
            self._messages.resume_at(state.messages, workers)
        upgrade_observers = [_log_progress, _systemd_observer(notifier)]
        self._rolling_upgrade = RollingUpgrade(self._pool, os.getpid(), clock, upgrade_observers, self._renew)
        self._observers = DrainNotifier([*observers, notifier])
        self._group_control = GroupControl(
            self._pool,
            self._rolling_upgrade,
            os.getpid(),
            clock,
            self._observers.cancelled,
            messages=self._messages.log if self._messages else None,
            journal=monitor_journal(self._messages.log, clock) if self._messages else None,
            on_intervention=self._observers.intervened,
            client_ids=_count_ids(self._messages) if settings.connections_per_id != 1 else None,
            generation=self._generation,
            started=state.started if state else None,
            access=access,
        )
        self._group_control.recent.resume(state.load if state else [])
        self._control_http = ControlHttpServer(self._group_control.answer)
        self._renewal = ParentRenewal(
            spawner,
            self._pool,
            self._control_http,
            messages=self._messages,
            signals=self._handlers,
            state=self._describe,
        )

    def _create_pool(self, settings: Settings, spawner: Spawner, log_output: LogOutput | None) -> WorkerPool:
        hello = {
            "parent": os.getpid(),
            "terminal": log_output is not None,
            "colour": bool(log_output and log_output.colour),
            "admin": len(self._sockets.admin),
        }
        return WorkerPool(
            settings.workers,
            worker_spawner(spawner, log_output),
            hello,
            [sock.fileno() for sock in (*self._sockets.public, *self._sockets.admin)],
            drain_timeout=settings.drain_delay + settings.shutdown_timeout,
            handler=self._answer,
            messages=self._messages,
            clock=self._clock,
            on_change=self._workers_changed,
            state=self._state.pool if self._state else None,
            adopt=worker_adopter(log_output),
        )

    def _describe(self, blocked: set[int]) -> ParentState:
        """Return how this parent stands, for the program that goes on for it."""
        sockets = self._sockets
        messages = self._messages.state() if self._messages else []  # first: it fills the channels
        return ParentState(
            generation=self._generation + 1,
            started=self._group_control.started,
            left=self._clock(),
            blocked=sorted(blocked),
            public=[sock.fileno() for sock in sockets.public],
            admin=[sock.fileno() for sock in sockets.admin],
            control=sockets.control.fileno() if sockets.control else None,
            requests=self._control_http.state(),
            upgrade=self._rolling_upgrade.state(),
            pool=self._pool.state(),
            messages=messages,
            load=self._group_control.recent.state(),
        )

    async def _renew(self) -> None:
        await self._renewal.run()

    async def run(self) -> ExitCode:
        """Run until the last worker has ended.

        Raises:
            CannotStart: the workers cannot start, all for the same reason, or the home of their log cannot be
                used.
        """
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(initializer=block_in_thread))
        self._handlers.install()
        self._handles_signals()
        await (self._go_on(self._state) if self._state else self._start())
        await self._watch()
        return await self._end()

    async def _start(self) -> None:
        if self._messages:
            await self._messages.begin()
        self._pool.start()
        await self._pool.up.wait()
        if not self._pool.ending:
            await self._open_control()
            self._on_up()

    async def _go_on(self, state: ParentState) -> None:
        """Go on with the workers, the requests and the upgrade of the program before."""
        ready = asyncio.Event()
        self._rolling_upgrade.go_on(state.upgrade, ready)
        self._pool.reap()  # those that have ended while there was no handler
        await self._open_control(state.requests)
        self._on_up()
        await settle()  # one of the signals may have ended all; and the requests wait for what they asked for
        ready.set()

    async def _open_control(self, requests: Sequence[ConnectionState] = ()) -> None:
        if self._sockets.control:
            await self._control_http.open(self._sockets.control, requests)

    async def _watch(self) -> None:
        """Wait for the end, and look now and then at the drain, so that observers are called on time, and for
        messages that are too old."""
        while not self._pool.over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_INTERVAL):
                    await self._pool.over.wait()
            if self._messages:
                self._messages.log.expire()
            self._pool.kill_overdue()
            self._group_control.recent.check(self._clock())
            self._notify_observers()

    async def _end(self) -> ExitCode:
        self._notify_observers()
        await self._rolling_upgrade.close()
        self._group_control.release_waiters()
        await self._control_http.close()
        self._pool.close()
        if self._messages:
            await self._messages.end()
        if self._pool.refused:
            raise CannotStart.from_lines(self._pool.refused)
        return self._exit_code()

    def _exit_code(self) -> ExitCode:
        return ExitCode.OPERATOR if self._force_count else self._pool.exit_code

    async def _answer(self, method: str, path: str, body: bytes) -> Reply:
        return await self._group_control.answer(method, path, body)

    def _workers_changed(self) -> None:
        self._rolling_upgrade.workers_changed()
        self._group_control.workers_changed()
        self._notify_observers()

    def _notify_observers(self) -> None:
        progress = self._pool.progress()
        # The end is told when the last process is gone: only then its exit code is known.
        over = self._pool.over.is_set()
        if progress and (over or (progress.phase is not Phase.STOPPED and self._pool.settled())):
            self._observers.show(progress, self._clock(), self._exit_code())

    # Signals

    def _create_signal_handlers(self) -> SignalHandlers:
        actions: dict[SignalAction, Callable[[int], None]] = {
            SignalAction.END: self._end_workers,
            SignalAction.REAP: lambda _: self._pool.reap(),
            SignalAction.LOG_STATUS: self._log_status,
            SignalAction.HAND_OVER: self._upgrade,
            SignalAction.SUSPEND: self._suspend,
        }
        return SignalHandlers(SignalRole.PARENT, actions)

    def _suspend(self, signum: int) -> None:
        """Stop with all workers on Ctrl-Z, which does not reach their process groups, and go on with them."""
        self._pool.suspend()
        stop_until_continued(signum)
        self._pool.resume()

    def _end_workers(self, signum: int) -> None:
        """Take a signal that ends: the first begins the drain, SIGINT a second later forces, and once more
        kills."""
        match self._signals.read(signum, self._clock()):
            case SignalMeaning.BEGIN:
                self._report_intervention(
                    InterventionKind.FINAL if self._pool.ending else InterventionKind.BEGUN, signum
                )
                self._pool.send_signal(signum)
            case SignalMeaning.TOO_SOON:
                self._report_intervention(InterventionKind.TOO_SOON, signum)
            case SignalMeaning.FORCE:
                self._force(signum)

    def _force(self, signum: int) -> None:
        self._force_count += 1
        self._report_intervention(
            InterventionKind.CUT if self._force_count > 1 else InterventionKind.FORCED, signum
        )
        self._pool.force()
        if self._force_count > 1:
            asyncio.get_running_loop().call_later(KILL_DELAY, self._pool.kill)

    def _report_intervention(self, kind: InterventionKind, signum: int) -> None:
        self._observers.intervened(Intervention(kind, signal.Signals(signum).name))

    def _log_status(self, _signum: int) -> None:
        log_status(log, self._group_control.summary().to_json())

    def _upgrade(self, signum: int) -> None:
        begin_handover(log, self._rolling_upgrade.begin, signum)


def try_out(settings: Settings, environ: Mapping[str, str]) -> None:
    """Show that this program could go on for the parent that has started it, which is of an older one.

    Raises:
        UsageError, CannotStart: it could not.
    """
    verifier_of(settings)
    state = receive_state(environ, TRIAL_FD)
    _check_state(state, settings)
    if state and (messages := _create_log(settings)):
        messages.resume_at([packet for packet in state.messages if packet.kind != "draft"], {})


def serve(
    settings: Settings,
    environ: Mapping[str, str],
    observers: Sequence[DrainObserver],
    log_output: LogOutput | None,
    listening_at: ListeningAt = lambda public, admin: None,
) -> ExitCode:
    """Run a parent and its workers to their end. `listening_at` is called with the addresses, and with those
    of the admin address, once all serve.

    A process that was a parent already, as another program, goes on with its workers.

    Raises:
        UsageError, CannotStart: there is no socket or certificate to start with, or nothing to check
            credentials with.
    """
    state = receive_state(environ, RENEWAL_FD)
    if state is None:
        _check_start(settings, environ)
    else:
        _check_state(state, settings)
    with contextlib.ExitStack() as stack:
        until_signals_handled = stack.enter_context(contextlib.ExitStack())
        until_signals_handled.enter_context(
            blocked_until_renewed(state.blocked) if state else blocked_end_signals()
        )
        inherited = take_sockets(state) if state else None
        public = _open_public(settings, environ, stack, inherited)
        admin = inherited.admin if inherited else open_admin_listeners(settings)
        for sock in admin:
            stack.enter_context(sock)
        notifier = SystemdNotifier(environ, os.getpid())
        stack.callback(notifier.close)
        generation, control = (state.generation if state else 1), (inherited.control if inherited else None)
        registration = stack.enter_context(Registration(environ, generation=generation, control=control))

        def up() -> None:
            if state is None:
                _announce(settings, public, admin, registration, listening_at)
                notifier.ready()
            else:
                _register(settings, public, admin, registration)
                _log_renewal(state)
                notifier.live()

        async def run() -> ExitCode:
            parent = Parent(
                settings,
                ParentSockets(public, admin, registration.control),
                spawner=Spawner(environ),
                log_output=log_output,
                observers=observers,
                notifier=notifier,
                on_up=up,
                handles_signals=until_signals_handled.close,
                state=state,
                access=DashboardAccess(runtime_folder(environ), settings.token),
            )
            return await parent.run()

        return asyncio.run(run())


def _count_ids(messages: GroupLog | None) -> Callable[[], int] | None:
    """Return what counts the ids that are connected; None where a Redis knows them and the parent does
    not."""
    return None if messages is None else lambda: messages.presence.clients


def _create_log(settings: Settings) -> GroupLog | None:
    """Return the log of all workers, in its home; None where each of them has it from Redis."""
    if settings.redis:
        return None
    found = GroupLog(
        settings.history,
        settings.history_bytes,
        ttl=settings.history_ttl,
        per_client=settings.connections_per_id,
    )
    if settings.journal:
        found.log.move_to(journal_home(settings.journal, settings.journal_sync, found.log))
    return found


def _check_start(settings: Settings, environ: Mapping[str, str]) -> None:
    """Look for what would go wrong later, and log what is known to."""
    verifier_of(settings)  # once for all, before any worker finds out
    log_startup(settings, environ)


def _check_state(state: ParentState | None, settings: Settings) -> None:
    """Raises `CannotStart` where the settings mean another number of workers than the state has."""
    if state and len(state.pool.slots) != settings.workers:
        text = f"--workers {settings.workers} is another number than the parent has that runs: restart it"
        raise CannotStart(text)


def _open_public(
    settings: Settings,
    environ: Mapping[str, str],
    stack: contextlib.ExitStack,
    inherited: ParentSockets | None,
) -> list[socket.socket]:
    """Return the sockets that clients reach; the stack closes them, and removes the file of one."""
    found = inherited.public if inherited else open_listeners(settings, environ)
    public = [stack.enter_context(sock) for sock in found]
    if settings.uds:
        stack.callback(Path(settings.uds).unlink, missing_ok=True)
    if inherited is None:
        log_exposure(settings, exposed(public))
    return public


def _announce(
    settings: Settings,
    public: Sequence[socket.socket],
    admin: Sequence[socket.socket],
    registration: Registration,
    listening_at: ListeningAt,
) -> None:
    """Tell commands and people where all workers serve."""
    addresses, admin_addresses = _register(settings, public, admin, registration)
    for at in addresses:
        log.info("serving", extra={"fields": {"url": at, "workers": settings.workers}})
    for at in admin_addresses:
        log.info("admin address", extra={"fields": {"url": at}})
    log_drain_advice(settings)
    listening_at(addresses, admin_addresses)


def _register(
    settings: Settings,
    public: Sequence[socket.socket],
    admin: Sequence[socket.socket],
    registration: Registration,
) -> tuple[list[str], list[str]]:
    """Tell commands where all workers serve; returns the addresses, and those of the admin address."""
    addresses = [address(sock, settings.ssl_certfile is not None) for sock in public]
    admin_addresses = [address(sock, tls=False) for sock in admin]
    registration.announce(addresses[0], *admin_addresses[:1])
    return addresses, admin_addresses


def _systemd_observer(notifier: SystemdNotifier) -> Callable[[HandoverProgress], None]:
    """Return an observer that tells systemd of an upgrade as a reload: the main process stays."""

    def tell(progress: HandoverProgress) -> None:
        if progress.state in (HandoverState.DONE, HandoverState.FAILED):
            notifier.ready()
        else:
            notifier.reloading()

    return tell


def _log_renewal(state: ParentState) -> None:
    pause = round(time.monotonic() - state.left, 3)
    facts = {"version": __version__, "generation": state.generation, "pause_s": pause}
    log.info("parent renewed", extra={"fields": facts})


def _log_progress(progress: HandoverProgress) -> None:
    if progress.state is HandoverState.FAILED:
        log.warning("upgrade failed", extra={"fields": {"error": progress.error}})
    elif progress.state is HandoverState.DONE:
        facts = {"moved": progress.moved, "staying": progress.staying, "elapsed_s": progress.elapsed_s}
        log.info("upgraded", extra={"fields": facts})
