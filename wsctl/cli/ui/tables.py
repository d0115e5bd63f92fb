"""A server's status for people: as a block, as a line, and its clients as a table."""

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from wsctl.cli.ui.drain_bar import clock, described, figures
from wsctl.cli.ui.handover_bar import standing
from wsctl.cli.ui.printable import printable
from wsctl.client.control import drain_progress, handover_progress

Seen = tuple[str, dict[str, Any]]
"""A server's name, and what it told of itself."""

AROUND = 11
"""Lines of one server that are not clients: its block with a drain, the table's head and its last line
that counts the rest, and the empty ones between. Those who are named with the drain come on top, and an
upgrade."""

UPGRADE = 2
"""Lines of an upgrade, on a terminal of 80 columns."""

_PHASES = {
    "serving": "bold green",
    "lameduck": "bold yellow",
    "handover": "bold cyan",
    "draining": "bold yellow",
    "closing": "bold red",
}


def blocks(seen: Sequence[Seen], height: int | None = None) -> Group:
    """All servers, one below the other; their clients only as far as `height` lines reach."""
    room = None if height is None else max(0, height // max(1, len(seen)) - AROUND)
    parts: list[RenderableType] = []
    for n, (name, facts) in enumerate(seen):
        parts += [Text("")] if n else []
        parts.append(block(name, facts))
        if "clients" in facts:
            more = len(facts["drain"]["longest"]) if facts["drain"] else 0
            more += UPGRADE if facts.get("upgrade") else 0
            more += 1 if facts.get("group") else 0
            parts += [Text(""), clients(facts["clients"], None if room is None else max(0, room - more))]
    return Group(*parts)


def block(name: str, facts: dict[str, Any]) -> Group:
    """One server."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(overflow="fold")
    rows.add_row("  phase", Text(printable(facts["status"]), style=_PHASES.get(facts["status"], "bold")))
    rows.add_row("  connections", Text(_connections(facts)))
    if group := facts.get("group"):
        rows.add_row("  workers", Text(f"{len(group['workers'])}, {group['connections']} connected to all"))
    rows.add_row("  uptime", Text(clock(facts["uptime_s"])))
    rows.add_row("  rates", Text(_rates(facts)))
    rows.add_row("  newest id", Text(printable(facts["newest_id"])))
    if facts["drain"]:
        progress = drain_progress(facts["drain"])
        rows.add_row("  drain", Text(f"{figures(progress)} ({printable(progress.reason)})"))
        for n, stay in enumerate(progress.longest):
            # One line each: `AROUND` counts on it.
            rows.add_row("" if n else "  longest", Text(described(stay), no_wrap=True, overflow="ellipsis"))
    if facts.get("upgrade"):
        rows.add_row("  upgrade", Text(standing(handover_progress(facts["upgrade"]))))
    process = [f"pid {facts['pid']}", *_generation(facts), f"wsctl {printable(facts['version'])}"]
    title = Text(printable(name), style="bold")
    return Group(title.append(f"  {', '.join(process)}", "not bold dim"), rows)


def line(name: str, facts: dict[str, Any]) -> str:
    """One server in one line."""
    subject = " ".join([printable(name), *_generation(facts)])
    words = [
        f"{subject} {printable(facts['status'])}: {_connections(facts)} connected",
        _rates(facts),
    ]
    if facts["drain"]:
        words.append(f"drain {figures(drain_progress(facts['drain']))}")
    if facts.get("upgrade"):
        words.append(f"upgrade {standing(handover_progress(facts['upgrade']))}")
    return "; ".join(words)


def clients(rows: Sequence[dict[str, Any]], room: int | None = None) -> Table:
    """Clients, those connected longest first; at most `room` of them, and how many more there are."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("  client", overflow="fold")
    table.add_column("address", overflow="fold")
    table.add_column("connected", justify="right", no_wrap=True)
    table.add_column("waiting", justify="right", no_wrap=True)
    shown = rows if room is None else rows[:room]
    for row in shown:
        table.add_row(*_cells(row))
    if len(shown) < len(rows):
        table.add_row(Text(f"  and {len(rows) - len(shown)} more", style="dim"))
    return table


def _cells(row: dict[str, Any]) -> Iterable[Text]:
    return (
        Text(f"  {printable(row['client_id'])}"),
        Text(printable(row["address"])),
        Text(clock(row["connected_s"])),
        Text(decimal(row["waiting_bytes"])),
    )


def _generation(facts: dict[str, Any]) -> list[str]:
    """Which process at its address a server is, where there was another one or will be."""
    number = facts.get("generation", 1)
    return [f"generation {number}"] if number != 1 or facts.get("upgrade") else []


def _connections(facts: dict[str, Any]) -> str:
    told = (
        f"{facts['connections']} of {facts['capacity']}" if facts["capacity"] else str(facts["connections"])
    )
    return f"{told}, {facts['closing']} closing" if facts["closing"] else told


def _rates(facts: dict[str, Any]) -> str:
    return ", ".join(f"{printable(name)} {rate:g}/s" for name, rate in facts["rates"].items())
