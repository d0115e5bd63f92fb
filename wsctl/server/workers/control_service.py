"""The control API of all workers together: the requests that a worker answers for itself, answered for
all."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from wsctl import __version__
from wsctl.codes import ErrorCode
from wsctl.control.operations import METRICS
from wsctl.drain.graceful import NotDraining
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.phases import Phase
from wsctl.ipc.rpc import Reply
from wsctl.server.condition import Condition
from wsctl.server.http.semantics import error_body
from wsctl.server.metrics.family import Family, decode_families, encode_families, merge_workers
from wsctl.server.workers import status_merge
from wsctl.server.workers.pool import WorkerPool
from wsctl.server.workers.rolling_upgrade import RollingUpgrade
from wsctl.server.workers.worker import Facts, Worker, worker_names

CONTROL_SOCKET = "control socket"
"""The name of the way in which requests come from this machine."""

REPLY_TIMEOUT = 2.0
"""Seconds that a worker has to answer; then the others' answers have to do: one that hangs must not hang
them."""

LATE_REPLY_TIMEOUT = 0.8
"""Seconds that the others have once one has answered: workers that do not hang have as much to do as that
one."""

_PHASES = (Phase.STARTING, Phase.SERVING, Phase.HANDOVER, Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING)
"""The phases from the first to the last: all together are as far as the one that is furthest behind."""


class ControlService:
    """Answers requests. `isolated` says whether the workers share no messages. `on_cancelled` is called when
    a drain was cancelled, `on_intervention` with each step of an operator."""

    def __init__(
        self,
        pool: WorkerPool,
        upgrade: RollingUpgrade,
        pid: int,
        clock: Callable[[], float],
        on_cancelled: Callable[[], None],
        *,
        isolated: bool,
        on_intervention: Callable[[Intervention], None] = lambda step: None,
    ) -> None:
        self._pool = pool
        self._upgrade = upgrade
        self._pid = pid
        self._clock = clock
        self._on_cancelled = on_cancelled
        self._isolated = isolated
        self._on_intervention = on_intervention
        self._drained = Condition()
        self._started = clock()

    async def answer(self, method: str, path: str, body: bytes) -> Reply:
        """Answer one request; in its query a worker tells in which way it was results."""
        at = urlsplit(path)
        by = parse_qs(at.query).get("by", [CONTROL_SOCKET])[0]
        match method, at.path:
            case "GET", "/api/status":
                return Reply(HTTPStatus.OK, await self.status("clients=true" in at.query))
            case "GET", METRICS.path:
                return await self._metrics()
            case "POST", "/api/broadcast":
                return await self._broadcast(body)
            case "POST" | "DELETE" | "GET", "/api/drain":
                drain = {"POST": self._start_drain, "DELETE": self._cancel_drain, "GET": self._wait_drained}
                return await drain[method](body, by)
            case "POST" | "GET", "/api/upgrade":
                return self._start_upgrade(by) if method == "POST" else await self._wait_upgraded()
        return _error(HTTPStatus.NOT_FOUND, "not_found", f"{method} {at.path}: there is no such thing")

    def workers_changed(self) -> None:
        """Answer those who wait for the end, if a worker has reported that it is reached."""
        if self._pool.stopped:
            self.release_waiters()

    def release_waiters(self) -> None:
        """Answer everybody who waits: the server ends."""
        self._drained.notify_all()
        self._upgrade.release_waiters()

    def facts(self) -> Facts:
        """Return the status of all together, as they reported last: counts and rates are sums, but for what
        they share."""
        reports = [worker.facts for worker in self._pool.members if worker.facts]
        limits = [facts["capacity"] for facts in reports]
        return {
            "status": self._phase(reports),
            "connections": status_merge.sum_field(reports, "connections"),
            "uptime_s": round(self._clock() - self._started, 3),
            "version": __version__,
            "pid": self._pid,
            "capacity": sum(limits) if limits and all(limits) else None,
            "closing": status_merge.sum_field(reports, "closing"),
            "newest_id": status_merge.newest_id(reports),
            **(
                status_merge.merge_separate(reports)
                if self._isolated
                else status_merge.merge_shared(reports, self._recent_reports())
            ),
            "drain": self._drain_fields(),
            "generation": 1,
            "upgrade": self._upgrade_fields(),
            "workers": _rows(self._pool.members),
        }

    async def status(self, clients: bool) -> Facts:
        """Return `facts`; with `clients`, also those of all workers that answer, the ones connected longest
        first."""
        if not clients:
            return self.facts()
        results = await self._call_all("GET", "/api/status?clients=true")
        found = status_merge.merge_clients([a.body for a in results.replies if "clients" in a.body])
        facts = self.facts() | {"clients": found}
        silent = {worker.number for worker in results.silent}
        facts["workers"] = [row | {"silent": row["number"] in silent} for row in facts["workers"]]
        return facts

    async def _metrics(self) -> Reply:
        """Return the metrics of all workers, as in the status without those that were succeeded and still
        drain."""
        found: dict[int, list[Family] | None] = {slot.number: None for slot in self._pool.slots}
        for worker, reply in (await self._call_all("GET", METRICS.path)).by_worker.items():
            if reply.status == HTTPStatus.OK:
                found[worker.number] = decode_families(reply.body)
        return Reply(HTTPStatus.OK, encode_families(merge_workers(found)))

    def _phase(self, reports: Sequence[Facts]) -> str:
        phases = {facts["status"] for facts in reports}
        if self._pool.ending and (progress := self._pool.progress()):
            return progress.phase
        return next((phase for phase in _PHASES if phase in phases), Phase.STARTING)

    def _drain_fields(self) -> Facts | None:
        progress = self._pool.progress()
        return asdict(progress) if progress else None

    def _upgrade_fields(self) -> Facts | None:
        progress = self._upgrade.progress()
        return asdict(progress) if progress else None

    async def _broadcast(self, body: bytes) -> Reply:
        """Send to the clients of each worker; the id is the first one's. Where workers share messages, one
        publishes."""
        if not self._isolated:
            return await self._publish(body)
        results = await self._call_all("POST", "/api/broadcast", body)
        taken = [answer for answer in results.replies if answer.status == HTTPStatus.OK]
        if not taken:
            return _unconfirmed(results.silent) if results.silent else _first_refusal(results.replies)
        recipients = sum(answer.body["recipients"] for answer in taken)
        return Reply(HTTPStatus.OK, taken[0].body | {"recipients": recipients} | results.silent_field)

    async def _publish(self, body: bytes) -> Reply:
        """Publish by one worker, and by no other when it does not answer: the message may have been
        published."""
        able = [worker for worker in self._pool.members if worker.listening and not worker.stopped]
        if not able:
            return _first_refusal([])
        # A worker that has reported lately will hardly hang.
        worker = max(able, key=lambda worker: not worker.silent)
        answer = await worker.call("POST", "/api/broadcast", body, REPLY_TIMEOUT)
        return answer or _unconfirmed([worker])

    def _recent_reports(self) -> list[Facts]:
        """Return the facts of the workers that do not hang; of all when there are none."""
        reported = [worker for worker in self._pool.members if worker.facts]
        return [worker.facts for worker in reported if not worker.silent] or [w.facts for w in reported]

    async def _start_drain(self, body: bytes, by: str) -> Reply:
        if self._upgrade.under_way:
            return _error(HTTPStatus.CONFLICT, "not_now", "the server is being handed over")
        begins, before = not self._pool.ending, self._pool.progress()
        if begins:
            self._on_intervention(Intervention(InterventionKind.BEGUN, by))
        self._pool.mark_ending()
        for worker in self._pool.members:
            if not worker.listening:  # nobody is with it
                worker.send("signal", signum=15)
        results = await self._call_all("POST", "/api/drain", body)
        answers = results.replies
        if answers and all(answer.status != HTTPStatus.OK for answer in answers):
            if begins:
                self._pool.cancel_ending()
            return _first_refusal(answers)
        if before and not begins and _timeout(body) is not None:
            self._on_intervention(
                Intervention(InterventionKind.MOVED, by, before.remaining_s, _remaining(answers))
            )
        reply = self._drain_reply(answers)
        return reply._replace(body=reply.body | results.silent_field)

    async def _cancel_drain(self, body: bytes, by: str) -> Reply:
        answers = (await self._call_all("DELETE", "/api/drain")).replies
        if all(answer.status != HTTPStatus.OK for answer in answers):
            return _first_refusal(answers)
        self._pool.cancel_ending()
        self._drained.notify_all()
        self._on_intervention(Intervention(InterventionKind.CANCELLED, by))
        self._on_cancelled()
        return Reply(HTTPStatus.OK, {"status": Phase.SERVING, "drain": None})

    async def _wait_drained(self, body: bytes, by: str) -> Reply:
        if not self._pool.stopped:
            await self._drained.wait()
        exit_code = int(self._pool.exit_code)
        return Reply(HTTPStatus.OK, {"drain": self._drain_fields(), "exit_code": exit_code})

    def _drain_reply(self, answers: Sequence[Reply]) -> Reply:
        progress = self._drain_fields()
        if progress is None:  # it ended before it could be told
            progress = next((answer.body["drain"] for answer in answers if "drain" in answer.body), None)
        return Reply(HTTPStatus.OK, {"status": self.facts()["status"], "drain": progress})

    def _start_upgrade(self, by: str) -> Reply:
        try:
            self._upgrade.begin(by)
        except NotDraining as error:
            return _error(HTTPStatus.CONFLICT, "not_now", str(error))
        return Reply(HTTPStatus.ACCEPTED, {"upgrade": self._upgrade_fields()})

    async def _wait_upgraded(self) -> Reply:
        await self._upgrade.wait_ended()
        return Reply(HTTPStatus.OK, {"upgrade": self._upgrade_fields()})

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
    def silent_field(self) -> Facts:
        """The workers that did not answer, as a field of the answer; nothing when all did."""
        silent = [{"number": worker.number, "pid": worker.pid} for worker in self.silent]
        return {"silent": silent} if silent else {}


def _rows(workers: Iterable[Worker]) -> list[Facts]:
    return [_row(worker) for worker in workers]


def _timeout(body: bytes) -> object:
    """Return the timeout in a request that was answered; None when it leaves that to the server."""
    return json.loads(body).get("timeout") if body.strip() else None


def _remaining(answers: Sequence[Reply]) -> float | None:
    """Return the seconds to the last deadline in the answers."""
    drains = [answer.body["drain"] for answer in answers if answer.body.get("drain")]
    return max((drain["remaining_s"] for drain in drains), default=None)


def _row(worker: Worker) -> Facts:
    facts = worker.facts
    return {
        "number": worker.number,
        "pid": worker.pid,
        "status": facts.get("status", Phase.STARTING),
        "connections": facts.get("connections", 0),
        "silent": worker.silent,
    }


def _first_refusal(answers: Sequence[Reply]) -> Reply:
    """Return the first worker's answer where all say no."""
    gone = _error(HTTPStatus.CONFLICT, "not_now", "no worker serves at the moment: try again")
    return answers[0] if answers else gone


def _unconfirmed(silent: Sequence[Worker]) -> Reply:
    text = f"{worker_names(silent)} did not answer: the message may still be delivered"
    return _error(HTTPStatus.GATEWAY_TIMEOUT, ErrorCode.UNCONFIRMED, text)


def _error(status: HTTPStatus, code: str, message: str) -> Reply:
    return Reply(status, error_body(code, message))
