"""The clients that several servers list, each once: those that share a Redis know of each other's."""

from collections.abc import Iterator, Sequence
from typing import Any

Facts = dict[str, Any]

_Place = tuple[str, str]


def each_client_once(seen: Sequence[Facts]) -> Iterator[Facts]:
    """Yield the servers' status, a client being listed by its own server if that is one of them, else by the
    first that knows of it."""
    own = {place for facts in seen for row in _rows(facts) if (place := _place(row)) and _is_own(row, facts)}
    listed: set[_Place] = set()
    for facts in seen:
        if "clients" not in facts:
            yield facts
            continue
        rows = [row for row in _rows(facts) if _is_own(row, facts) or _place(row) not in own | listed]
        listed.update(place for row in rows if (place := _place(row)))
        yield facts | {"clients": rows}


def _rows(facts: Facts) -> list[Facts]:
    return list(facts.get("clients") or ())


def _place(row: Facts) -> _Place | None:
    """Return the node and the id of a client; None where servers share nothing."""
    return (row["node"], row["client_id"]) if row.get("node") else None


def _is_own(row: Facts, facts: Facts) -> bool:
    own = [node["node"] for node in facts.get("nodes") or () if node.get("this")]
    return not row.get("node") or row["node"] in own
