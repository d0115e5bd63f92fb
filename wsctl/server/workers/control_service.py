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
from wsctl.drain.graceful import NotDraining
from wsctl.drain.interventions import Intervention, InterventionKind
from wsctl.drain.phases import Phase
from wsctl.ipc.rpc import Reply
from wsctl.server import metrics
from wsctl.server.answers import error_body
from wsctl.server.condition import Condition
from wsctl.server.metrics.family import Family, merge_workers, read, told
from wsctl.server.workers import status_merge
from wsctl.server.workers.pool import WorkerPool
from wsctl.server.workers.rolling_upgrade import RollingUpgrade
from wsctl.server.workers.worker import Facts, Worker, named

CONTROL_SOCKET = "control socket"
"""The name of the way in which requests come from this machine."""

PATIENCE = 2.0
"""Seconds that a worker has to answer; then the others' answers have to do: one that hangs must not hang
them."""

SOON = 0.8
"""Seconds that the others have once one has answered: workers that do not hang have as much to do as that
one."""

_AGES = (Phase.STARTING, Phase.SERVING, Phase.HANDOVER, Phase.LAMEDUCK, Phase.DRAINING, Phase.CLOSING)
"""The phases from the first to the last: all together are as far as the one that is furthest behind."""


class ControlService:
    """Answers requests. `cancelled` is called when a drain was cancelled. `islands` says whether the workers
    share no messages; `intervened` is called with each step of an operator."""

    def __init__(
        self,
        team: WorkerPool,
        rolling: RollingUpgrade,
        pid: int,
        clock: Callable[[], float],
        cancelled: Callable[[], None],
        *,
        islands: bool,
        intervened: Callable[[Intervention], None] = lambda step: None,
    ) -> None:
        self._team = team
        self._rolling = rolling
        self._pid = pid
        self._clock = clock
        self._cancelled = cancelled
        self._islands = islands
        self._intervened = intervened
        self._drained = Condition()
        self._started = clock()

    async def answer(self, method: str, path: str, body: bytes) -> Reply:
        """Answer one request; in its query a worker tells in which way it was asked."""
        at = urlsplit(path)
        by = parse_qs(at.query).get("by", [CONTROL_SOCKET])[0]
        match method, at.path:
            case "GET", "/api/status":
                return Reply(HTTPStatus.OK, await self.status("clients=true" in at.query))
            case "GET", metrics.OWN:
                return await self._metrics()
            case "POST", "/api/broadcast":
                return await self._broadcast(body)
            case "POST" | "DELETE" | "GET", "/api/drain":
                drain = {"POST": self._drain, "DELETE": self._cancel, "GET": self._wait_drained}
                return await drain[method](body, by)
            case "POST" | "GET", "/api/upgrade":
                return self._upgrade(by) if method == "POST" else await self._upgraded()
        return _error(HTTPStatus.NOT_FOUND, "not_found", f"{method} {at.path}: there is no such thing")

    def changed(self) -> None:
        """Answer those who wait for the end, if a worker has reported that it is reached."""
        if self._team.stopped:
            self.finish()

    def finish(self) -> None:
        """Answer everybody who waits: the server ends."""
        self._drained.notify_all()
        self._rolling.finish()

    def facts(self) -> Facts:
        """Return the status of all together, as they reported last: counts and rates are sums, but for what
        they share."""
        team = [worker.facts for worker in self._team.members if worker.facts]
        limits = [facts["capacity"] for facts in team]
        return {
            "status": self._phase(team),
            "connections": status_merge.total(team, "connections"),
            "uptime_s": round(self._clock() - self._started, 3),
            "version": __version__,
            "pid": self._pid,
            "capacity": sum(limits) if limits and all(limits) else None,
            "closing": status_merge.total(team, "closing"),
            "newest_id": status_merge.newest(team),
            **(status_merge.alone(team) if self._islands else status_merge.shared(team, self._heard())),
            "drain": self._progress(),
            "generation": 1,
            "upgrade": self._handover(),
            "workers": _rows(self._team.members),
        }

    async def status(self, clients: bool) -> Facts:
        """Return `facts`; with `clients`, also those of all workers that answer, the ones connected longest
        first."""
        if not clients:
            return self.facts()
        asked = await self._ask_all("GET", "/api/status?clients=true")
        found = status_merge.clients([a.body for a in asked.answers if "clients" in a.body])
        facts = self.facts() | {"clients": found}
        silent = {worker.number for worker in asked.silent}
        facts["workers"] = [row | {"silent": row["number"] in silent} for row in facts["workers"]]
        return facts

    async def _metrics(self) -> Reply:
        """Return the metrics of all workers, as in the status without those that were succeeded and still
        drain."""
        found: dict[int, list[Family] | None] = {slot.number: None for slot in self._team.slots}
        for worker, reply in (await self._ask_all("GET", metrics.OWN)).told.items():
            if reply.status == HTTPStatus.OK:
                found[worker.number] = read(reply.body)
        return Reply(HTTPStatus.OK, told(merge_workers(found)))

    def _phase(self, team: Sequence[Facts]) -> str:
        phases = {facts["status"] for facts in team}
        if self._team.ending and (progress := self._team.progress()):
            return progress.phase
        return next((phase for phase in _AGES if phase in phases), Phase.STARTING)

    def _progress(self) -> Facts | None:
        progress = self._team.progress()
        return asdict(progress) if progress else None

    def _handover(self) -> Facts | None:
        progress = self._rolling.progress()
        return asdict(progress) if progress else None

    async def _broadcast(self, body: bytes) -> Reply:
        """Send to the clients of each worker; the id is the first one's. Where workers share messages, one
        publishes."""
        if not self._islands:
            return await self._publish(body)
        asked = await self._ask_all("POST", "/api/broadcast", body)
        taken = [answer for answer in asked.answers if answer.status == HTTPStatus.OK]
        if not taken:
            return _unconfirmed(asked.silent) if asked.silent else _first(asked.answers)
        recipients = sum(answer.body["recipients"] for answer in taken)
        return Reply(HTTPStatus.OK, taken[0].body | {"recipients": recipients} | asked.naming)

    async def _publish(self, body: bytes) -> Reply:
        """Publish by one worker, and by no other when it does not answer: the message may have been
        published."""
        able = [worker for worker in self._team.members if worker.listening and not worker.stopped]
        if not able:
            return _first([])
        # A worker that has reported lately will hardly hang.
        worker = max(able, key=lambda worker: not worker.silent)
        answer = await worker.ask("POST", "/api/broadcast", body, PATIENCE)
        return answer or _unconfirmed([worker])

    def _heard(self) -> list[Facts]:
        """Return the facts of the workers that do not hang; of all when there are none."""
        told = [worker for worker in self._team.members if worker.facts]
        return [worker.facts for worker in told if not worker.silent] or [w.facts for w in told]

    async def _drain(self, body: bytes, by: str) -> Reply:
        if self._rolling.under_way:
            return _error(HTTPStatus.CONFLICT, "not_now", "the server is being handed over")
        begins, before = not self._team.ending, self._team.progress()
        if begins:
            self._intervened(Intervention(InterventionKind.BEGUN, by))
        self._team.end()
        for worker in self._team.members:
            if not worker.listening:  # nobody is with it
                worker.tell("signal", signum=15)
        asked = await self._ask_all("POST", "/api/drain", body)
        answers = asked.answers
        if answers and all(answer.status != HTTPStatus.OK for answer in answers):
            if begins:
                self._team.go_on()
            return _first(answers)
        if before and not begins and _timeout(body) is not None:
            self._intervened(
                Intervention(InterventionKind.MOVED, by, before.remaining_s, _remaining(answers))
            )
        standing = self._standing(answers)
        return standing._replace(body=standing.body | asked.naming)

    async def _cancel(self, body: bytes, by: str) -> Reply:
        answers = (await self._ask_all("DELETE", "/api/drain")).answers
        if all(answer.status != HTTPStatus.OK for answer in answers):
            return _first(answers)
        self._team.go_on()
        self._drained.notify_all()
        self._intervened(Intervention(InterventionKind.CANCELLED, by))
        self._cancelled()
        return Reply(HTTPStatus.OK, {"status": Phase.SERVING, "drain": None})

    async def _wait_drained(self, body: bytes, by: str) -> Reply:
        if not self._team.stopped:
            await self._drained.wait()
        exit_code = int(self._team.exit_code)
        return Reply(HTTPStatus.OK, {"drain": self._progress(), "exit_code": exit_code})

    def _standing(self, answers: Sequence[Reply]) -> Reply:
        progress = self._progress()
        if progress is None:  # it ended before it could be told
            progress = next((answer.body["drain"] for answer in answers if "drain" in answer.body), None)
        return Reply(HTTPStatus.OK, {"status": self.facts()["status"], "drain": progress})

    def _upgrade(self, by: str) -> Reply:
        try:
            self._rolling.begin(by)
        except NotDraining as error:
            return _error(HTTPStatus.CONFLICT, "not_now", str(error))
        return Reply(HTTPStatus.ACCEPTED, {"upgrade": self._handover()})

    async def _upgraded(self) -> Reply:
        await self._rolling.ending()
        return Reply(HTTPStatus.OK, {"upgrade": self._handover()})

    async def _ask_all(self, method: str, path: str, body: bytes = b"") -> "_Asked":
        """Ask all workers. Those known to hang get requests other than GET, for when they go on, and are not
        waited for."""
        members = [worker for worker in self._team.members if worker.listening]
        open_: dict[Worker, asyncio.Future[Reply | None]] = {
            worker: worker.begin(method, path, body)
            for worker in members
            if method != "GET" or not worker.silent
        }
        waited = {open_[worker] for worker in open_ if not worker.silent} or set(open_.values())
        if waited:
            done, late = await asyncio.wait(waited, timeout=PATIENCE, return_when=asyncio.FIRST_COMPLETED)
            if done and late:
                await asyncio.wait(late, timeout=SOON)
        told = {w: reply for w, future in open_.items() if future.done() and (reply := future.result())}
        gone = {worker for worker, future in open_.items() if future.done()}
        for future in open_.values():
            future.cancel()
        return _Asked(told, [worker for worker in members if worker not in gone])


class _Asked(NamedTuple):
    """The answers of workers, and the workers that did not answer, though they live."""

    told: dict[Worker, Reply]
    silent: list[Worker]

    @property
    def answers(self) -> list[Reply]:
        return list(self.told.values())

    @property
    def naming(self) -> Facts:
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


def _first(answers: Sequence[Reply]) -> Reply:
    """Return the first worker's answer where all say no."""
    gone = _error(HTTPStatus.CONFLICT, "not_now", "no worker serves at the moment: try again")
    return answers[0] if answers else gone


def _unconfirmed(silent: Sequence[Worker]) -> Reply:
    text = f"{named(silent)} did not answer: the message may still be delivered"
    return _error(HTTPStatus.GATEWAY_TIMEOUT, ErrorCode.UNCONFIRMED, text)


def _error(status: HTTPStatus, code: str, message: str) -> Reply:
    return Reply(status, error_body(code, message))
