"""An upgrade of a parent and all workers: the parent renews itself, then one worker after the other hands
over to a fresh process.

The parent comes first: the new program can know how the old one spoke with its workers, and the old one
cannot know how new workers will. Fresh workers meet a parent of their own version.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
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

STOPPED_MEANWHILE = "the server was stopped meanwhile"

Observer = Callable[[HandoverProgress], None]


async def no_renewal() -> None:
    """Leave the parent as it is."""


@dataclass(frozen=True, slots=True)
class UpgradeState:
    """An upgrade whose workers are still to be replaced, so that the same parent can go on with it as another
    program: when it began, and how many clients were connected then."""

    began: float
    total: int


class RollingUpgradeFailed(Exception):
    """The error raised when an upgrade failed. The workers that are left stay as they are; the text says
    why."""


class RollingUpgrade:
    """Upgrades the workers of a pool, as often as it is asked.

    `pid` is the process that serves before and after it. `observers` are called when an upgrade begins
    and when it ends. `renew` renews the parent: it does not return where the process goes on as another
    program, and raises `RollingUpgradeFailed` where it cannot.
    """

    def __init__(
        self,
        pool: WorkerPool,
        pid: int,
        clock: Callable[[], float],
        observers: list[Observer] | None = None,
        renew: Callable[[], Awaitable[None]] = no_renewal,
    ) -> None:
        self._pool = pool
        self._pid = pid
        self._clock = clock
        self._observers = observers or []
        self._renew = renew
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
            raise NotDraining(_describe_silent(silent))
        log.info("upgrade begun", extra={"fields": {"by": by}})
        self._began, self._ended, self._done = self._clock(), None, []
        self._total = sum(worker.status.connections for worker in self._pool.members if worker.status)
        self._pool.set_upgrading(True)
        self._task = asyncio.create_task(self._run(self._renew_and_replace))
        self._notify()

    def state(self) -> UpgradeState:
        """Return how the upgrade stands that is under way."""
        return UpgradeState(self._began, self._total)

    def go_on(self, state: UpgradeState, ready: asyncio.Event) -> None:
        """Replace the workers once the parent, which is renewed, is `ready`."""

        async def replace_all() -> None:
            await ready.wait()
            await self._replace_all()

        self._began, self._total = state.began, state.total
        self._pool.set_upgrading(True)
        self._task = asyncio.create_task(self._run(replace_all))

    async def close(self) -> None:
        """Give up what is under way: the server ends."""
        if self._task and self.under_way:
            self._task.cancel()
            await asyncio.wait([self._task])
            self._end(HandoverState.FAILED, STOPPED_MEANWHILE)

    def workers_changed(self) -> None:
        """Note that a worker has reported something."""
        self._changed.notify_all()

    async def wait_ended(self) -> None:
        """Wait until an upgrade has ended, also one that begins only now."""
        await self._over.wait()

    def release_waiters(self) -> None:
        """Release everybody who waits for the end of an upgrade that did not begin: the server ends."""
        if not self.under_way:
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

    async def _run(self, upgrade: Callable[[], Awaitable[None]]) -> None:
        state, error = HandoverState.DONE, None
        try:
            await upgrade()
        except RollingUpgradeFailed as failed:
            count, of = len(self._done), len(self._pool.slots)
            state, error = HandoverState.FAILED, f"{failed}; {count} of {of} workers were replaced"
        self._end(state, error)

    def _end(self, state: HandoverState, error: str | None) -> None:
        self._pool.set_upgrading(False)
        self._current = None
        self._ended = self._summarize(state, error)
        self._notify()
        self._over.notify_all()

    async def _renew_and_replace(self) -> None:
        await self._renew()
        await self._replace_all()

    async def _replace_all(self) -> None:
        for slot in self._pool.slots:
            if self._pool.ending:  # also when none is left to be asked
                raise RollingUpgradeFailed(STOPPED_MEANWHILE)
            # A worker that is to be started again, or is just starting, is as fresh.
            if slot.member and slot.member.listening:
                await self._replace(slot.member)

    async def _replace(self, worker: Worker) -> None:
        self._current, before = worker, worker.upgrade
        # The process may have been stopped while the others were replaced.
        begun = None if worker.silent else await worker.call("POST", "/api/upgrade", b"", START_TIMEOUT)
        if self._pool.ending:
            raise RollingUpgradeFailed(STOPPED_MEANWHILE)
        if begun is None and worker.ended:
            return  # before anything was asked of it: the one that takes its place is as fresh
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


def _describe_silent(workers: list[Worker]) -> str:
    if len(workers) == 1:
        return f"{worker_names(workers)} does not answer: end it with kill -9, another one is started"
    return f"{worker_names(workers)} do not answer: end them with kill -9, others are started"


def _refusal_reason(body: dict[str, Any]) -> str:
    return str(body.get("error", {}).get("message", "it refuses"))
