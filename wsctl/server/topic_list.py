"""The topics of one process, as its connections subscribe to them and its history keeps them."""

from collections.abc import Callable, Iterable, Mapping
from heapq import nsmallest
from typing import NamedTuple

from wsctl.control.status import TopicList, TopicStatus
from wsctl.log.history import Entry, MessageId
from wsctl.log.message_log import written


class KeptMessages(NamedTuple):
    """The messages of one topic that a history keeps: their number, the bytes of their frames, and the id of
    the newest."""

    messages: int
    bytes: int
    newest: MessageId


_NONE = KeptMessages(0, 0, (0, 0))


def list_topics(
    named: Iterable[str], kept: Mapping[str, KeptMessages], subscribers: Callable[[str], int], limit: int
) -> TopicList:
    """Return the first `limit` topics by their names, of those that are `named` by a subscription or `kept`;
    `subscribers` returns how many connections a topic's message goes to."""
    first = nsmallest(limit + 1, {*named, *kept})
    rows = (_row(topic, subscribers(topic), kept.get(topic, _NONE)) for topic in first[:limit])
    return TopicList(tuple(rows), len(first) > limit)


def kept_by_topic(entries: Iterable[Entry]) -> dict[str, KeptMessages]:
    """Return what is kept of each topic; the entries are those of a history, oldest first."""
    found: dict[str, KeptMessages] = {}
    for entry in entries:
        if entry.topic is not None:
            before = found.get(entry.topic, _NONE)
            size = before.bytes + len(entry.batch.wire)
            found[entry.topic] = KeptMessages(before.messages + 1, size, entry.id)
    return found


def _row(topic: str, subscribers: int, kept: KeptMessages) -> TopicStatus:
    newest = written(kept.newest) if kept.messages else None
    return TopicStatus(topic, subscribers, kept.messages, kept.bytes, newest)
