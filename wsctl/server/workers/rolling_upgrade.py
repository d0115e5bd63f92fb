"""An upgrade of all workers: one after the other hands over to a fresh process."""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from wsctl.drain.graceful import NotDraining, why_no_upgrade
from wsctl.drain.phases import Phase
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.server.condition import Condition
from wsctl.server.workers.pool import WorkerPool
from wsctl.server.workers.worker import Worker, named

log = logging.getLogger("wsctl.workers")

PATIENCE = 10.0
"""Seconds that a worker has to begin its handover."""

Observer = Callable[[HandoverProgress], None]


class RollingUpgradeFailed(Exception):
    """The error raised when an upgrade failed. The workers that are left stay as they are; the text says
    why."""


class RollingUpgrade:
    """Upgrades a team, as often as it is asked. `pid` is the process that serves before and after it.

    `observers` are called when an upgrade begins and when it ends.
    """

    def __init__(
        self, team: WorkerPool, pid: int, clock: Callable[[], float], observers: list[Observer] | None = None
    ) -> None:
        self._team = team
        self._pid = pid
        self._clock = clock
        self._observers = observers or []
        self._over = Condition()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self._ended: HandoverProgress | None = None
        self._done: list[dict[str, Any]] = []
        self._now: Worker | None = None
        self._total = 0

    @property
    def under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, by: str = "program") -> None:
        """Begin with the first worker; `by` says in which way that was asked for.

        Raises:
            NotDraining: it cannot be done now; the text says why.
        """
        if self._team.ending:
            drain = self._team.progress()
            phase = drain.phase if drain else Phase.DRAINING
            raise NotDraining(why_no_upgrade(phase, cancellable=drain is not None and drain.cancellable))
        if self.under_way:
            raise NotDraining("a handover is under way already")
        if not self._team.up.is_set():
            raise NotDraining(why_no_upgrade(Phase.STARTING, cancellable=False))
        if silent := [worker for worker in self._team.members if worker.silent]:
            raise NotDraining(f"{named(silent)} does not answer: end it with kill -9, another one is started")
        log.info("upgrade begun", extra={"fields": {"by": by}})
        self._began, self._ended, self._done = self._clock(), None, []
        self._total = sum(worker.facts.get("connections", 0) for worker in self._team.members)
        self._task = asyncio.create_task(self._run())
        self._tell()

    def changed(self) -> None:
        """Note that a worker has reported something."""
        self._news.set()

    async def ending(self) -> None:
        """Wait until an upgrade has ended, also one that begins only now."""
        await self._over.wait()

    def finish(self) -> None:
        """Release everybody who waits for the end of an upgrade: the server ends."""
        self._over.notify_all()

    def progress(self) -> HandoverProgress | None:
        """Return the upgrade as it stands, or the last one; None when there was none."""
        if self._ended or not self._task:
            return self._ended
        state = HandoverState.MOVING if self._total else HandoverState.STARTING
        return self._sum(state, None)

    def _sum(self, state: HandoverState, error: str | None) -> HandoverProgress:
        under_way = self._now.facts.get("upgrade") if self._now else None
        parts = [*self._done, *([under_way] if under_way else [])]
        return HandoverProgress(
            state=state,
            successor=self._pid,
            total=max(self._total, sum(part["total"] for part in parts)),
            moved=sum(part["moved"] for part in parts),
            staying=sum(part["staying"] for part in parts),
            elapsed_s=round(self._clock() - self._began, 3),
            silence_s=max((part["silence_s"] for part in parts), default=0.0),
            error=error,
        )

    async def _run(self) -> None:
        state, error = HandoverState.DONE, None
        try:
            for slot in self._team.slots:
                # A worker that is to be started again, or is just starting, is as fresh.
                if slot.member and slot.member.listening:
                    await self._replace(slot.member)
        except RollingUpgradeFailed as failed:
            count, of = len(self._done), len(self._team.slots)
            state, error = HandoverState.FAILED, f"{failed}; {count} of {of} workers were replaced"
        self._now = None
        self._ended = self._sum(state, error)
        self._tell()
        self._over.notify_all()

    async def _replace(self, worker: Worker) -> None:
        if self._team.ending:
            raise RollingUpgradeFailed("the server was stopped meanwhile")
        self._now, before = worker, worker.facts.get("upgrade")
        # The process may have been stopped while the others were replaced.
        begun = None if worker.silent else await worker.ask("POST", "/api/upgrade", b"", PATIENCE)
        if begun is None or begun.status != HTTPStatus.ACCEPTED:
            why = _why(begun.body) if begun else "it does not answer"
            raise RollingUpgradeFailed(
                f"{named([worker])}: {why}" if begun is None else f"worker {worker.number}: {why}"
            )
        await self._until_over(worker, before)
        self._done.append(worker.facts["upgrade"])
        self._now = None

    async def _until_over(self, worker: Worker, before: dict[str, Any] | None) -> None:
        """Wait for the end of a worker's handover; `before` is what the worker reported of an earlier one."""
        while True:
            told = worker.facts.get("upgrade")
            state = told["state"] if told and told != before else None
            if state == HandoverState.DONE:
                return
            if told and state == HandoverState.FAILED:
                raise RollingUpgradeFailed(f"worker {worker.number}: {told['error']}")
            if worker.code is not None:
                raise RollingUpgradeFailed(f"worker {worker.number} died in its handover")
            self._news.clear()
            await self._news.wait()

    def _tell(self) -> None:
        progress = self.progress()
        if progress:
            for observer in self._observers:
                observer(progress)


def _why(body: dict[str, Any]) -> str:
    return str(body.get("error", {}).get("message", "it refuses"))
