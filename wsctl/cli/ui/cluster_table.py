"""Servers that share a Redis, for people: the state of it as a server tells it, and the nodes as a table."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from wsctl.cli.ui.layout import fill_table, list_table
from wsctl.cli.ui.text import clock, printable

Facts = Mapping[str, Any]

PHASES = {
    "serving": "bold green",
    "lameduck": "bold yellow",
    "handover": "bold cyan",
    "draining": "bold yellow",
    "closing": "bold red",
}
"""The styles of phases."""


def phase(facts: Facts) -> Text:
    """Return the phase of a server, and whether it is degraded."""
    told = Text(printable(facts["status"]), style=PHASES.get(facts["status"], "bold"))
    if facts.get("degraded"):
        told.append(", ", "not bold default").append("degraded", "bold red")
    return told


def rows(facts: Facts) -> list[tuple[str, Text]]:
    """Return what a server tells of its Redis and of its cluster, a line each; nothing of one that has none.
    The reason why it is degraded has a line of its own, unless that is that its Redis is away."""
    told = []
    if redis := facts.get("redis"):
        style = "bold red" if _away(facts) else ""
        told.append(("redis", Text(f"{printable(redis['url'])} {_standing(redis)}", style=style)))
    if facts.get("degraded") and not _away(facts):
        told.append(("degraded", Text(printable(facts["degraded"]), style="bold red")))
    if cluster := facts.get("cluster"):
        told.append(("cluster", Text(total(cluster))))
    return told


def words(facts: Facts) -> list[str]:
    """Return the same for one line: no more of Redis than that it is away."""
    told = []
    if _away(facts):
        told.append(f"redis {_standing(facts['redis'])}")
    elif facts.get("degraded"):
        told.append(printable(facts["degraded"]))
    if cluster := facts.get("cluster"):
        told.append(f"cluster {total(cluster)}")
    return told


def total(cluster: Facts) -> str:
    """Say how many nodes and clients a cluster has."""
    return f"{_counted(cluster['nodes'], 'node')}, {_counted(cluster['connections'], 'client')}"


def own_id(facts: Facts) -> list[str]:
    """Say which of the nodes a server is."""
    return [f"node {printable(node['node'])}" for node in facts.get("nodes") or () if node.get("this")]


def together(one: Facts, other: Facts) -> bool:
    """Tell whether two servers are of one cluster: they know a node in common."""
    return bool(_ids(one) & _ids(other))


def nodes(found: Sequence[Facts], room: int | None = None) -> Table:
    """Return a table of the nodes of a cluster, in the order told; at most `room` of them, and how many more
    there are. A line each, whatever the width."""
    table = list_table()
    for name in ("  node", "process", "url", "phase"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("connections", justify="right", no_wrap=True)
    if any(node.get("turn") for node in found):
        table.add_column("turn", no_wrap=True)
    return fill_table(table, found, _cells, room)


def _cells(node: Facts) -> list[Text]:
    turn = node.get("turn")
    return [
        Text(f"  {printable(node['node'])}"),
        Text(f"{printable(node['host'])}:{node['pid']}"),
        Text(printable(node["url"] or "-")),
        Text(printable(node["phase"]), style=PHASES.get(node["phase"], "bold")),
        Text(str(node["connections"])),
        Text(f"{turn['place']} of {turn['of']}" if turn else ""),
    ]


def _away(facts: Facts) -> bool:
    redis = facts.get("redis")
    return redis is not None and redis["state"] != "up"


def _standing(redis: Facts) -> str:
    """Say for how long the Redis has been up or away, and why."""
    since = f"{printable(redis['state'])} for {clock(redis['for_s'])}"
    why, skipped = redis.get("why"), redis.get("unreadable")
    told = since if not why else f"{since}: {printable(why)}"
    return f"{told}; skipped {_counted(skipped, 'thing')} in it that cannot be read" if skipped else told


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _ids(facts: Facts) -> set[str]:
    return {node["node"] for node in facts.get("nodes") or ()}
