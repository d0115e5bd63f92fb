"""The topics of one process, as its connections subscribe to them and its history keeps them."""

from collections.abc import Callable, Iterable
from heapq import nsmallest

from wsctl.control.status import TopicList, TopicStatus
from wsctl.log.message_log import written
from wsctl.log.retention import TopicSize


def list_topics(
    named: Iterable[str], kept: Iterable[TopicSize], subscribers: Callable[[str], int], limit: int
) -> TopicList:
    """Return the first `limit` topics by their names, of those that are `named` by a subscription or `kept`;
    `subscribers` returns how many connections a topic's message goes to."""
    sizes = {size.topic: size for size in kept if size.topic is not None}
    first = nsmallest(limit + 1, {*named, *sizes})
    rows = (_row(topic, subscribers(topic), sizes.get(topic)) for topic in first[:limit])
    return TopicList(tuple(rows), len(first) > limit)


def _row(topic: str, subscribers: int, kept: TopicSize | None) -> TopicStatus:
    if kept is None:
        return TopicStatus(topic, subscribers, 0, 0, None)
    return TopicStatus(topic, subscribers, kept.messages, kept.bytes, written(kept.newest))
