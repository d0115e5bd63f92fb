"""The operations of the control API, carried out on one process."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from wsctl import client_ids, messages
from wsctl.codes import ErrorCode
from wsctl.control.operations import (
    BROADCAST,
    DRAIN,
    MAX_KEY,
    Broadcast,
    ControlError,
    DashboardLink,
    DrainAnswer,
    DrainEnd,
    DrainRequest,
    Operation,
    Published,
    UpgradeAnswer,
    is_key,
)
from wsctl.control.status import ClientStatus, LoadHistory, ServerStatus, TopicList
from wsctl.drain.graceful import GracefulShutdownManager, NotDraining
from wsctl.drain.phases import Phase
from wsctl.log.home import Refusal
from wsctl.log.message_log import MessageLog
from wsctl.server.dashboard.access import DashboardAccess
from wsctl.server.dashboard.recent_load import RecentLoad
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.metrics import scrape
from wsctl.server.metrics.facts import MetricSources
from wsctl.server.metrics.facts import families as node_families
from wsctl.server.metrics.family import Family, encode_families
from wsctl.server.node import Handover, Node
from wsctl.server.sharing import Sharing
from wsctl.server.status_reporter import StatusReporter
from wsctl.server.websocket.drain_rejection import DrainRejector
from wsctl.topics import InvalidTopic, topic_name

BODY_ALLOWANCE = 64 * 1024
"""Bytes that a request body may have beyond its message, for the addressees."""

_PUBLISHING = frozenset({Phase.STARTING, Phase.SERVING, Phase.LAMEDUCK, Phase.HANDOVER, Phase.DRAINING})
"""The phases in which messages flow."""

_UNPUBLISHED = {
    ErrorCode.DEGRADED: HTTPStatus.SERVICE_UNAVAILABLE,
    ErrorCode.UNCONFIRMED: HTTPStatus.GATEWAY_TIMEOUT,
}
"""The status of an answer that a message was refused: 503 promises that it was not published, 504 promises
nothing."""

if TYPE_CHECKING:
    from pydantic import TypeAdapter

R = TypeVar("R")


class NodeControl:
    """Carries out the operations. A message may have `max_message_size` bytes, 0 for no limit; `handover`
    returns the way to a successor, None where the process is not ours to replace; `families` are the metrics
    of the process, `recent` is its load, and `access` makes links to the dashboard."""

    def __init__(
        self,
        *,
        max_message_size: int,
        life: GracefulShutdownManager,
        driver: DrainDriver,
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
        self._families = families
        self._limit = max_message_size
        self._life = life
        self._driver = driver
        self._log = log
        self._reporter = reporter
        self._rejector = rejector
        self._shared = shared
        self._handover = handover

    def body_limit(self, operation: Operation) -> int:
        """Return how many bytes the body of a request may have; 0 for no limit."""
        return BODY_ALLOWANCE if operation is DRAIN else self._limit and self._limit + BODY_ALLOWANCE

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

    async def families(self) -> list[Family]:
        """Return the metrics of this process."""
        return await self._families()

    async def metrics(self) -> Mapping[str, Any]:
        return encode_families(await self._families())

    async def broadcast(self, body: bytes) -> Published:
        """Publish the message in a body, and wait until the log has taken it."""
        self._check_body(BROADCAST, body)
        return await self.publish(parse(Broadcast, body))

    async def publish(self, wanted: Broadcast) -> Published:
        """Publish a message, and wait until the log has taken it.

        Raises:
            ControlError: it is not published, or may not be.
        """
        to, topic = _addressees(wanted), _topic(wanted)
        _check_key(wanted.key)
        self._check_size(wanted.data)
        if self._life.phase not in _PUBLISHING and not self._is_leaving():
            raise ControlError(HTTPStatus.SERVICE_UNAVAILABLE, "closing", "the server is closing its clients")
        published: asyncio.Future[Published] = asyncio.get_running_loop().create_future()

        def receipt(message_id: str, recipients: int) -> None:
            if not published.done():  # the caller may have hung up
                published.set_result(Published(message_id, recipients))

        def repeated(message_id: str) -> None:
            if not published.done():
                published.set_result(Published(message_id, 0, repeated=True))

        def refused(why: Refusal) -> None:
            if not published.done():
                published.set_exception(ControlError(_UNPUBLISHED[why.code], why.code, why.text))

        draft = client_ids.SERVER, wanted.data, to
        self._log.append(
            *draft,
            receipt,
            refused=refused,
            repeated=repeated,
            shown=wanted.show_to,
            topic=topic,
            idempotency_key=wanted.key,
        )
        return await published

    async def drain(self, body: bytes, by: str) -> DrainAnswer:
        """Begin a drain, or move the deadline of the one that runs."""
        self._check_body(DRAIN, body)
        wanted = parse(DrainRequest, body) if body.strip() else DrainRequest()
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

    def _is_leaving(self) -> bool:
        handover = self._handover()
        return handover is not None and handover.leaving

    def _check_body(self, operation: Operation, body: bytes) -> None:
        """Check the size of a body that came from the parent, which reads it whole."""
        limit = self.body_limit(operation)
        if limit and len(body) > limit:
            raise too_big(f"a body may have {limit} bytes")

    def _check_size(self, data: Any) -> None:
        """Check that the data can be sent, and are not too large."""
        try:
            size = len(messages.encode({"data": data}))
        except ValueError:
            text = "data: it has a NaN or an infinity, which JSON does not have"
            raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", text) from None
        if self._limit and size > self._limit + len('{"data":}'):
            raise too_big(f"a message may have {self._limit} bytes")


def control_of(node: Node, access: DashboardAccess | None = None) -> NodeControl:
    """Return what carries out the operations on a node; without an `access` there are no links to the
    dashboard."""

    async def families() -> list[Family]:
        return [*node_families(sources_of(node)), *await scrape.process()]

    return NodeControl(
        max_message_size=node.settings.max_message_size,
        life=node.life,
        driver=node.driver,
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


def too_big(text: str) -> ControlError:
    return ControlError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too_big", text)


def parse(kind: type[R], body: bytes) -> R:
    """Read the body of a request.

    Raises:
        ControlError: it is another one.
    """
    from pydantic import ValidationError  # a start needs none of it

    try:
        found: R = _adapter(kind).validate_json(body)  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        is_unknown = first["type"] == "unexpected_keyword_argument"
        text = "Extra inputs are not permitted" if is_unknown else first["msg"]
        where = ".".join(str(part) for part in first["loc"])
        raise ControlError(
            HTTPStatus.BAD_REQUEST, "bad_request", f"{where}: {text}" if where else text
        ) from None
    return found


@cache
def _adapter(kind: Any) -> "TypeAdapter[Any]":
    """Make what reads a kind of body; only when there is one, for it costs some of the start."""
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


def _addressees(wanted: Broadcast) -> Any:
    try:
        return None if wanted.to is None else client_ids.recipients(wanted.to)
    except client_ids.InvalidClientId as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", str(error)) from None


def _topic(wanted: Broadcast) -> str | None:
    try:
        return None if wanted.topic is None else topic_name(wanted.topic)
    except InvalidTopic as error:
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_topic", f"topic: {error}") from None


def _check_key(key: str | None) -> None:
    if key is not None and not is_key(key):
        text = f"key: has 1 to {MAX_KEY} characters that can be seen"
        raise ControlError(HTTPStatus.BAD_REQUEST, "bad_request", text)


@contextmanager
def _conflicts() -> Iterator[None]:
    """Answer that it cannot be done now, and why."""
    try:
        yield
    except NotDraining as error:
        raise ControlError(HTTPStatus.CONFLICT, "not_now", str(error)) from None
