"""One stress run: many sessions that send in turn at a steady rate, on one or several servers, until it is
over."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from wsctl.client.events import Event, Received
from wsctl.client.session import NotConnected
from wsctl.errors import WsctlError
from wsctl.stress.faults import ClusterCheck, fatal_error
from wsctl.stress.report import StressReport
from wsctl.stress.statistics import SAMPLE_INTERVAL, RunStatistics
from wsctl.stress.topic_plan import TopicPlan

CATCH_UP = 1.0
"""Seconds of publishing that are made up for when the loop was late; the rest is let go."""

CONNECTING = 100
"""Handshakes under way at a time: a listener's backlog and the handshake's timeout hold for that many."""

SETTLE_TIMEOUT = 5.0
"""Longest wait, in seconds, for messages and clients that are on the way when publishing ends."""

CLOSE_TIMEOUT = 2.0
"""Longest wait, in seconds, for the closing handshakes at the end."""


class StressClient(Protocol):
    """The part of a `Session` that a stress run needs."""

    def events(self) -> AsyncIterator[Event]: ...
    async def send(self, text: str) -> None: ...
    async def post(self, kind: str, ref: str | None = None, **fields: Any) -> None: ...
    async def close(self) -> None: ...


class Publisher:
    """Sends messages of `size` bytes, `rate` a second in all, and records them in the statistics. With
    `topics` each is for the subscribers of its topic."""

    def __init__(
        self,
        clients: Sequence[StressClient],
        statistics: RunStatistics,
        *,
        rate: float,
        size: int,
        clock: Callable[[], float],
        topics: TopicPlan | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clients = clients
        self._topics = topics
        self._statistics = statistics
        self._interval = 1 / rate
        self._size = size
        self._clock = clock
        self._sleep = sleep
        self._sender = -1

    async def run(self) -> None:
        """Publish until cancelled. A client that is not connected is left out: no other client sends for it,
        for the server limits what each may send."""
        due = self._clock()
        while True:
            self._sender = (self._sender + 1) % len(self._clients)
            if self._sender in self._statistics.connected:
                await self._send(self._sender)
            now = self._clock()
            due = max(due + self._interval, now - CATCH_UP)
            await self._sleep(due - now)

    async def _send(self, sender: int) -> None:
        number = self._statistics.ledger.sent
        text = self._statistics.send(sender, self._clock(), self._size)
        try:
            if self._topics:
                topic = self._topics.name(number)
                await self._clients[sender].post("publish", str(number), data=text, topic=topic)
            else:
                await self._clients[sender].send(text)
        except NotConnected:
            self._statistics.ledger.disconnect(sender)


@dataclass(frozen=True, slots=True, kw_only=True)
class StressPlan:
    """The plan of a run: `ids` are the clients, `duration` is in seconds, `rate` in messages a second from
    all of them together, `size` in bytes. `servers` are the names of the servers in messages, in the order in
    which the clients are dealt to them; each has one at least. Without `topics` messages are for
    everybody."""

    ids: tuple[str, ...]
    servers: tuple[str, ...]
    duration: float
    rate: float
    size: int
    topics: TopicPlan | None = None

    def server(self, client: int) -> str:
        """Return the client's own server; the client is named by its place."""
        return self.servers[client % len(self.servers)]


class StressRun:
    """One run of a plan."""

    def __init__(
        self,
        plan: StressPlan,
        client: Callable[[str], StressClient],
        *,
        clock: Callable[[], float] = time.monotonic,
        settle: float = SETTLE_TIMEOUT,
    ) -> None:
        self._plan = plan
        self._clients = [client(name) for name in plan.ids]
        self._clock = clock
        self._settle_timeout = settle
        self._statistics = RunStatistics(plan.ids, plan.servers, plan.topics)
        self._cluster_check = ClusterCheck(plan.servers)
        self._tasks: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._over = False
        self._error: Exception | None = None

    @property
    def publishing(self) -> bool:
        """True if all clients were connected and the run has begun."""
        return self._statistics.began is not None

    @property
    def stopped(self) -> bool:
        """True if `stop` was called."""
        return self._stopping.is_set()

    def stop(self) -> None:
        """End publishing now, as if its time were over."""
        self._stopping.set()
        self._changed.set()

    def report(self) -> StressReport:
        """Return the run as it stands."""
        return self._statistics.report(self._clock(), self._over)

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
                await self._check_cluster()
            if not self.stopped:
                await self._publish()
                await self._settle()
        finally:
            await self._close()
        if self._error:
            raise self._error

    async def _connect(self) -> None:
        count = len(self._clients)
        for index in range(count):
            self._start(self._follow(index))
            most = CONNECTING if index + 1 < count else 1
            while index + 1 - len(self._statistics.connected) >= most and not self.stopped:
                await self._next_change()

    async def _check_cluster(self) -> None:
        """Check that the servers share their messages. Raises WsctlError when they do not."""
        for client, server in zip(self._clients, self._plan.servers, strict=False):
            with suppress(NotConnected):  # which ends the run with a better reason
                await client.send(self._cluster_check.text(server))
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settle_timeout):
                while not (self._cluster_check.complete or self.stopped):
                    await self._next_change()
        if not self.stopped and (fault := self._cluster_check.fault()):
            raise WsctlError(fault)

    async def _publish(self) -> None:
        self._statistics.begin(self._clock())
        plan = self._plan
        publisher = Publisher(
            self._clients,
            self._statistics,
            rate=plan.rate,
            size=plan.size,
            clock=self._clock,
            topics=plan.topics,
        )
        publishing = self._start(publisher.run())
        self._start(self._sample())
        with suppress(TimeoutError):
            async with asyncio.timeout(plan.duration):
                await self._stopping.wait()
        publishing.cancel()
        self._statistics.ended = self._clock()

    async def _settle(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settle_timeout):
                while self._awaited() and not self._error:
                    await self._next_change()

    def _awaited(self) -> bool:
        """Tell whether a message is on its way, or a client that may receive one."""
        return len(self._statistics.connected) < len(self._clients) or self._statistics.ledger.missed > 0

    async def _close(self) -> None:
        self._over = True
        closing = [asyncio.create_task(client.close()) for client in self._clients]
        await asyncio.wait(closing, timeout=CLOSE_TIMEOUT)
        for task in (*closing, *self._tasks):
            task.cancel()
        await asyncio.gather(*closing, *self._tasks, return_exceptions=True)

    async def _next_change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    def _start(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        """Start a task whose failure ends the run."""
        task = asyncio.create_task(work)
        task.add_done_callback(self._finished)
        self._tasks.append(task)
        return task

    def _finished(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and isinstance(error := task.exception(), Exception):
            self._fail(error)

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        self.stop()

    async def _sample(self) -> None:
        while True:
            due = self._clock() + SAMPLE_INTERVAL
            await asyncio.sleep(SAMPLE_INTERVAL)
            now = self._clock()
            self._statistics.sample(now, now - due)

    async def _follow(self, index: int) -> None:
        # Once it is over, events are still taken, for the server's close frame stands behind them.
        async for event in self._clients[index].events():
            if not self._over:
                self._record(index, event)
                self._changed.set()

    def _record(self, index: int, event: Event) -> None:
        plan = self._plan
        self._statistics.record(index, event, self._clock())
        if isinstance(event, Received) and not self.publishing:
            self._cluster_check.receive(self._statistics.server(index), event.frame)
        if error := fatal_error(plan.ids[index], plan.server(index), event, publishing=self.publishing):
            self._fail(error)
