"""The merge of what several workers report into one status."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wsctl.log.message_log import read_id
from wsctl.server.workers.worker import Facts

SHARED_FIELDS = ("degraded", "redis", "nodes", "cluster")
"""The fields of a status that are about all who share a Redis: the same in each of them, null without a
Redis."""


def sum_field(reports: Sequence[Facts], name: str) -> int:
    return sum(facts[name] for facts in reports)


def sum_counts(reports: Sequence[Facts], name: str) -> dict[str, float]:
    """Return the sums of the counts, or rates, of all workers."""
    found: dict[str, float] = {}
    for facts in reports:
        for what, value in facts[name].items():
            found[what] = round(found.get(what, 0) + value, 3)
    return found


def newest_id(reports: Iterable[Facts]) -> str:
    """Return the newest message's id; empty when no worker reports one."""
    return max(
        (facts["newest_id"] for facts in reports), key=lambda text: read_id(text) or (0, 0), default=""
    )


def merge_shared(reports: Sequence[Facts], recent: Sequence[Facts]) -> Facts:
    """Return the facts that workers with one Redis have in common, as the first of the `recent` reports has
    them. A message that one of them publishes, all count: the largest figure is that of all."""
    of_messages = {
        name: sum_counts(reports, name)
        | {"published": max((facts[name]["published"] for facts in recent), default=0)}
        for name in ("messages", "rates")
    }
    common = {name: recent[0][name] for name in SHARED_FIELDS} if recent else dict.fromkeys(SHARED_FIELDS)
    if common["nodes"]:
        own = {node for facts in reports for node in _own(facts)}
        common["nodes"] = [row | {"this": row["node"] in own} for row in common["nodes"]]
    return of_messages | common


def merge_separate(reports: Sequence[Facts]) -> Facts:
    """Return the same facts of workers that share nothing."""
    return {name: sum_counts(reports, name) for name in ("messages", "rates")} | dict.fromkeys(SHARED_FIELDS)


def merge_clients(answers: Sequence[Facts]) -> list[Facts]:
    """Return the clients in several answers, each once, those connected longest first. A worker that has
    answered knows its own clients best; those of others that two workers report are the same."""
    present = {node for facts in answers for node in _own(facts)}
    own = [row for facts in answers for row in facts["clients"] if _is_own(row, facts)]
    elsewhere = {
        (row["node"], row["client_id"]): row
        for facts in answers
        for row in facts["clients"]
        if not _is_own(row, facts) and row["node"] not in present
    }
    return sorted([*own, *elsewhere.values()], key=lambda row: -row["connected_s"])


def _own(facts: Mapping[str, Any]) -> list[str]:
    return [row["node"] for row in facts.get("nodes") or () if row["this"]]


def _is_own(row: Facts, facts: Facts) -> bool:
    return "node" not in row or row["node"] in _own(facts)
