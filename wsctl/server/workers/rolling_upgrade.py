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
from wsctl.server.workers.worker import Worker, worker_names

log = logging.getLogger("wsctl.workers")

START_TIMEOUT = 10.0
"""Seconds that a worker has to begin its handover."""

Observer = Callable[[HandoverProgress], None]


class RollingUpgradeFailed(Exception):
    """The error raised when an upgrade failed. The workers that are left stay as they are; the text says
    why."""


class RollingUpgrade:
    """Upgrades the workers of a pool, as often as it is asked.

    `pid` is the process that serves before and after it. `observers` are called when an upgrade begins
    and when it ends.
    """

    def __init__(
        self, pool: WorkerPool, pid: int, clock: Callable[[], float], observers: list[Observer] | None = None
    ) -> None:
        self._pool = pool
        self._pid = pid
        self._clock = clock
        self._observers = observers or []
        self._over = Condition()
        self._changed = Condition()
        self._task: asyncio.Task[None] | None = None
        self._began = 0.0
        self._ended: HandoverProgress | None = None
        self._done: list[HandoverProgress] = []
        self._current: Worker | None = None
        self._total = 0

    @property
    def under_way(self) -> bool:
        return self._task is not None and not self._task.done()

    def begin(self, by: str = "program") -> None:
        """Begin with the first worker; `by` says in which way that was asked for.

        Raises:
            NotDraining: it cannot be done now; the text says why.
        """
        if self._pool.ending:
            drain = self._pool.progress()
            phase = drain.phase if drain else Phase.DRAINING
            raise NotDraining(why_no_upgrade(phase, cancellable=drain is not None and drain.cancellable))
        if self.under_way:
            raise NotDraining("a handover is under way already")
        if not self._pool.up.is_set():
            raise NotDraining(why_no_upgrade(Phase.STARTING, cancellable=False))
        if silent := [worker for worker in self._pool.members if worker.silent]:
            raise NotDraining(
                f"{worker_names(silent)} does not answer: end it with kill -9, another one is started"
            )
        log.info("upgrade begun", extra={"fields": {"by": by}})
        self._began, self._ended, self._done = self._clock(), None, []
        self._total = sum(worker.status.connections for worker in self._pool.members if worker.status)
        self._task = asyncio.create_task(self._run())
        self._notify()

    def workers_changed(self) -> None:
        """Note that a worker has reported something."""
        self._changed.notify_all()

    async def wait_ended(self) -> None:
        """Wait until an upgrade has ended, also one that begins only now."""
        await self._over.wait()

    def release_waiters(self) -> None:
        """Release everybody who waits for the end of an upgrade: the server ends."""
        self._over.notify_all()

    def progress(self) -> HandoverProgress | None:
        """Return the upgrade as it stands, or the last one; None when there was none."""
        if self._ended or not self._task:
            return self._ended
        state = HandoverState.MOVING if self._total else HandoverState.STARTING
        return self._summarize(state, None)

    def _summarize(self, state: HandoverState, error: str | None) -> HandoverProgress:
        under_way = self._current.upgrade if self._current else None
        parts = [*self._done, *([under_way] if under_way else [])]
        return HandoverProgress(
            state=state,
            successor=self._pid,
            total=max(self._total, sum(part.total for part in parts)),
            moved=sum(part.moved for part in parts),
            staying=sum(part.staying for part in parts),
            elapsed_s=round(self._clock() - self._began, 3),
            silence_s=max((part.silence_s for part in parts), default=0.0),
            error=error,
        )

    async def _run(self) -> None:
        state, error = HandoverState.DONE, None
        try:
            for slot in self._pool.slots:
                # A worker that is to be started again, or is just starting, is as fresh.
                if slot.member and slot.member.listening:
                    await self._replace(slot.member)
        except RollingUpgradeFailed as failed:
            count, of = len(self._done), len(self._pool.slots)
            state, error = HandoverState.FAILED, f"{failed}; {count} of {of} workers were replaced"
        self._current = None
        self._ended = self._summarize(state, error)
        self._notify()
        self._over.notify_all()

    async def _replace(self, worker: Worker) -> None:
        if self._pool.ending:
            raise RollingUpgradeFailed("the server was stopped meanwhile")
        self._current, before = worker, worker.upgrade
        # The process may have been stopped while the others were replaced.
        begun = None if worker.silent else await worker.call("POST", "/api/upgrade", b"", START_TIMEOUT)
        if begun is None or begun.status != HTTPStatus.ACCEPTED:
            why = _refusal_reason(begun.body) if begun else "it does not answer"
            raise RollingUpgradeFailed(
                f"{worker_names([worker])}: {why}" if begun is None else f"worker {worker.number}: {why}"
            )
        await self._wait_handover(worker, before)
        if worker.upgrade:
            self._done.append(worker.upgrade)
        self._current = None

    async def _wait_handover(self, worker: Worker, before: HandoverProgress | None) -> None:
        """Wait for the end of a worker's handover; `before` is what the worker reported of an earlier one."""
        while True:
            upgrade = worker.upgrade
            state = upgrade.state if upgrade and upgrade != before else None
            if state == HandoverState.DONE:
                return
            if upgrade and state == HandoverState.FAILED:
                raise RollingUpgradeFailed(f"worker {worker.number}: {upgrade.error}")
            if worker.code is not None:
                raise RollingUpgradeFailed(f"worker {worker.number} died in its handover")
            await self._changed.wait()

    def _notify(self) -> None:
        progress = self.progress()
        if progress:
            for observer in self._observers:
                observer(progress)


def _refusal_reason(body: dict[str, Any]) -> str:
    return str(body.get("error", {}).get("message", "it refuses"))
