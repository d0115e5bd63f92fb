"""The operations of the control API, carried out on one process."""

import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from wsctl.codes import ErrorCode
from wsctl.control.disconnecting import Disconnect, DisconnectResult
from wsctl.control.history import HistoryQuery, KeptMessages
from wsctl.control.operations import (
    BROADCAST,
    DRAIN,
    PUBLISH,
    Broadcast,
    ControlError,
    DashboardLink,
    DrainAnswer,
    DrainEnd,
    DrainRequest,
    Operation,
    Published,
    PublishedLines,
    PublishRequest,
    UpgradeAnswer,
    not_connected,
)
from wsctl.control.status import ClientStatus, LoadHistory, ServerStatus, TopicList
from wsctl.drain.graceful import GracefulShutdownManager, NotDraining
from wsctl.hub.manager import ConnectionManager
from wsctl.log.home import Away
from wsctl.log.message_log import MessageLog
from wsctl.server.batch_window import BatchWindow
from wsctl.server.dashboard.access import DashboardAccess
from wsctl.server.dashboard.recent_load import RecentLoad
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.history_listing import list_history
from wsctl.server.message_publisher import BODY_ALLOWANCE, MessagePublisher, read, too_big
from wsctl.server.metrics import scrape
from wsctl.server.metrics.facts import MetricSources
from wsctl.server.metrics.facts import families as node_families
from wsctl.server.metrics.family import Family, encode_families
from wsctl.server.node import Handover, Node
from wsctl.server.sharing import Sharing
from wsctl.server.status_reporter import StatusReporter
from wsctl.server.websocket.drain_rejection import DrainRejector

log = logging.getLogger("wsctl.control")


