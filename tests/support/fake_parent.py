"""A parent's pool of workers that are no processes, its control service and its upgrades."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from tests.support.fake_worker import FakeWorker, FakeWorkers, fake_workers
from tests.support.server import DEADLINE
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, HandoverProgress
from wsctl.ipc.rpc import Reply
from wsctl.log.message_log import MessageLog
from wsctl.server.journal_monitor import monitor_journal
from wsctl.server.workers.group_control import GroupControl
from wsctl.server.workers.pool import WorkerPool
from wsctl.server.workers.rolling_upgrade import RollingUpgrade, no_renewal

PID = 1000
"""Of the parent."""

LONGEST = 100.0
"""Seconds of a drain of which no worker has told."""


def draining(active: int, phase: Phase = Phase.DRAINING, **facts: object) -> dict[str, object]:
    """A worker's account of a drain that began with four; `facts` are of the drain."""
    progress = DrainProgress(
        phase=phase,
        reason="SIGTERM",
        cancellable=False,
        started_with=4,
        active=active,
        elapsed_s=1.0,
        remaining_s=9.0,
        left=4 - active,
        evicted=0,
        forced=0,
        aborted=0,
        undelivered=0,
        oldest=None,
    )
    return {"status": phase, "connections": active, "drain": asdict(progress) | facts}


class FakeParent:
    """What a parent has. `now` is its clock, `renew` how it renews itself."""

    def __init__(
        self, count: int, workers: FakeWorkers, listening: socket.socket, messages: MessageLog | None
    ) -> None:
        self.now = 0.0
        self.renew: Callable[[], Awaitable[None]] = no_renewal
        self.workers = workers
        self.cancelled = 0
        self.told: list[HandoverProgress] = []
        self._news = asyncio.Event()
        fds = [listening.fileno()]
        self.pool = WorkerPool(
            count,
            self._spawn,
            {"parent": PID},
            fds,
            drain_timeout=LONGEST,
            handler=self._answer,
            clock=lambda: self.now,
            on_change=self._changed,
        )
        self.upgrade = RollingUpgrade(self.pool, PID, lambda: self.now, [self.told.append], self._renew)
        self.control = GroupControl(
            self.pool,
            self.upgrade,
            PID,
            lambda: self.now,
            self._cancelled,
            messages=messages,
            journal=monitor_journal(messages, lambda: self.now) if messages else None,
        )

    async def until(self, true: Callable[[], object]) -> None:
        """Wait until it is so; it is looked at whenever a worker tells something or is made."""
        async with asyncio.timeout(DEADLINE):
            while not true():
                self._news.clear()
                await self._news.wait()

    async def serving(self) -> list[FakeWorker]:
        """All workers, once the pool knows that they serve."""
        self.pool.start()
        for worker in self.workers.made:
            worker.serves()
        await self.until(self.pool.up.is_set)
        return self.workers.made

    def dies(self, worker: FakeWorker, code: int = -9) -> None:
        worker.dies(code)
        self.pool.reap()

    def _spawn(self, channel: int, predecessor: int | None) -> Any:
        self._news.set()
        return self.workers.spawn(channel, predecessor)

    def _changed(self) -> None:
        self.upgrade.workers_changed()
        self.control.workers_changed()
        self._news.set()

    async def _renew(self) -> None:
        await self.renew()

    def _cancelled(self) -> None:
        self.cancelled += 1

    async def _answer(self, method: str, path: str, body: bytes) -> Reply:
        return await self.control.answer(method, path, body)


@asynccontextmanager
async def fake_parent(count: int = 2, messages: MessageLog | None = None) -> AsyncIterator[FakeParent]:
    with fake_workers() as workers, socket.create_server(("127.0.0.1", 0)) as listening:
        found = FakeParent(count, workers, listening, messages)
        try:
            yield found
        finally:
            found.pool.mark_ending()
            for worker in workers.made:
                worker.dies()
            found.pool.reap()
            await found.until(lambda: not found.pool.all_workers)
            found.pool.close()
