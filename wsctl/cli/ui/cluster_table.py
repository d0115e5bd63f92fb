"""Where a server keeps its messages, for people: the state of its journal, or of the Redis that it shares,
and the nodes that share that as a table."""

from collections.abc import Sequence

from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from wsctl.cli.ui.layout import fill_table, list_table
from wsctl.cli.ui.text import clock, printable
from wsctl.control.status import ClusterNode, ClusterTotal, JournalState, RedisState, ServerStatus

PHASES = {
    "serving": "bold green",
    "lameduck": "bold yellow",
    "handover": "bold cyan",
    "draining": "bold yellow",
    "closing": "bold red",
}
"""The styles of phases."""


def phase(status: ServerStatus) -> Text:
    """Return the phase of a server, and whether it is degraded."""
    told = Text(printable(status.status), style=PHASES.get(status.status, "bold"))
    if status.degraded:
        told.append(", ", "not bold default").append("degraded", "bold red")
    return told


def rows(status: ServerStatus) -> list[tuple[str, Text]]:
    """Return what a server tells of its journal or its Redis and of its cluster, a line each; nothing of one
    that has none. The reason why it is degraded has a line of its own, unless that is that one of these is
    away."""
    told = []
    if journal := status.journal:
        style = "" if journal.is_up else "bold red"
        told.append(("journal", Text(f"{printable(journal.path)}, {_journal(journal)}", style=style)))
    if redis := status.redis:
        style = "" if redis.is_up else "bold red"
        told.append(("redis", Text(f"{printable(redis.url)} {_standing(redis)}", style=style)))
    if status.degraded and not _away(status):
        told.append(("degraded", Text(printable(status.degraded), style="bold red")))
    if cluster := status.cluster:
        told.append(("cluster", Text(total(cluster))))
    return told


def words(status: ServerStatus) -> list[str]:
    """Return the same for one line: no more of a journal or Redis than that it is away."""
    told = []
    if status.redis and not status.redis.is_up:
        told.append(f"redis {_standing(status.redis)}")
    elif status.journal and not status.journal.is_up:
        told.append(f"journal {_journal(status.journal)}")
    elif status.degraded:
        told.append(printable(status.degraded))
    if cluster := status.cluster:
        told.append(f"cluster {total(cluster)}")
    return told


def total(cluster: ClusterTotal) -> str:
    """Say how many nodes and clients a cluster has."""
    return f"{_counted(cluster.nodes, 'node')}, {_counted(cluster.connections, 'client')}"


def own_id(status: ServerStatus) -> list[str]:
    """Say which of the nodes a server is."""
    return [f"node {printable(node.node)}" for node in status.nodes or () if node.this]


def together(one: ServerStatus, other: ServerStatus) -> bool:
    """Tell whether two servers are of one cluster: they know a node in common."""
    return bool(_ids(one) & _ids(other))


def nodes(found: Sequence[ClusterNode], room: int | None = None) -> Table:
    """Return a table of the nodes of a cluster, in the order told; at most `room` of them, and how many more
    there are. A line each, whatever the width."""
    table = list_table()
    for name in ("  node", "process", "url", "phase"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    table.add_column("connections", justify="right", no_wrap=True)
    return fill_table(table, found, _cells, room)


def _cells(node: ClusterNode) -> list[Text]:
    return [
        Text(f"  {printable(node.node)}"),
        Text(f"{printable(node.host)}:{node.pid}"),
        Text(printable(node.url or "-")),
        Text(printable(node.phase), style=PHASES.get(node.phase, "bold")),
        Text(str(node.connections)),
    ]


def _away(status: ServerStatus) -> bool:
    """Tell whether the journal or Redis is away, which is why the server is degraded."""
    return any(home is not None and not home.is_up for home in (status.journal, status.redis))


def _standing(redis: RedisState) -> str:
    """Say for how long the Redis has been up or away, and why."""
    since = f"{printable(redis.state)} for {clock(redis.for_s)}"
    why, skipped = redis.why, redis.unreadable
    told = since if not why else f"{since}: {printable(why)}"
    return f"{told}; skipped {_counted(skipped, 'thing')} in it that cannot be read" if skipped else told


def _journal(journal: JournalState) -> str:
    """Say how large the journal is and how it syncs, or for how long it has been away, and why."""
    if journal.is_up:
        waiting = f", {journal.waiting} waiting" if journal.waiting else ""
        return f"{decimal(journal.bytes)}, sync {printable(journal.sync)}{waiting}"
    since = f"{printable(journal.state)} for {clock(journal.for_s)}"
    return f"{since}: {printable(journal.why)}" if journal.why else since


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _ids(status: ServerStatus) -> set[str]:
    return {node.node for node in status.nodes or ()}
