"""The events of the dashboard: the status each second, topics and load now and then.

They are a plain answer in the form of an event stream: it ends when the process does, when a successor has
its address, and with its session, and the page asks for another one.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Protocol

from wsctl.control.encoding import encode
from wsctl.control.operations import TOPICS_LISTED
from wsctl.control.status import LoadHistory, ServerStatus, TopicList
from wsctl.event_stream import event

STATUS_INTERVAL = 1.0
"""Seconds between two statuses."""

EACH = 10
"""Statuses between two of the events that are larger: as many as a sample of the load comes in."""

TOPICS_SHOWN = 12
"""Topics that are shown, those with the most subscribers: as many as fit beside the other facts."""


class DashboardSource(Protocol):
    """The facts of the whole server, with all its workers."""

    async def whole_status(self) -> ServerStatus: ...
    async def load(self) -> LoadHistory: ...
    async def topics(self, limit: int) -> TopicList: ...


async def dashboard_events(
    source: DashboardSource, stopped: asyncio.Event, ends: Callable[[], bool]
) -> AsyncIterator[bytes]:
    """Yield the events, until the process has `stopped` or the stream `ends`."""
    newest, number = 0.0, 0
    while True:
        if number % EACH == 0:
            load = await source.load()
            samples = [sample for sample in load.samples if sample.at > newest]
            newest = samples[-1].at if samples else newest
            yield _event("load", interval_s=load.interval_s, samples=encode(samples))
        last = stopped.is_set() or ends()
        yield _event("status", status=encode(await source.whole_status()))
        if number % EACH == 0:
            found = await source.topics(TOPICS_LISTED)
            yield _event("topics", more=found.more, **_busiest(found))
        if last:
            return
        number += 1
        with suppress(TimeoutError):
            async with asyncio.timeout(STATUS_INTERVAL):
                await stopped.wait()


def _busiest(found: TopicList) -> dict[str, Any]:
    """Return the topics with the most subscribers, and how many there are."""
    rows = sorted(found.topics, key=lambda row: (-row.subscribers, -row.messages, row.topic))
    return {"topics": encode(rows[:TOPICS_SHOWN]), "listed": len(rows)}


def _event(kind: str, **fields: object) -> bytes:
    return event(json.dumps({"type": kind, **fields}, separators=(",", ":")).encode())
