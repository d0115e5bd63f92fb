"""Servers' status for people: as blocks, as lines, and the clients as a table."""

from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from wsctl.cli.ui import cluster_table
from wsctl.cli.ui.drain_bar import described, figures
from wsctl.cli.ui.handover_bar import standing
from wsctl.cli.ui.layout import fill_table, list_table
from wsctl.cli.ui.text import clock, printable
from wsctl.client.control import drain_progress, handover_progress

Seen = tuple[str, dict[str, Any]]
"""A server's name, and what it told of itself."""

AROUND = 11
"""Lines of one server that are not clients: its block with a drain, the table's head and its last line that
counts the rest, and the empty ones between. Clients that are named with the drain come on top, and an
upgrade, and what the server tells of its Redis and its cluster."""

UPGRADE = 2
"""Lines of an upgrade, on a terminal of 80 columns."""

TABLE = 3
"""Lines of a table beside its rows: the empty one before it, its head, and the one that counts the rest."""


def blocks(seen: Sequence[Seen], height: int | None = None) -> Group:
    """Draw all servers, one below the other; their clients, and the nodes of a cluster, only as far as
    `height` lines reach. What servers of one cluster tell alike stands once, below the last of them."""
    parts: list[RenderableType] = []
    for n, (name, facts) in enumerate(seen):
        parts += [Text("")] if n else []
        parts.append(block(name, facts))
        alike = [other for _, other in seen if cluster_table.together(facts, other)] or [facts]
        if alike[-1] is facts:
            parts += _below(facts, None if height is None else _room(alike, height // len(seen)))
    return Group(*parts)


def _below(facts: dict[str, Any], room: int | None) -> list[RenderableType]:
    """Draw the tables of a server. They have `room` lines for their rows, of which no more than half are
    nodes' when clients are listed too."""
    parts: list[RenderableType] = []
    found = facts.get("nodes") or []
    listed = "clients" in facts
    if found:
        if room is not None and listed:
            room = max(0, room - TABLE)
        most = room // 2 if room is not None and listed else room
        parts += [Text(""), cluster_table.nodes(found, most)]
        room = None if room is None or most is None else room - min(most, len(found))
    if listed:
        parts += [Text(""), clients(facts["clients"], room)]
    return parts


def _room(alike: Sequence[dict[str, Any]], share: int) -> int:
    """Return how many lines the tables below these servers have for their rows; each server may show `share`
    lines."""
    return max(0, sum(share - AROUND - _more(facts) for facts in alike))


def _more(facts: dict[str, Any]) -> int:
    """Count the lines of a server on top of `AROUND`."""
    named = len(facts["drain"]["longest"]) if facts["drain"] else 0
    group = 1 if facts.get("group") else 0
    return named + group + (UPGRADE if facts.get("upgrade") else 0) + len(cluster_table.rows(facts))


def block(name: str, facts: dict[str, Any]) -> Group:
    """Draw one server."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("  phase", cluster_table.phase(facts))
    rows.add_row("  connections", Text(_connections(facts)))
    if group := facts.get("group"):
        rows.add_row("  workers", Text(_group(group)))
    rows.add_row("  uptime", Text(clock(facts["uptime_s"])))
    rows.add_row("  rates", Text(_rates(facts)))
    rows.add_row("  newest id", Text(printable(facts["newest_id"])))
    for label, value in cluster_table.rows(facts):
        rows.add_row(f"  {label}", _one_line(value))
    if facts["drain"]:
        progress = drain_progress(facts["drain"])
        rows.add_row("  drain", Text(f"{figures(progress)} ({printable(progress.reason)})"))
        for n, stay in enumerate(progress.longest):
            rows.add_row("" if n else "  longest", _one_line(Text(described(stay))))
    if facts.get("upgrade"):
        rows.add_row("  upgrade", Text(standing(handover_progress(facts["upgrade"]))))
    process = [f"pid {facts['pid']}", *_generation(facts), *cluster_table.own_id(facts)]
    process.append(f"wsctl {printable(facts['version'])}")
    title = Text(printable(name), style="bold")
    return Group(title.append(f"  {', '.join(process)}", "not bold dim"), rows)


def _group(group: dict[str, Any]) -> str:
    """Describe all workers, and name those that do not answer."""
    told = f"{len(group['workers'])}, {group['connections']} connected to all"
    silent = [f"worker {row['number']} (pid {row['pid']})" for row in group["workers"] if row.get("silent")]
    return f"{told}; {' and '.join(silent)}: no answer" if silent else told


def line(name: str, facts: dict[str, Any]) -> str:
    """Describe one server in one line."""
    subject = " ".join([printable(name), *_generation(facts)])
    words = [
        f"{subject} {cluster_table.phase(facts).plain}: {_connections(facts)} connected",
        _rates(facts),
        *cluster_table.words(facts),
    ]
    if facts["drain"]:
        words.append(f"drain {figures(drain_progress(facts['drain']))}")
    if facts.get("upgrade"):
        words.append(f"upgrade {standing(handover_progress(facts['upgrade']))}")
    return "; ".join(words)


def clients(rows: Sequence[dict[str, Any]], room: int | None = None) -> Table:
    """Return a table of clients, those connected longest first, with the node that each is on where that is
    told; at most `room` of them, and how many more there are."""
    table = list_table()
    table.add_column("  client", overflow="fold")
    table.add_column("address", overflow="fold")
    table.add_column("connected", justify="right", no_wrap=True)
    table.add_column("waiting", justify="right", no_wrap=True)
    if any(row.get("node") for row in rows):
        table.add_column("node", no_wrap=True)
    return fill_table(table, rows, _cells, room)


def _cells(row: dict[str, Any]) -> list[Text]:
    """Return the cells of a client. Of another node's client, its address and what waits for it are not
    known."""
    address, waiting = row["address"], row["waiting_bytes"]
    return [
        Text(f"  {printable(row['client_id'])}"),
        Text("-" if address is None else printable(address)),
        Text(clock(row["connected_s"])),
        Text("-" if waiting is None else decimal(waiting)),
        Text(printable(row.get("node") or "-")),
    ]


def _one_line(text: Text) -> Text:
    """Cut a text where the screen ends: `AROUND` counts on it."""
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _generation(facts: dict[str, Any]) -> list[str]:
    """Say which process at its address a server is, where there was another one or will be."""
    number = facts.get("generation", 1)
    return [f"generation {number}"] if number != 1 or facts.get("upgrade") else []


def _connections(facts: dict[str, Any]) -> str:
    told = (
        f"{facts['connections']} of {facts['capacity']}" if facts["capacity"] else str(facts["connections"])
    )
    return f"{told}, {facts['closing']} closing" if facts["closing"] else told


def _rates(facts: dict[str, Any]) -> str:
    return ", ".join(f"{printable(name)} {rate:g}/s" for name, rate in facts["rates"].items())
