"""The health and the status of one process, told from its parts."""

import asyncio
import os
from collections import deque
from collections.abc import Callable
from itertools import chain

from wsctl import __version__
from wsctl.control.status import (
    ApplicationStatus,
    ClientStatus,
    ClusterTotal,
    DeliveryTime,
    Health,
    MessageCounts,
    OutboxStatus,
    ServerStatus,
    TopicList,
)
from wsctl.drain.graceful import GracefulShutdownManager
from wsctl.drain.progress import LONGEST, ClientCounts, ConnectedClient, DrainProgress, HandoverProgress
from wsctl.hub.connection import Connection
from wsctl.hub.intake import Intake
from wsctl.hub.manager import ConnectionManager
from wsctl.hub.presence import TopicPresence
from wsctl.hub.traffic import BOUNDS, Durations
from wsctl.log.message_log import MessageLog
from wsctl.server.drain_driver import DrainDriver
from wsctl.server.journal_monitor import JournalMonitor
from wsctl.server.sharing import Sharing
from wsctl.server.topic_list import list_topics

RATE_WINDOW = 10
"""Samples, one a second, that a rate is taken over."""


class StatusReporter:
    """The facts of one process. `application` counts the connections of an application of one's own, where
    there is one; `journal` watches the journal, where this process has it; `why_degraded` returns why
    messages are not published just now, or not shared; `capacity` is 0 without a limit; `elsewhere` returns
    how many connections the other processes of this server have; with `several_per_id` an id may have several
    connections.

    Attributes:
        admin: the URL of the admin address, if there is one.
        pending: returns how many connections are no clients' yet.
        server_started: when the first process of this server started, on `clock`, if that was before this
            one.
    """

    def __init__(
        self,
        *,
        life: GracefulShutdownManager,
        driver: DrainDriver,
        manager: ConnectionManager,
        presence: TopicPresence,
        application: Callable[[int], ClientCounts] | None,
        log: MessageLog,
        intake: Intake,
        shared: Sharing | None,
        journal: JournalMonitor | None,
        why_degraded: Callable[[], str | None],
        clock: Callable[[], float],
        capacity: int,
        generation: int,
        handover: Callable[[], HandoverProgress | None],
        elsewhere: Callable[[], int],
        several_per_id: bool = False,
    ) -> None:
        self.admin: str | None = None
        self.pending: Callable[[], int] = lambda: 0
        self.server_started = float("inf")
        self._life = life
        self._driver = driver
        self._manager = manager
        self._presence = presence
        self._application = application
        self._log = log
        self._intake = intake
        self._shared = shared
        self._journal = journal
        self._why_degraded = why_degraded
        self._clock = clock
        self._capacity = capacity
        self._generation = generation
        self._handover = handover
        self._elsewhere = elsewhere
        self._several_per_id = several_per_id
        self._meter = RateMeter()
        self._deliveries = DeliveryMeter(manager.traffic.broadcasts)
        self._started = clock()

    @property
    def degraded(self) -> bool:
        """True while messages are not published, or not shared that should be."""
        return self._why_degraded() is not None

    def health(self) -> Health:
        """Return the facts that anyone may know, of the whole server, also when this process is one of
        several."""
        return Health(
            status=self._life.phase,
            connections=self._driver.counts().active + self._elsewhere(),
            uptime_s=round(self._clock() - min(self._started, self.server_started), 3),
            version=__version__,
            degraded=self.degraded,
        )

    def status(self, *, clients: bool = False) -> ServerStatus:
        """Return the facts that operators may know; with `clients`, also who is connected."""
        shared, clients_here = self._shared, self._manager.active_connections.values()
        counts = self._driver.counts()
        return ServerStatus(
            status=self._life.phase,
            connections=counts.active,
            uptime_s=round(self._clock() - self._started, 3),
            version=__version__,
            degraded=self._why_degraded(),
            pid=os.getpid(),
            capacity=self._capacity or None,
            closing=counts.closing,
            newest_id=self._log.newest,
            messages=MessageCounts(*self._counters()),
            rates=MessageCounts(*(self._meter.rates() or (0.0, 0.0, 0.0))),
            drain=self.drain(),
            generation=self._generation,
            upgrade=self.upgrade(),
            subscriptions=len(self._manager.subscriptions),
            topics=self._log.history.topic_count,
            streams=self._manager.streams,
            pending=self.pending(),
            outbox=OutboxStatus(*self._manager.backlog(), self._slowest()),
            delivery=self._deliveries.recent(),
            client_ids=len(self._manager.clients) if self._several_per_id else None,
            tasks=len(asyncio.all_tasks()),
            redis=shared.redis_state() if shared else None,
            journal=self._journal.state() if self._journal else None,
            nodes=(nodes := shared.nodes() if shared else None),
            cluster=None if nodes is None else ClusterTotal.of(nodes),
            clients=ClientStatus.numbered(map(self._describe, clients_here)) if clients else None,
            application=self.application(),
            admin=self.admin,
        )

    def topics(self, limit: int) -> TopicList:
        """Return the first `limit` topics with subscribers, in this process or in others, or kept
        messages."""
        here, presence = self._manager.subscriptions, self._presence

        def subscribers(topic: str) -> int:
            return len(here.matching(topic)) + presence.count(topic)

        named = chain(here.topics, presence.topics_elsewhere)
        return list_topics(named, self._log.history.topics(), subscribers, limit)

    def application(self) -> ApplicationStatus | None:
        """Return the connections of the application, with the busiest of its routes; None without one."""
        if self._application is None:
            return None
        found = self._application(LONGEST)
        return ApplicationStatus(found.websockets, found.responses, found.routes)

    def drain(self) -> DrainProgress | None:
        """Return the drain as it stands, or None."""
        return self._driver.progress()

    def upgrade(self) -> HandoverProgress | None:
        """Return the handover as it stands, or the last one, or None."""
        return self._handover()

    def sample(self, now: float) -> None:
        """Note what the rates are taken from; to be called once a second."""
        self._meter.sample(now, *self._counters())
        self._deliveries.sample()

    def _counters(self) -> tuple[int, int, int]:
        return self._log.published, self._intake.received, self._manager.delivered

    def _slowest(self) -> tuple[ConnectedClient, ...]:
        now = self._clock()
        return tuple(
            ConnectedClient(each.client_id, round(now - each.opened, 3), each.waiting)
            for each in self._manager.slowest(LONGEST)
        )

    def _describe(self, connection: Connection) -> ClientStatus:
        return ClientStatus(
            client_id=connection.client_id,
            address=connection.address,
            connected_s=round(self._clock() - connection.opened, 3),
            waiting_bytes=connection.waiting,
            node=self._shared.session.node if self._shared else None,
            topics=tuple(connection.subscriptions) or None,
            transport="stream" if connection.is_stream else "websocket",
        )


