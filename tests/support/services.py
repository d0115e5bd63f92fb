"""What connections and acceptors use, without the server around it."""

import asyncio
from collections.abc import Callable
from typing import Any

from tests.support.server import DEADLINE
from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.drain.pace import Pace
from wsctl.drain.phases import ACCEPTING
from wsctl.drain.progress import ClientCounts
from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.presence import TopicPresence
from wsctl.hub.replays import Replays
from wsctl.log.message_log import MessageLog
from wsctl.server.credentials.expiry import ExpiryTimes, RenewalHandler
from wsctl.server.credentials.permissions import PermissionTable, permissions_of
from wsctl.server.http.host_header import AllowedHosts
from wsctl.server.http.refusals import Refusals
from wsctl.server.websocket.admission import Admission
from wsctl.server.websocket.command_handler import CommandHandler, CommandLimits
from wsctl.server.websocket.drain_rejection import DrainRejector
from wsctl.server.websocket.identities import Identities
from wsctl.server.websocket.services import AcceptorServices, ConnectionServices
from wsctl.server.websocket.welcome import Welcome
from wsctl.settings import Settings


class Services:
    """The parts of a server that serves at time 0, whose event loop is called by hand.

    Attributes:
        soon: what is to be called soon, or later.
    """

    def __init__(self, **options: Any) -> None:
        settings = Settings(**options)
        self.soon: list[Callable[[], None]] = []
        self._news = asyncio.Event()
        self.life = GracefulShutdownManager(Pace(timeout=10.0))
        self.life.started()
        manager = ConnectionManager(
            self._clock, self._call_soon, connections_per_id=settings.connections_per_id
        )
        log = MessageLog(manager.deliver, settings.history, settings.history_bytes, lambda: 1000.0)
        self.connections = ConnectionServices(
            settings=settings,
            clock=self._clock,
            manager=manager,
            log=log,
            presence=TopicPresence(lambda *told: None, manager.subscriptions.matching),
            intake=Intake(log, settings.rate, bool(settings.client_publish), self._clock),
            replays=Replays(settings.history_bytes, self._clock, self._call_soon, self._call_later),
            expiry=ExpiryTimes(self._clock),
            welcome=Welcome(
                manager,
                log,
                self.life,
                elsewhere=lambda: 0,
                degraded=lambda: False,
                allowance=lambda client_id: None,
            ),
            identities=Identities(self._clock, lambda: 1000.0),
            permissions=PermissionTable(permissions_of(settings)),
            hooks=None,
        )
        intake = self.connections.intake
        intake.for_commands = CommandHandler(
            limits=CommandLimits(settings.max_subscriptions, settings.max_message_size),
            intake=intake,
            manager=manager,
            log=log,
            permissions=self.connections.permissions,
            renewal=RenewalHandler(None, self.connections.expiry, self.connections.permissions),
            presence=self.connections.presence,
        ).handle
        self.acceptors = AcceptorServices(
            hosts=AllowedHosts(settings.allow_host),
            admission=Admission(
                settings,
                settings.max_connections or 0,
                manager.count_open,
                lambda: self.life.phase in ACCEPTING,
                replaces_older=manager.is_full,
            ),
            refusals=Refusals(self._clock, settings.max_connections or 0),
            drain_rejector=DrainRejector(),
            connections=self.connections,
            waiting=set(),
        )

    def drain(self) -> None:
        """Let the server drain, for as long as anybody is there."""
        self.life.drain(0.0, ClientCounts(active=1), None, "test")

    def flush(self) -> None:
        """Call what is to be called soon, and what that leads to."""
        while self.soon:
            self.soon.pop(0)()
        self._news.clear()

    async def called(self) -> None:
        """Wait until something is to be called soon."""
        async with asyncio.timeout(DEADLINE):
            await self._news.wait()

    def _call_soon(self, call: Callable[[], None]) -> None:
        self.soon.append(call)
        self._news.set()

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self._call_soon(call)

    def _clock(self) -> float:
        return 0.0
