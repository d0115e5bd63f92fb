"""A load on one or several servers: many sessions that send in turn, until it is over."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wsctl.client.account import BEAT, Account
from wsctl.client.events import Event, Received
from wsctl.client.pointless import pointless
from wsctl.client.publisher import Client, Publisher
from wsctl.client.report import LoadReport
from wsctl.client.rollcall import RollCall
from wsctl.client.session import NotConnected
from wsctl.errors import WsctlError

CONNECTING = 100
"""Handshakes under way at a time: a listener's backlog and the handshake's timeout hold for that many."""

SETTLE = 5.0
"""Longest wait, in seconds, for messages and clients that are on the way when publishing ends."""

LEAVE = 2.0
"""Longest wait, in seconds, for the closing handshakes at the end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The plan of a run: `ids` are the clients, `duration` is in seconds, `rate` in messages a second from
    all of them together, `size` in bytes. `servers` are the names of the servers in messages, in the order in
    which the clients are dealt to them; each has one at least."""

    ids: tuple[str, ...]
    servers: tuple[str, ...]
    duration: float
    rate: float
    size: int

    def server(self, client: int) -> str:
        """Return the client's own server; the client is named by its place."""
        return self.servers[client % len(self.servers)]


class Load:
    """One run of a plan."""

    def __init__(
        self,
        plan: Plan,
        client: Callable[[str], Client],
        *,
        clock: Callable[[], float] = time.monotonic,
        settle: float = SETTLE,
    ) -> None:
        self._plan = plan
        self._clients = [client(name) for name in plan.ids]
        self._clock = clock
        self._patience = settle
        self._account = Account(plan.ids, plan.servers)
        self._roll = RollCall(plan.servers)
        self._tasks: list[asyncio.Task[None]] = []
        self._news = asyncio.Event()
        self._halt = asyncio.Event()
        self._over = False
        self._trouble: Exception | None = None

    @property
    def publishing(self) -> bool:
        """True if all clients were connected and the run has begun."""
        return self._account.began is not None

    @property
    def stopped(self) -> bool:
        """True if `stop` was called."""
        return self._halt.is_set()

    def stop(self) -> None:
        """End publishing now, as if its time were over."""
        self._halt.set()
        self._news.set()

    def report(self) -> LoadReport:
        """Return the run as it stands."""
        return self._account.report(self._clock(), self._over)

    async def run(self) -> None:
        """Connect all clients, publish for the plan's duration, and wait for messages and clients that are on
        the way.

        Raises:
            Unreachable, Refused: a client could not connect, or not stay, before publishing began.
            WsctlError: a server takes no messages from clients, or several are not one.
        """
        try:
            await self._connect()
            if len(self._plan.servers) > 1:
                await self._call_the_roll()
            if not self.stopped:
                await self._publish()
                await self._settle()
        finally:
            await self._leave()
        if self._trouble:
            raise self._trouble

    async def _connect(self) -> None:
        count = len(self._clients)
        for index in range(count):
            self._start(self._attend(index))
            most = CONNECTING if index + 1 < count else 1
            while index + 1 - len(self._account.connected) >= most and not self.stopped:
                await self._change()

    async def _call_the_roll(self) -> None:
        """Check that the servers share their messages. Raises WsctlError when they do not."""
        for client, server in zip(self._clients, self._plan.servers, strict=False):
            with suppress(NotConnected):  # which ends the run with a better reason
                await client.send(self._roll.text(server))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while not (self._roll.complete or self.stopped):
                    await self._change()
        if not self.stopped and (fault := self._roll.fault()):
            raise WsctlError(fault)

    async def _publish(self) -> None:
        self._account.begin(self._clock())
        plan = self._plan
        publisher = Publisher(self._clients, self._account, rate=plan.rate, size=plan.size, clock=self._clock)
        publishing = self._start(publisher.run())
        self._start(self._beat())
        with suppress(TimeoutError):
            async with asyncio.timeout(plan.duration):
                await self._halt.wait()
        publishing.cancel()
        self._account.ended = self._clock()

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._patience):
                while self._awaited() and not self._trouble:
                    await self._change()

    def _awaited(self) -> bool:
        """Tell whether a message is on its way, or a client that may receive one."""
        return len(self._account.connected) < len(self._clients) or self._account.ledger.missed > 0

    async def _leave(self) -> None:
        self._over = True
        closing = [asyncio.create_task(client.close()) for client in self._clients]
        await asyncio.wait(closing, timeout=LEAVE)
        for task in (*closing, *self._tasks):
            task.cancel()
        await asyncio.gather(*closing, *self._tasks, return_exceptions=True)

    async def _change(self) -> None:
        self._news.clear()
        await self._news.wait()

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task whose failure ends the run."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._finished)
        self._tasks.append(task)
        return task

    def _finished(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self._trouble = self._trouble or error
        self.stop()

    async def _beat(self) -> None:
        while True:
            due = self._clock() + BEAT
            await asyncio.sleep(BEAT)
            now = self._clock()
            self._account.beat(now, now - due)

    async def _attend(self, index: int) -> None:
        # Once it is over, events are still taken, for the server's close frame stands behind them.
        async for event in self._clients[index].events():
            if not self._over:
                self._take(index, event)
                self._news.set()

    def _take(self, index: int, event: Event) -> None:
        plan = self._plan
        self._account.take(index, event, self._clock())
        if isinstance(event, Received) and not self.publishing:
            self._roll.hear(self._account.server(index), event.frame)
        trouble = pointless(plan.ids[index], plan.server(index), event, publishing=self.publishing)
        if trouble:
            self._give_up(trouble)
