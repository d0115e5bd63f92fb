"""The operations of the control API, carried out on all workers together."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, NamedTuple
from urllib.parse import urlencode

from wsctl import __version__
from wsctl.codes import ErrorCode
from wsctl.control.disconnecting import Disconnect, DisconnectResult
from wsctl.control.encoding import decode
from wsctl.control.history import HistoryQuery, KeptMessages
from wsctl.control.operations import (
    BROADCAST,
    CANCEL_DRAIN,
    DISCONNECT,
    DRAIN,
    HISTORY,
    LINES_TARGET,
    METRICS,
    PUBLISH,
    STATUS,
    TOPICS,
    ControlError,
    DashboardLink,
    DrainAnswer,
    DrainEnd,
    Published,
    PublishedLines,
    SilentWorker,
    UpgradeAnswer,
    answer,
    error_of,
    no_answer,
    not_connected,
    result_of,
    topics_target,
)
from wsctl.control.status import LoadHistory, ServerStatus, TopicList, WorkerStatus
from wsctl.drain.graceful import NotDraining
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.phases import Phase
from wsctl.ipc.rpc import Reply
from wsctl.log.message_log import MessageLog
from wsctl.server.condition import Condition
from wsctl.server.dashboard.access import DashboardAccess
from wsctl.server.dashboard.recent_load import RecentLoad
from wsctl.server.history_listing import list_history
from wsctl.server.journal_monitor import JournalMonitor
from wsctl.server.metrics.family import Family, decode_families, encode_families, merge_workers
from wsctl.server.metrics.journal import journal_families
from wsctl.server.workers.pool import WorkerPool
from wsctl.server.workers.rolling_upgrade import RollingUpgrade
from wsctl.server.workers.status_merge import (
    merge_applications,
    merge_clients,
    merge_deliveries,
    merge_outboxes,
    merge_shared,
    merge_topics,
    newest_id,
)
from wsctl.server.workers.worker import Worker, worker_names

REPLY_TIMEOUT = 2.0
"""Seconds that a worker has to answer; then the others' answers have to do: one that hangs must not hang
them."""

LATE_REPLY_TIMEOUT = 0.8
"""Seconds that the others have once one has answered: workers that do not hang have as much to do as that
one."""

_PHASES = (Phase.STARTING, Phase.SERVING, Phase.HANDOVER, Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING)
"""The phases from the first to the last: all together are as far as the one that is furthest behind."""


class GroupControl:
    """Carries out the operations on all workers. `messages` is the log of all, where the parent keeps it, and
    `journal` watches the journal that it is kept in, where it is. `on_cancelled` is called when a drain was
    cancelled, `on_intervention` with each step of an operator. `client_ids` counts the ids that are
    connected, where one may have several connections. `generation` counts the programs of this process, the
    first of which was `started` on the clock; None is now. `access` makes links to the dashboard.

    Attributes:
        recent: the load of all workers.
    """

    def __init__(
        self,
        pool: WorkerPool,
        upgrade: RollingUpgrade,
        pid: int,
        clock: Callable[[], float],
        on_cancelled: Callable[[], None],
        *,
        messages: MessageLog | None,
        journal: JournalMonitor | None = None,
        on_intervention: Callable[[Intervention], None] = lambda step: None,
        client_ids: Callable[[], int] | None = None,
        generation: int = 1,
        started: float | None = None,
        access: DashboardAccess | None = None,
    ) -> None:
        self._access = access or DashboardAccess(None, None)
        self.recent = RecentLoad(self.summary)
        self._pool = pool
        self._rolling_upgrade = upgrade
        self._pid = pid
        self._clock = clock
        self._on_cancelled = on_cancelled
        self._messages = messages
        self._journal = journal
        self._on_intervention = on_intervention
        self._client_ids = client_ids
        self._drained = Condition()
        self._generation = generation
        self.started = clock() if started is None else started

    async def answer(self, method: str, path: str, body: bytes) -> Reply:
        """Answer one request; in its query a worker tells in which way it was asked."""
        return Reply(*await answer(self, method, path, body))

    def workers_changed(self) -> None:
        """Answer those who wait for the end, if a worker has reported that it is reached."""
        if self._pool.stopped:
            self.release_waiters()

    def release_waiters(self) -> None:
        """Answer everybody who waits: the server ends."""
        self._drained.notify_all()
        self._rolling_upgrade.release_waiters()

    def summary(self) -> ServerStatus:
        """Return the status of all together, as they reported last: counts and rates are sums, but for what
        they share."""
        reports = [report for worker in self._pool.members if (report := worker.status)]
        limits = [report.capacity for report in reports]
        together = merge_shared(reports, self._recent_reports(), self._messages)
        return ServerStatus(
            status=self._phase(reports),
            connections=sum(report.connections for report in reports),
            uptime_s=round(self._clock() - self.started, 3),
            version=__version__,
            degraded=together.degraded,
            pid=self._pid,
            capacity=sum(limit or 0 for limit in limits) if limits and all(limits) else None,
            closing=sum(report.closing for report in reports),
            newest_id=self._messages.newest if self._messages else newest_id(reports),
            messages=together.messages,
            rates=together.rates,
            drain=self._pool.progress(),
            generation=self._generation,
            upgrade=self._rolling_upgrade.progress(),
            subscriptions=sum(report.subscriptions for report in reports),
            topics=max((report.topics for report in reports), default=0),
            streams=sum(report.streams for report in reports),
            pending=sum(report.pending for report in reports),
            outbox=merge_outboxes(reports),
            delivery=merge_deliveries(reports),
            client_ids=self._client_ids() if self._client_ids else None,
            redis=together.redis,
            journal=self._journal.state() if self._journal else None,
            nodes=together.nodes,
            cluster=together.cluster,
            workers=tuple(map(_describe, self._pool.members)),
            application=merge_applications(reports),
            admin=next((report.admin for report in reports if report.admin), None),
        )

    async def status(self, *, clients: bool) -> ServerStatus:
        """Return the summary; with `clients`, also those of all workers that answer, the ones connected
        longest first."""
        if not clients:
            return self.summary()
        results = await self._call_all(STATUS.method, f"{STATUS.path}?clients=true")
        answers = [ServerStatus.from_json(reply.body) for reply in results.replies if "clients" in reply.body]
        silent = {worker.number for worker in results.silent}
        found = self.summary()
        workers = tuple(replace(each, silent=each.number in silent) for each in found.workers or ())
        return replace(found, clients=merge_clients(answers), workers=workers)

    async def load(self) -> LoadHistory:
        return self.recent.history()

    async def dashboard_link(self) -> DashboardLink:
        return self._access.create_link()

    async def topics(self, limit: int) -> TopicList:
        """Return the first `limit` topics of all workers that answer; one of an older version knows none."""
        replies = (await self._call_all(TOPICS.method, topics_target(limit))).replies
        answers = [decode(TopicList, reply.body) for reply in replies if reply.status == HTTPStatus.OK]
        return merge_topics(answers, limit)

    async def history(self, wanted: HistoryQuery) -> KeptMessages:
        """Return messages that are kept here, or by a worker where the log is in a Redis."""
        if self._messages is not None:
            return list_history(self._messages, wanted)
        target = f"{HISTORY.path}?{wanted.query}"
        return result_of(KeptMessages, *await self._call_one(target, b"", HISTORY.method, _unanswered))

    async def metrics(self) -> Mapping[str, Any]:
        """Return the metrics of all workers, as in the status without those that were succeeded and still
        drain, and those of the parent's journal."""
        found: dict[int, list[Family] | None] = {slot.number: None for slot in self._pool.slots}
        for worker, reply in (await self._call_all(METRICS.method, METRICS.path)).by_worker.items():
            if reply.status == HTTPStatus.OK:
                found[worker.number] = decode_families(reply.body)
        own = journal_families(self._journal) if self._journal else []
        return encode_families([*merge_workers(found), *own])

    async def broadcast(self, body: bytes) -> Published:
        """Publish by one worker, and by no other when it does not answer: the message may have been
        published."""
        return result_of(Published, *await self._call_one(BROADCAST.path, body))

    async def publish_one(self, body: bytes) -> Published:
        """Publish by one worker, as `broadcast` does."""
        return result_of(Published, *await self._call_one(PUBLISH.path, body))

    async def publish_lines(self, body: bytes) -> PublishedLines:
        """Publish by one worker, as `broadcast` does."""
        return result_of(PublishedLines, *await self._call_one(LINES_TARGET, body))

    async def _call_one(
        self,
        target: str,
        body: bytes,
        method: str = "POST",
        unanswered: Callable[[Sequence[Worker]], ControlError] | None = None,
    ) -> Reply:
        """Return the answer of one worker; `unanswered` makes the error where there is none.

        Raises:
            ControlError: it did not answer, or there is none.
        """
        able = [worker for worker in self._pool.members if worker.listening and not worker.stopped]
        if not able:
            raise _first_refusal([])
        # A worker that has reported lately will hardly hang.
        worker = max(able, key=lambda worker: not worker.silent)
        reply = await worker.call(method, target, body, REPLY_TIMEOUT)
        if reply is None:
            raise (unanswered or _unconfirmed)([worker])
        return reply

    async def disconnect(self, wanted: Disconnect, by: str) -> DisconnectResult:
        """Close all connections of a client, at all workers."""
        target = f"{wanted.target}&{urlencode({'by': by})}"
        if self._messages is None:  # each worker is a node of a Redis, and reaches the others
            return result_of(
                DisconnectResult, *await self._call_one(target, b"", DISCONNECT.method, _unanswered)
            )
        results = await self._call_all(DISCONNECT.method, target)
        told = [reply for reply in results.replies if reply.status == HTTPStatus.OK]
        if count := sum(decode(DisconnectResult, reply.body).connections for reply in told):
            return DisconnectResult(count)
        if results.silent:
            raise _unanswered(results.silent)
        raise not_connected(wanted.client_id)

    async def drain(self, body: bytes, by: str) -> DrainAnswer:
        if self._rolling_upgrade.under_way:
            raise _not_now("the server is being handed over")
        begins, before = not self._pool.ending, self._pool.progress()
        if begins:
            self._on_intervention(Intervention(InterventionKind.BEGUN, by))
        self._pool.mark_ending()
        for worker in self._pool.members:
            if not worker.listening:  # nobody is with it
                worker.send("signal", signum=15)
        results = await self._call_all(DRAIN.method, DRAIN.path, body)
        taken = [result_of(DrainAnswer, *reply) for reply in results.replies if reply.status == HTTPStatus.OK]
        if results.replies and not taken:
            if begins:
                self._pool.cancel_ending()
            raise _first_refusal(results.replies)
        if before and not begins and _timeout(body) is not None:
            step = Intervention(InterventionKind.MOVED, by, before.remaining_s, _remaining(taken))
            self._on_intervention(step)
        # A drain may have ended before it could be told.
        drain = self._pool.progress() or next((each.drain for each in taken), None)
        return DrainAnswer(self.summary().status, drain, results.named_silent)

    async def cancel_drain(self, by: str) -> DrainAnswer:
        replies = (await self._call_all(CANCEL_DRAIN.method, CANCEL_DRAIN.path)).replies
        if all(reply.status != HTTPStatus.OK for reply in replies):
            raise _first_refusal(replies)
        self._pool.cancel_ending()
        self._drained.notify_all()
        self._on_intervention(Intervention(InterventionKind.CANCELLED, by))
        self._on_cancelled()
        return DrainAnswer(Phase.SERVING, None)

    async def wait_drained(self) -> DrainEnd:
        if not self._pool.stopped:
            await self._drained.wait()
        return DrainEnd(self._pool.progress(), int(self._pool.exit_code))

    async def upgrade(self, by: str) -> UpgradeAnswer:
        try:
            self._rolling_upgrade.begin(by)
        except NotDraining as error:
            raise _not_now(str(error)) from None
        return UpgradeAnswer(self._rolling_upgrade.progress())

    async def wait_upgraded(self) -> UpgradeAnswer:
        await self._rolling_upgrade.wait_ended()
        return UpgradeAnswer(self._rolling_upgrade.progress())

    def _phase(self, reports: Sequence[ServerStatus]) -> str:
        phases = {report.status for report in reports}
        if self._pool.ending and (progress := self._pool.progress()):
            return progress.phase
        return next((phase for phase in _PHASES if phase in phases), Phase.STARTING)

    def _recent_reports(self) -> list[ServerStatus]:
        """Return the reports of the workers that do not hang; of all when there are none."""
        reported = [(worker, report) for worker in self._pool.members if (report := worker.status)]
        recent = [report for worker, report in reported if not worker.silent]
        return recent or [report for _, report in reported]

    async def _call_all(self, method: str, path: str, body: bytes = b"") -> "_CallResults":
        """Send a request to all workers. Those known to hang get requests other than GET, for when
        they go on, and are not waited for."""
        members = [worker for worker in self._pool.members if worker.listening]
        open_: dict[Worker, asyncio.Future[Reply | None]] = {
            worker: worker.start_call(method, path, body)
            for worker in members
            if method != "GET" or not worker.silent
        }
        waited = {open_[worker] for worker in open_ if not worker.silent} or set(open_.values())
        if waited:
            done, late = await asyncio.wait(
                waited, timeout=REPLY_TIMEOUT, return_when=asyncio.FIRST_COMPLETED
            )
            if done and late:
                await asyncio.wait(late, timeout=LATE_REPLY_TIMEOUT)
        by_worker = {w: reply for w, future in open_.items() if future.done() and (reply := future.result())}
        gone = {worker for worker, future in open_.items() if future.done()}
        for future in open_.values():
            future.cancel()
        return _CallResults(by_worker, [worker for worker in members if worker not in gone])


