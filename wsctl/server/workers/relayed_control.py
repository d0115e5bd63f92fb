"""The operations of the control API in a worker: what concerns all workers goes to the parent."""

from collections.abc import Mapping
from dataclasses import replace
from http import HTTPStatus
from typing import Any, TypeVar
from urllib.parse import urlencode

from wsctl.control.disconnecting import Disconnect, DisconnectResult
from wsctl.control.history import HistoryQuery, KeptMessages
from wsctl.control.operations import (
    CANCEL_DRAIN,
    CONTROL_SOCKET,
    DISCONNECT,
    DRAIN,
    LOAD,
    METRICS,
    TOPICS,
    UPGRADE,
    WAIT_DRAINED,
    WAIT_UPGRADED,
    DashboardLink,
    DrainAnswer,
    DrainEnd,
    Operation,
    Published,
    PublishedLines,
    UpgradeAnswer,
    result_of,
    topics_target,
)
from wsctl.control.status import LoadHistory, ServerStatus, TopicList, WorkerGroup
from wsctl.server.metrics.family import Family, decode_families, merge_workers
from wsctl.server.node_control import NodeControl
from wsctl.server.workers.parent_link import STATUS_TIMEOUT, ParentLink

T = TypeVar("T")


class RelayedControl:
    """Carries out the operations through the parent. Where the parent is gone, the worker carries them out
    `alone`."""

    def __init__(self, link: ParentLink, alone: NodeControl) -> None:
        self._link = link
        self._alone = alone

    def body_limit(self, operation: Operation, *, lines: bool = False) -> int:
        return self._alone.body_limit(operation, lines=lines)

    async def status(self, *, clients: bool) -> ServerStatus:
        """Return the status of this worker, and what is known of all together."""
        of_all = None if self._link.lost else await self._link.fetch_status()
        own = await self._alone.status(clients=clients)
        if of_all is None:
            return self._without_parent(own)
        return replace(own, group=self._group(of_all), journal=of_all.journal)

    async def whole_status(self) -> ServerStatus:
        """Return the status of all workers; that of this one where the parent does not tell it."""
        of_all = None if self._link.lost else await self._link.fetch_status()
        return of_all or self._without_parent(await self._alone.whole_status())

    def _without_parent(self, own: ServerStatus) -> ServerStatus:
        """Return what a worker tells while its parent does not answer: that renews itself, or has much to do,
        and an upgrade of this worker alone would be taken for that of all."""
        return own if self._link.lost else replace(own, upgrade=None)

    async def load(self) -> LoadHistory:
        """Return the load of all workers; that of this one where the parent does not tell it."""
        if not self._link.lost:
            reply = await self._link.call(LOAD.method, LOAD.path, b"", STATUS_TIMEOUT)
            if reply and reply.status == HTTPStatus.OK:  # a parent of an older version knows nothing of it
                return result_of(LoadHistory, *reply)
        return await self._alone.load()

    async def dashboard_link(self) -> DashboardLink:
        return await self._alone.dashboard_link()

    async def topics(self, limit: int) -> TopicList:
        """Return the first `limit` topics of all workers; those of this one where the parent does not tell
        them."""
        if not self._link.lost:
            # Twice: the parent itself waits as long for workers that hang.
            reply = await self._link.call(TOPICS.method, topics_target(limit), b"", 2 * STATUS_TIMEOUT)
            if reply and reply.status == HTTPStatus.OK:
                return result_of(TopicList, *reply)
        return await self._alone.topics(limit)

    async def history(self, wanted: HistoryQuery) -> KeptMessages:
        """Return messages that are kept: each worker has those of all."""
        return await self._alone.history(wanted)

    async def metrics(self) -> Mapping[str, Any]:
        return await self._alone.metrics()

    async def families(self) -> list[Family]:
        """Return the metrics of all workers."""
        if not self._link.lost:
            # Twice: the parent itself waits as long for workers that hang.
            reply = await self._link.call(METRICS.method, METRICS.path, b"", 2 * STATUS_TIMEOUT)
            if reply and reply.status == HTTPStatus.OK:  # a parent of an older version knows nothing of it
                return decode_families(reply.body)
        return merge_workers({self._link.number: await self._alone.families()})

    async def broadcast(self, body: bytes) -> Published:
        """Publish a message, which all workers share."""
        return await self._alone.broadcast(body)

    async def publish_one(self, body: bytes) -> Published:
        """Publish a message, which all workers share."""
        return await self._alone.publish_one(body)

    async def publish_lines(self, body: bytes) -> PublishedLines:
        """Publish messages, which all workers share."""
        return await self._alone.publish_lines(body)

    async def disconnect(self, wanted: Disconnect, by: str) -> DisconnectResult:
        """Close all connections of a client, at all workers."""
        if self._link.lost or self._alone.is_shared:  # then each worker is a node, and reaches the others
            return await self._alone.disconnect(wanted, by)
        target = f"{wanted.target}&{urlencode({'by': by})}"
        reply = await self._link.call(DISCONNECT.method, target, b"")
        return result_of(DisconnectResult, *reply) if reply else await self._alone.disconnect(wanted, by)

    async def drain(self, body: bytes, by: str) -> DrainAnswer:
        found = await self._relay(DRAIN, DrainAnswer, body, by)
        return found or await self._alone.drain(body, CONTROL_SOCKET)

    async def cancel_drain(self, by: str) -> DrainAnswer:
        found = await self._relay(CANCEL_DRAIN, DrainAnswer, by=by)
        return found or await self._alone.cancel_drain(CONTROL_SOCKET)

    async def wait_drained(self) -> DrainEnd:
        return await self._relay(WAIT_DRAINED, DrainEnd) or await self._alone.wait_drained()

    async def upgrade(self, by: str) -> UpgradeAnswer:
        found = await self._relay(UPGRADE, UpgradeAnswer, by=by)
        return found or await self._alone.upgrade(CONTROL_SOCKET)

    async def wait_upgraded(self) -> UpgradeAnswer:
        return await self._relay(WAIT_UPGRADED, UpgradeAnswer) or await self._alone.wait_upgraded()

    async def _relay(
        self, operation: Operation, kind: type[T], body: bytes = b"", by: str = CONTROL_SOCKET
    ) -> T | None:
        """Return the answer of the parent; None when the parent does not answer."""
        if self._link.lost:
            return None
        reply = await self._link.call(operation.method, operation.target(by), body)
        return reply and result_of(kind, *reply)

    def _group(self, of_all: ServerStatus) -> WorkerGroup:
        return WorkerGroup(
            of_all.status,
            of_all.connections,
            of_all.drain,
            of_all.upgrade,
            of_all.workers or (),
            self._link.parent,
        )
