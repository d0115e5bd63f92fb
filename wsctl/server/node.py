"""One server: its parts put together."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from wsctl import messages
from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.drain.observers import DrainObserver
from wsctl.drain.pace import Pace
from wsctl.drain.phases import ACCEPTING, SHUTTING_DOWN, Phase
from wsctl.drain.progress import HandoverProgress
from wsctl.hub.connection import Connection
from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.periodic import periodic_broadcast_task
from wsctl.hub.presence import TopicPresence, connected
from wsctl.hub.replays import Replays
from wsctl.log.home import Elsewhere, Home
from wsctl.log.journal import journal_home
from wsctl.log.message_log import MessageLog
from wsctl.log.redis.client import RedisClient
from wsctl.server.asgi.connections import ApplicationConnections
from wsctl.server.connection_age import ConnectionAges
from wsctl.server.credentials import verifier_of
from wsctl.server.credentials.expiry import ExpiryTimes, RenewalHandler
from wsctl.server.credentials.permissions import PermissionTable, permissions_of
from wsctl.server.credentials.verifier import KeySummary
from wsctl.server.dashboard.recent_load import RecentLoad
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.drainable import Drainable, HubClients
from wsctl.server.home_notifier import HomeNotifier
from wsctl.server.http.host_header import AllowedHosts, host_name
from wsctl.server.http.refusals import Refusals
from wsctl.server.journal_monitor import monitor_journal
from wsctl.server.listening.limits import ConnectionLimits
from wsctl.server.sharing import Sharing
from wsctl.server.status_reporter import StatusReporter
from wsctl.server.ticker import Ticker
from wsctl.server.tracing import create_tracing
from wsctl.server.websocket.admission import Admission
from wsctl.server.websocket.command_handler import CommandHandler, CommandLimits
from wsctl.server.websocket.drain_rejection import DrainRejector
from wsctl.server.websocket.hook_calls import HookCalls
from wsctl.server.websocket.hooks import Hooks
from wsctl.server.websocket.identities import Identities
from wsctl.server.websocket.services import AcceptorServices, ConnectionServices
from wsctl.server.websocket.waiting_handshake import WaitingHandshake
from wsctl.server.websocket.welcome import Welcome
from wsctl.settings import Settings
from wsctl.tracing import Tracing

log = logging.getLogger("wsctl.server")

_ENDED = frozenset({Phase.CLOSING, Phase.STOPPED})
"""The phases in which nobody is left who would get a message."""


MakeHome = Callable[[MessageLog, Callable[[str, int | None], None], Elsewhere], Home]
"""Makes the home of a log. The function that it is given is called with the id of a client that has a newer
connection in another process."""


class Handover(Protocol):
    """The handover to a successor process. `failures` counts the successors that did not take over."""

    failures: int

    @property
    def under_way(self) -> bool: ...
    def begin(self, by: str) -> None: ...
    async def wait_until_over(self) -> None: ...
    def progress(self) -> HandoverProgress | None: ...

    @property
    def leaving(self) -> bool: ...


class Node:
    """The parts of one server, each made once and handed what it needs.

    `elsewhere` returns how many clients of the hub the other processes of this server have, and
    `connections_elsewhere` how many connections in all, and `upgrading_elsewhere` whether one of them is
    being replaced; `hooks` are those of an application. `make_home` makes the home of the log where that is
    neither this process nor a Redis. Making it raises UsageError or CannotStart when there is nothing to
    check credentials with.

    Attributes:
        application: the connections of an application that is not ours, where there is one.
        generation: 1 for a first process, and one more after each handover.
        handover: None where the process is not ours to replace.
        home: gives the ids of the log, but while a successor does.
        home_notifier: tells clients when that is away.
        journal: watches the home, where that is a journal.
    """

    def __init__(
        self,
        settings: Settings,
        observers: Sequence[DrainObserver],
        clock: Callable[[], float] = time.monotonic,
        *,
        generation: int = 1,
        wall: Callable[[], float] = time.time,
        elsewhere: Callable[[], int] = lambda: 0,
        connections_elsewhere: Callable[[], int] = lambda: 0,
        upgrading_elsewhere: Callable[[], bool] = lambda: False,
        make_home: MakeHome | None = None,
        with_application: bool = False,
        hooks: Hooks | None = None,
    ) -> None:
        policies = settings.drain_policy, clock, settings.drain_spread
        self.application = ApplicationConnections(*policies) if with_application else None
        self.generation = generation
        self.handover: Handover | None = None
        self.settings = settings
        self.clock = clock
        self._elsewhere = elsewhere
        self._connections_elsewhere = connections_elsewhere
        self._upgrading_elsewhere, self._stopped_publishing = upgrading_elsewhere, False
        self._began = time.time()
        self.manager = ConnectionManager(clock, _call_soon, connections_per_id=settings.connections_per_id)
        bounds = settings.history, settings.history_bytes
        self.log = MessageLog(self.manager.deliver, *bounds, wall, settings.history_ttl)
        self.log.tracing = _tracing(settings)
        self.presence = TopicPresence(self._tell_watchers, self.manager.subscriptions.matching)
        self.expiry = ExpiryTimes(wall)
        self.verifier = verifier_of(settings, wall)
        self.identities = Identities(clock)
        self.permissions = PermissionTable(permissions_of(settings))
        self.renewal = RenewalHandler(self.verifier, self.expiry, self.permissions, self._renewed)
        self.intake = self._create_intake()
        self.hooks = self._create_hooks(hooks) if hooks else None
        self.commands = self._create_commands()
        self.life = GracefulShutdownManager(_pace(settings))
        self.welcome = self._create_welcome()
        self.home_notifier = HomeNotifier(self.manager, self.log, self.welcome.frame)
        self.shared = self._create_sharing() if settings.redis else None
        make_home = make_home or self._journal_maker(wall)
        if make_home and not self.shared:
            self._move_home(make_home)
        self.home = self.log.home
        self._report_connections()
        self.journal = monitor_journal(self.log, clock)
        shared = [self.shared] if self.shared else []
        drained: list[Drainable] = [HubClients(self.manager, clock)]
        drained += [self.application] if self.application else []
        self.driver = DrainDriver(self.life, drained, clock, [*observers, *shared])
        self.drain_rejector = DrainRejector()
        self.waiting_handshakes: set[WaitingHandshake] = set()
        self.limits = ConnectionLimits(settings.max_connections, held=self._count_held)
        self.reporter = self._create_reporter()
        self.recent_load = RecentLoad(self.reporter.status, wall)
        self.hosts = AllowedHosts((*settings.allow_host, host_name(settings.host)))
        self.admission = self._create_admission()
        self.refusals = Refusals(clock, self.limits.capacity)
        self.services = self._create_services()
        self.acceptor_services = self._create_acceptor_services()
        checks = [self.manager.check, self.reporter.sample, self.expiry.close_expired, self.refusals.check]
        checks += [self._create_connection_ages().check] if settings.max_connection_age else []
        self.ticker = Ticker(clock, [*checks, lambda now: self.log.expire(), self.recent_load.check])

    def _create_connection_ages(self) -> ConnectionAges:
        age = self.settings.max_connection_age
        return ConnectionAges(self.manager, age, lambda: self.life.phase is Phase.SERVING)

    def _create_intake(self) -> Intake:
        settings = self.settings
        intake = Intake(
            self.log,
            settings.rate,
            bool(settings.client_publish),
            self.clock,
            self.renewal.handle,
            by_address=settings.auth == "none",
            may_publish=self.permissions.may_publish_to_all,
            connections_of=self.manager.of,
        )
        self.manager.retired.append(intake.left)
        return intake

    def _create_hooks(self, hooks: Hooks) -> HookCalls:
        calls = HookCalls(hooks, self.intake, self.identities, self.clock, self.settings.hook_timeout)
        self.manager.retired.append(calls.disconnected)
        if hooks.on_message:
            renews, may = self.renewal.handle, self.permissions.may_publish_to_all
            self.intake.for_server = lambda connection, text: (
                renews(connection, text) or (may(connection) and calls.message(connection, text))
            )
        return calls

    def _create_commands(self) -> CommandHandler:
        settings = self.settings
        commands = CommandHandler(
            limits=CommandLimits(settings.max_subscriptions, settings.max_message_size),
            intake=self.intake,
            manager=self.manager,
            log=self.log,
            permissions=self.permissions,
            renewal=self.renewal,
            presence=self.presence,
            hooks=self.hooks,
        )
        self.intake.for_commands = commands.handle
        # Behind the hook of the end, which is told of the topics.
        self.manager.retired.append(self.permissions.forget)
        return commands

    def _renewed(self, connection: Connection) -> None:
        self.commands.enforce(connection)

    def _create_welcome(self) -> Welcome:
        return Welcome(
            self.manager,
            self.log,
            self.life,
            elsewhere=self._elsewhere,
            degraded=lambda: self.reporter.degraded,
            allowance=self.intake.allowance,
        )

    def _journal_maker(self, wall: Callable[[], float]) -> MakeHome | None:
        path, sync = self.settings.journal, self.settings.journal_sync
        return (lambda log, replaced, presence: journal_home(path, sync, log, wall=wall)) if path else None

    def _move_home(self, make_home: MakeHome) -> None:
        home = make_home(self.log, self.home_notifier.replaced, self.presence)
        self.log.move_to(home)

    def _report_connections(self) -> None:
        """Report the connections of this process to the home of the log, and to those who watch topics."""
        home, manager = self.home, self.manager
        if type(home).joined is not Home.joined:  # most homes note nothing, and each handshake would tell
            manager.joined.append(lambda connection: home.joined(*connected(connection)))
            manager.subscribed.append(lambda connection: home.subscribed(*connected(connection)))
            manager.left.append(lambda connection: home.left(connection.client_id, connection.serial))
        manager.joined.append(self.presence.joined)
        manager.subscribed.append(self.presence.subscribed)
        manager.left.append(self.presence.left)

    def _tell_watchers(
        self, watchers: Sequence[Connection], joined: bool, topic: str, client_id: str
    ) -> None:
        encode = messages.joined if joined else messages.left
        self.manager.send_to(watchers, encode(topic, client_id))

    def _create_sharing(self) -> Sharing:
        settings = self.settings
        return Sharing(
            RedisClient(settings.redis or "", settings.redis_password),
            settings.redis_prefix,
            self.log,
            self.presence,
            per_id=settings.connections_per_id,
            max_draining=settings.max_draining,
            about=lambda: {
                "generation": self.generation,
                "phase": self.life.phase,
                "connections": self.driver.counts().active,
                "started": round(self._began, 3),
            },
            replaced=self.home_notifier.replaced,
            disconnect=self.manager.disconnect,
            turn=self._set_waiting_for,
            clock=self.clock,
        )

    def _create_reporter(self) -> StatusReporter:
        return StatusReporter(
            life=self.life,
            driver=self.driver,
            manager=self.manager,
            presence=self.presence,
            application=self.application.counts if self.application else None,
            log=self.log,
            intake=self.intake,
            shared=self.shared,
            journal=self.journal,
            why_degraded=self._why_degraded,
            clock=self.clock,
            capacity=self.limits.capacity,
            generation=self.generation,
            handover=self._handover_now,
            elsewhere=self._connections_elsewhere,
            several_per_id=self.settings.connections_per_id != 1,
        )

    def _create_admission(self) -> Admission:
        return Admission(
            self.settings,
            self.limits.capacity,
            connected=lambda: self.manager.count_open() + len(self.waiting_handshakes),
            accepting=self.is_accepting,
            verifier=self.verifier,
            replaces_older=self.manager.is_full,
        )

    def _create_services(self) -> ConnectionServices:
        return ConnectionServices(
            settings=self.settings,
            clock=self.clock,
            manager=self.manager,
            log=self.log,
            intake=self.intake,
            presence=self.presence,
            replays=Replays(self.settings.history_bytes, self.clock, _call_soon, _call_later),
            expiry=self.expiry,
            welcome=self.welcome,
            identities=self.identities,
            permissions=self.permissions,
            hooks=self.hooks,
        )

    def _create_acceptor_services(self) -> AcceptorServices:
        return AcceptorServices(
            hosts=self.hosts,
            admission=self.admission,
            refusals=self.refusals,
            drain_rejector=self.drain_rejector,
            connections=self.services,
            waiting=self.waiting_handshakes,
        )

    async def open(self) -> None:
        """Log what tokens are checked with, and begin with the home of the log; to be awaited before the
        server runs. A successor begins with it when it takes over.

        Raises:
            CannotStart: there is no home that can be used.
        """
        if keys := self.keys:
            ids = {"kids": ", ".join(keys.ids)} if keys.ids else {}
            log.info("tokens are checked", extra={"fields": {"algorithm": ", ".join(keys.algorithms), **ids}})
        if self.shared:
            await self.shared.check()
        await (self.home.begin() if self.generation == 1 else self.home.prepare())

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Run the tasks beside the connections, for as long as the server runs."""
        interval = self.settings.broadcast_interval
        work = [self.driver.run(), self.ticker.run()]
        if interval:
            work.append(periodic_broadcast_task(self.manager, interval, elsewhere=self._elsewhere))
        tasks = [asyncio.create_task(job) for job in work]
        for task in tasks:
            task.add_done_callback(_report)
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self.home.end()
            if self.log.tracing:
                await self.log.tracing.close()

    @property
    def keys(self) -> KeySummary | None:
        """The keys that tokens are checked with; None where there are none."""
        return self.verifier.keys if self.verifier else None

    def started(self) -> None:
        """Note that the server accepts connections."""
        self.life.started()
        if self.shared:
            self.shared.session.lease.renew_soon()

    @property
    def leaving(self) -> bool:
        """True if a successor leads this server."""
        return self.handover is not None and self.handover.leaving

    def _count_held(self) -> int:
        websockets = self.application.counts().websockets if self.application else 0
        others = len(self.drain_rejector.waiting) + len(self.waiting_handshakes)
        return self.manager.count_open() + others + websockets

    def is_accepting(self) -> bool:
        """Tell whether new clients are taken."""
        return self.life.phase in ACCEPTING

    def is_publishing(self) -> bool:
        """Tell whether messages are still taken: those that are connected get them."""
        return not self._stopped_publishing and (self.life.phase not in _ENDED or self.leaving)

    def stop_publishing(self) -> None:
        """Take no message any more, also for a successor: what is left of batches under way is refused."""
        self._stopped_publishing = True

    def is_shutting_down(self) -> bool:
        """Tell whether clients are to connect anew: the server drains, or a successor leads it."""
        return self.leaving or self.life.phase in SHUTTING_DOWN

    def is_upgrading(self) -> bool:
        """Tell whether this process is being replaced, or another one of this server."""
        return self._upgrading_elsewhere() or (self.handover is not None and self.handover.under_way)

    def _handover_now(self) -> HandoverProgress | None:
        return self.handover.progress() if self.handover else None

    def _why_degraded(self) -> str | None:
        """Return the reason why messages are not published just now, or not shared; None while they are."""
        return self.shared.why_degraded if self.shared else self.home.why

    def _set_waiting_for(self, waiting_for: int) -> None:
        self.driver.set_waiting_for(waiting_for)


def _tracing(settings: Settings) -> Tracing | None:
    off = settings.tracing == "off"
    return None if off else create_tracing(in_messages=settings.tracing == "messages")


def _pace(settings: Settings) -> Pace:
    return Pace(
        timeout=settings.shutdown_timeout,
        delay=settings.drain_delay,
        spread=settings.drain_spread,
        window=settings.reconnect_window,
        in_turn=settings.max_draining > 0,
    )


def _call_soon(call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_soon(call)


def _call_later(seconds: float, call: Callable[[], None]) -> object:
    return asyncio.get_running_loop().call_later(seconds, call)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception():
        log.error("a background task failed", exc_info=task.exception())