class NodeControl:
    """Carries out the operations. `handover` returns the way to a successor, None where the process is not
    ours to replace; `families` are the metrics of the process, `recent` is its load, and `access` makes links
    to the dashboard.

    Attributes:
        publisher: publishes messages.
    """

    def __init__(
        self,
        *,
        publisher: MessagePublisher,
        life: GracefulShutdownManager,
        driver: DrainDriver,
        manager: ConnectionManager,
        log: MessageLog,
        reporter: StatusReporter,
        rejector: DrainRejector,
        shared: Sharing | None,
        handover: Callable[[], Handover | None],
        families: Callable[[], Awaitable[list[Family]]],
        recent: RecentLoad,
        access: DashboardAccess,
    ) -> None:
        self._recent = recent
        self._access = access
        self.publisher = publisher
        self._families = families
        self._life = life
        self._driver = driver
        self._manager = manager
        self._log = log
        self._reporter = reporter
        self._rejector = rejector
        self._shared = shared
        self._handover = handover

    def body_limit(self, operation: Operation, *, lines: bool = False) -> int:
        """Return how many bytes the body of a request may have, or that of a batch; 0 for no limit."""
        if operation is DRAIN:
            return BODY_ALLOWANCE
        return self.publisher.batch_limit if lines else self.publisher.body_limit

    async def status(self, *, clients: bool) -> ServerStatus:
        """Return the status of this process; with `clients`, also who is connected, here and at other
        nodes."""
        found = self._reporter.status(clients=clients)
        if not clients or self._shared is None:
            return found
        everywhere = (*(found.clients or ()), *await self._shared.clients_elsewhere())
        return replace(found, clients=ClientStatus.numbered(everywhere))

    async def whole_status(self) -> ServerStatus:
        return self._reporter.status()

    async def load(self) -> LoadHistory:
        return self._recent.history()

    async def dashboard_link(self) -> DashboardLink:
        return self._access.create_link()

    async def topics(self, limit: int) -> TopicList:
        """Return the first `limit` topics with subscribers in this process or kept messages."""
        return self._reporter.topics(limit)

    async def history(self, wanted: HistoryQuery) -> KeptMessages:
        """Return messages that are kept."""
        return list_history(self._log, wanted)

    async def families(self) -> list[Family]:
        """Return the metrics of this process."""
        return await self._families()

    async def metrics(self) -> Mapping[str, Any]:
        return encode_families(await self._families())

    async def broadcast(self, body: bytes) -> Published:
        """Publish the message in a body, and wait until the log has taken it."""
        self._check_body(BROADCAST, body)
        return await self.publish(await read(Broadcast, body))

    async def publish_one(self, body: bytes) -> Published:
        """Publish the message in a body, and wait until the log has taken it."""
        self._check_body(PUBLISH, body)
        return await self.publish(await read(PublishRequest, body))

    async def publish(self, wanted: PublishRequest) -> Published:
        """Publish a message, and wait until the log has taken it.

        Raises:
            ControlError: it is not published, or may not be.
        """
        return await self.publisher.publish(wanted)

    async def publish_lines(self, body: bytes) -> PublishedLines:
        """Publish the message on each line of a body, and wait until the log has taken or refused all."""
        return await self.publisher.publish_lines(body)

    async def disconnect(self, wanted: Disconnect, by: str) -> DisconnectResult:
        """Close all connections of a client, here and at other nodes."""
        if count := await self.disconnect_all(wanted):
            log.info(
                "disconnecting",
                extra={"fields": {"client_id": wanted.client_id, "connections": count, "by": by}},
            )
            return DisconnectResult(count)
        raise not_connected(wanted.client_id)

    async def disconnect_all(self, wanted: Disconnect) -> int:
        """Close all connections of a client, here and at other nodes, and return how many these were.

        Raises:
            ControlError: there is none here, and other nodes cannot be reached.
        """
        here = self._manager.disconnect(wanted.client_id, wanted.code, wanted.reason)
        if self._shared is None:
            return here
        try:
            return here + await self._shared.disconnect_elsewhere(
                wanted.client_id, wanted.code, wanted.reason
            )
        except Away as error:
            if here:
                return here
            text = f"not connected here, and the other servers cannot be reached: {error}"
            raise ControlError(HTTPStatus.SERVICE_UNAVAILABLE, ErrorCode.DEGRADED, text) from None

    @property
    def is_shared(self) -> bool:
        """True if this process is one node of several that share a Redis."""
        return self._shared is not None

    async def drain(self, body: bytes, by: str) -> DrainAnswer:
        """Begin a drain, or move the deadline of the one that runs."""
        self._check_body(DRAIN, body)
        wanted = await read(DrainRequest, body) if body.strip() else DrainRequest()
        with _conflicts():
            self._driver.drain(wanted.timeout, by)
        return self._drain_answer()

    async def cancel_drain(self, by: str) -> DrainAnswer:
        with _conflicts():
            self._driver.cancel(by)
        self._rejector.forget()
        return self._drain_answer()

    async def wait_drained(self) -> DrainEnd:
        await self._driver.wait_until_over()
        return DrainEnd(self._reporter.drain(), int(self._life.exit_code))

    async def upgrade(self, by: str) -> UpgradeAnswer:
        handover = self._handover()
        if handover is None:
            text = "this server was started by another program, which alone can replace it"
            raise ControlError(HTTPStatus.CONFLICT, "not_now", text)
        with _conflicts():
            handover.begin(by)
        return UpgradeAnswer(self._reporter.upgrade())

    async def wait_upgraded(self) -> UpgradeAnswer:
        if handover := self._handover():
            await handover.wait_until_over()
        return UpgradeAnswer(self._reporter.upgrade())

    def _drain_answer(self) -> DrainAnswer:
        return DrainAnswer(self._life.phase, self._reporter.drain())

    def _check_body(self, operation: Operation, body: bytes) -> None:
        """Check the size of a body that came from the parent, which reads it whole."""
        limit = self.body_limit(operation)
        if limit and len(body) > limit:
            raise too_big(f"a body may have {limit} bytes")


def control_of(node: Node, access: DashboardAccess | None = None) -> NodeControl:
    """Return what carries out the operations on a node; without an `access` there are no links to the
    dashboard."""

    async def families() -> list[Family]:
        return [*node_families(sources_of(node)), *await scrape.process()]

    return NodeControl(
        publisher=MessagePublisher(
            node.log, node.settings.max_message_size, node.is_publishing, BatchWindow(node.is_upgrading)
        ),
        life=node.life,
        driver=node.driver,
        manager=node.manager,
        log=node.log,
        reporter=node.reporter,
        rejector=node.drain_rejector,
        shared=node.shared,
        handover=lambda: node.handover,
        families=families,
        recent=node.recent_load,
        access=access or DashboardAccess(None, None),
    )


def sources_of(node: Node) -> MetricSources:
    """Return the parts of a server that its metrics are made from."""
    return MetricSources(
        reporter=node.reporter,
        manager=node.manager,
        application_ended=node.application.ended() if node.application else None,
        intake=node.intake,
        log=node.log,
        refusals=node.refusals,
        shared=node.shared,
        journal=node.journal,
        lateness=node.ticker.lateness,
        max_queue=node.settings.max_queue,
        failed_handovers=lambda: node.handover.failures if node.handover else 0,
    )


@contextmanager
def _conflicts() -> Iterator[None]:
    """Answer that it cannot be done now, and why."""
    try:
        yield
    except NotDraining as error:
        raise ControlError(HTTPStatus.CONFLICT, "not_now", str(error)) from None