class RateMeter:
    """Rates over the last seconds, from counters that only grow and are sampled once a second."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, tuple[int, ...]]] = deque(maxlen=RATE_WINDOW + 1)

    def sample(self, now: float, *counters: int) -> None:
        """Note the counters as they are at `now`."""
        self._samples.append((now, counters))

    def rates(self) -> tuple[float, ...]:
        """Return each counter's growth a second over the window; empty before two samples."""
        if len(self._samples) < 2:
            return ()
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        span = ended - began
        return tuple(round((b - a) / span, 1) for a, b in zip(first, last, strict=True))


class DeliveryMeter:
    """The delivery time over the last seconds, from the histogram of all, which is sampled once a second."""

    def __init__(self, durations: Durations) -> None:
        self._durations = durations
        self._samples: deque[tuple[float, list[int]]] = deque(maxlen=RATE_WINDOW + 1)

    def sample(self) -> None:
        """Note the histogram as it is now."""
        self._samples.append((self._durations.total, [*self._durations.counts]))

    def recent(self) -> DeliveryTime:
        """Return what has come since the oldest sample."""
        if not self._samples:
            return DeliveryTime(0, None, None)
        total, counts = self._samples[0]
        grown = [new - old for new, old in zip(self._durations.counts, counts, strict=True)]
        offers = sum(grown)
        if not offers:
            return DeliveryTime(0, None, None)
        highest = max(place for place, count in enumerate(grown) if count)
        longest = BOUNDS[min(highest, len(BOUNDS) - 1)]
        return DeliveryTime(offers, round((self._durations.total - total) / offers, 6), longest)