class _CallResults(NamedTuple):
    """The answers of workers, and the workers that did not answer, though they live."""

    by_worker: dict[Worker, Reply]
    silent: list[Worker]

    @property
    def replies(self) -> list[Reply]:
        return list(self.by_worker.values())

    @property
    def named_silent(self) -> tuple[SilentWorker, ...] | None:
        """The workers that did not answer; None when all did."""
        return tuple(SilentWorker(worker.number, worker.pid) for worker in self.silent) or None


def _timeout(body: bytes) -> object:
    """Return the timeout in a request that was answered; None when it leaves that to the server."""
    return json.loads(body).get("timeout") if body.strip() else None


def _remaining(answers: Sequence[DrainAnswer]) -> float | None:
    """Return the seconds to the last deadline in the answers."""
    return max((each.drain.remaining_s for each in answers if each.drain), default=None)


def _describe(worker: Worker) -> WorkerStatus:
    report = worker.status
    phase, connections = (report.status, report.connections) if report else (Phase.STARTING, 0)
    own = report.application.connections if report and report.application else 0
    return WorkerStatus(worker.number, worker.pid, phase, connections, worker.silent, own)


def _first_refusal(replies: Sequence[Reply]) -> ControlError:
    """Return the first worker's refusal where all say no."""
    return error_of(*replies[0]) if replies else _not_now("no worker serves at the moment: try again")


def _not_now(why: str) -> ControlError:
    return ControlError(HTTPStatus.CONFLICT, "not_now", why)


def _unanswered(silent: Sequence[Worker]) -> ControlError:
    return no_answer(worker_names(silent))


def _unconfirmed(silent: Sequence[Worker]) -> ControlError:
    text = f"{worker_names(silent)} did not answer: the message may still be delivered"
    return ControlError(HTTPStatus.GATEWAY_TIMEOUT, ErrorCode.UNCONFIRMED, text)
