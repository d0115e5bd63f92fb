"""The events that the dashboard gets."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest

from tests.support.status import FACTS
from wsctl.control.status import LoadHistory, LoadSample, ServerStatus, TopicList, TopicStatus
from wsctl.server.dashboard.feed import TOPICS_SHOWN, dashboard_events

pytestmark = pytest.mark.anyio


class Source:
    """A server with one sample of its load, and many topics."""

    def __init__(self) -> None:
        self.asked = 0

    async def whole_status(self) -> ServerStatus:
        self.asked += 1
        return replace(ServerStatus.from_json(FACTS), connections=self.asked)

    async def load(self) -> LoadHistory:
        return LoadHistory(10.0, (LoadSample(5.0, 1, 0, 0.0, 0.0, 0.0, None, None, 0),))

    async def topics(self, limit: int) -> TopicList:
        return TopicList(tuple(TopicStatus(f"t.{n}", n % 50, n, n, None) for n in range(100)), more=True)


def read(event: bytes) -> Any:
    kind, data = event.decode().rstrip().split("\n")
    told = json.loads(data.removeprefix("data: "))
    assert kind == f"event: {told['type']}"
    return told


async def test_it_begins_with_all_and_goes_on_with_what_changes() -> None:
    events = dashboard_events(Source(), asyncio.Event(), lambda: False)
    first = [read(await anext(events)) for _ in range(4)]
    assert [told["type"] for told in first] == ["load", "status", "topics", "status"]
    assert [sample["at"] for sample in first[0]["samples"]] == [5.0]
    assert [told["status"]["connections"] for told in first if told["type"] == "status"] == [1, 2]


async def test_the_topics_with_the_most_subscribers_are_told_and_that_there_are_others() -> None:
    events = dashboard_events(Source(), asyncio.Event(), lambda: True)
    topics = [read(event) async for event in events][-1]
    assert [row["topic"] for row in topics["topics"]][:3] == ["t.99", "t.49", "t.98"]
    assert (len(topics["topics"]), topics["listed"], topics["more"]) == (TOPICS_SHOWN, 100, True)


async def test_the_last_event_is_of_the_moment_in_which_the_server_has_stopped() -> None:
    source, stopped = Source(), asyncio.Event()
    events = dashboard_events(source, stopped, lambda: False)
    for _ in range(3):
        await anext(events)
    asyncio.get_running_loop().call_soon(stopped.set)
    (last,) = [read(event) async for event in events]
    assert last["status"]["connections"] == source.asked == 2
