"""The merge of what several workers report into one status."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from heapq import nlargest
from typing import NamedTuple

from wsctl.control.status import (
    ApplicationStatus,
    ClientStatus,
    ClusterNode,
    ClusterTotal,
    DeliveryTime,
    MessageCounts,
    OutboxStatus,
    RedisState,
    ServerStatus,
    TopicList,
    TopicStatus,
)
from wsctl.drain.merging import busiest
from wsctl.drain.progress import LONGEST
from wsctl.log.message_log import MessageLog, read_id


class MergedStatus(NamedTuple):
    """The facts of a status that workers have in common."""

    messages: MessageCounts
    rates: MessageCounts
    degraded: str | None = None
    redis: RedisState | None = None
    nodes: tuple[ClusterNode, ...] | None = None
    cluster: ClusterTotal | None = None


def sum_counts(counts: Sequence[MessageCounts]) -> MessageCounts:
    """Return the sums of the counts, or rates, of all workers."""
    return MessageCounts(
        published=round(sum(each.published for each in counts), 3),
        received=round(sum(each.received for each in counts), 3),
        delivered=round(sum(each.delivered for each in counts), 3),
    )


def newest_id(reports: Iterable[ServerStatus]) -> str:
    """Return the newest message's id; empty when no worker reports one."""
    ids = (report.newest_id for report in reports)
    return max(ids, key=lambda text: read_id(text) or (0, 0), default="")


def merge_shared(
    reports: Sequence[ServerStatus], recent: Sequence[ServerStatus], messages: MessageLog | None
) -> MergedStatus:
    """Return the facts that workers have in common, as the first of the `recent` reports has them. A message
    that one of them publishes, all count: the largest figure is that of all, unless the log with all
    `messages` is the parent's."""
    counts = sum_counts([report.messages for report in reports])
    rates = sum_counts([report.rates for report in reports])
    if messages:
        counts = replace(counts, published=messages.published)
    if not recent:
        return MergedStatus(counts, rates)
    own = {name for report in reports for name in _own(report)}
    first = recent[0]
    published = max(report.messages.published for report in recent)
    return MergedStatus(
        counts if messages else replace(counts, published=published),
        replace(rates, published=max(report.rates.published for report in recent)),
        messages.home.why if messages else first.degraded,
        first.redis,
        first.nodes and tuple(replace(node, this=node.node in own) for node in first.nodes),
        first.cluster,
    )


def merge_clients(answers: Sequence[ServerStatus]) -> tuple[ClientStatus, ...]:
    """Return the clients in several answers, each once, those connected longest first. A worker that has
    answered knows its own clients best; those of others that two workers report are the same."""
    present = {name for answer in answers for name in _own(answer)}
    own = [client for answer in answers for client in answer.clients or () if _is_own(client, answer)]
    elsewhere = {
        (client.node, client.client_id): client
        for answer in answers
        for client in answer.clients or ()
        if not _is_own(client, answer) and client.node not in present
    }
    oldest_first = sorted([*own, *elsewhere.values()], key=lambda client: -client.connected_s)
    return ClientStatus.numbered(oldest_first)


def merge_topics(answers: Sequence[TopicList], limit: int) -> TopicList:
    """Return the first `limit` topics of all workers. Each knows the subscribers of all and keeps the same
    messages, as far as it has heard of them by now."""
    found: dict[str, TopicStatus] = {}
    for row in (row for answer in answers for row in answer.topics):
        other = found.get(row.topic)
        found[row.topic] = _merge_topic(row, other) if other else row
    rows = sorted(found.values(), key=lambda row: row.topic)
    more = len(rows) > limit or any(answer.more for answer in answers)
    return TopicList(tuple(rows[:limit]), more)


def _merge_topic(one: TopicStatus, other: TopicStatus) -> TopicStatus:
    newer = max(one, other, key=lambda row: read_id(row.newest_id or "") or (0, 0))
    return replace(newer, subscribers=max(one.subscribers, other.subscribers))


def merge_applications(reports: Iterable[ServerStatus]) -> ApplicationStatus | None:
    """Return the connections of the application in all workers; None where none of them serves one."""
    found = [report.application for report in reports if report.application]
    if not found:
        return None
    return ApplicationStatus(
        websockets=sum(each.websockets for each in found),
        responses=sum(each.responses for each in found),
        routes=busiest(route for each in found for route in each.routes),
    )


def merge_outboxes(reports: Sequence[ServerStatus]) -> OutboxStatus:
    """Return what waits for the clients of all workers."""
    behind = (client for report in reports for client in report.outbox.slowest)
    return OutboxStatus(
        clients=sum(report.outbox.clients for report in reports),
        bytes=sum(report.outbox.bytes for report in reports),
        largest=max((report.outbox.largest for report in reports), default=0),
        slowest=tuple(nlargest(LONGEST, behind, key=lambda client: client.waiting_bytes)),
    )


def merge_deliveries(reports: Sequence[ServerStatus]) -> DeliveryTime:
    """Return the delivery time of all workers: the mean of all their offers, and the longest of them."""
    found = [report.delivery for report in reports if report.delivery.offers]
    offers = sum(each.offers for each in found)
    if not offers:
        return DeliveryTime(0, None, None)
    mean = sum((each.mean_s or 0.0) * each.offers for each in found) / offers
    return DeliveryTime(offers, round(mean, 6), max(each.longest_s or 0.0 for each in found))


def _own(status: ServerStatus) -> list[str]:
    return [node.node for node in status.nodes or () if node.this]


def _is_own(client: ClientStatus, status: ServerStatus) -> bool:
    return client.node is None or client.node in _own(status)
