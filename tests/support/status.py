"""What servers tell of themselves, and how it is drawn."""

import io
from collections.abc import Sequence
from typing import Any

from rich.console import Console

from wsctl.cli.ui import tables
from wsctl.client.control import read_status
from wsctl.control.status import TopicList

FACTS: dict[str, Any] = {
    "status": "serving",
    "connections": 3,
    "uptime_s": 3725.0,
    "version": "0.1.0",
    "pid": 7,
    "capacity": 1000,
    "closing": 0,
    "newest_id": "1-0",
    "messages": {"published": 1, "received": 0, "delivered": 3},
    "rates": {"published": 0.1, "received": 0.0, "delivered": 12.5},
    "drain": None,
}

DRAIN: dict[str, Any] = {
    "phase": "draining",
    "reason": "SIGTERM",
    "cancellable": False,
    "started_with": 3,
    "active": 2,
    "elapsed_s": 65.0,
    "remaining_s": 1735.0,
    "left": 1,
    "evicted": 0,
    "forced": 0,
    "aborted": 0,
    "undelivered": 0,
    "oldest": "bob",
    "handed_over": 0,
    "eta_s": 42.5,
    "longest": [
        {"client_id": "bob", "connected_s": 125.0, "waiting_bytes": 12_000},
        {"client_id": "eve", "connected_s": 70.0, "waiting_bytes": 0},
    ],
}


def node(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "node": f"0000000{number}",
        "host": "alpha",
        "pid": 100 + number,
        "url": f"http://127.0.0.1:800{number}",
        "version": "0.1.0",
        "generation": 1,
        "phase": "serving",
        "connections": 300,
        "this": number == 1,
    } | facts


SHARED: dict[str, Any] = FACTS | {
    "degraded": None,
    "redis": {"url": "redis://there:6379/0", "state": "up", "for_s": 3725.0, "why": None},
    "nodes": [node(1), node(2, phase="lameduck"), node(3, url=None)],
    "cluster": {"nodes": 3, "connections": 900},
}

AWAY: dict[str, Any] = SHARED | {
    "degraded": "Redis is away: connection refused",
    "redis": {"url": "redis://there:6379/0", "state": "away", "for_s": 12.3, "why": "connection refused"},
}


JOURNAL: dict[str, Any] = FACTS | {
    "journal": {
        "path": "/var/lib/wsctl/log.db",
        "sync": "full",
        "state": "up",
        "for_s": 3725.0,
        "why": None,
        "bytes": 12_345_678,
        "waiting": 0,
    }
}


def from_second(facts: dict[str, Any]) -> dict[str, Any]:
    """The same cluster, as its second node tells of it."""
    return facts | {"nodes": [each | {"this": n == 1} for n, each in enumerate(facts["nodes"])]}


def line(name: str, facts: dict[str, Any]) -> str:
    """What a server tells, in one line."""
    return tables.line(name, read_status(facts))


def drawn(
    *seen: tuple[str, dict[str, Any]],
    height: int | None = None,
    width: int = 100,
    topics: Sequence[TopicList | None] = (),
) -> str:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, force_terminal=True, color_system=None)
    read = [(name, read_status(facts)) for name, facts in seen]
    with console.capture() as shown:
        console.print(tables.blocks(read, height, topics))
    return "\n".join(row.rstrip() for row in shown.get().splitlines())
