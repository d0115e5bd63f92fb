"""The figures of a run: medians, ratios to the floor, and how they are printed and written."""

import statistics
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.scenarios import FULL, JSON_SIZE, LARGE, SMALL, Scale

FLOOR = "floor"

Runs = dict[str, dict[str, list[float]]]
"""What was measured: by server, by figure, one value a round."""


@dataclass(frozen=True)
class Figure:
    """One row: `compared` ones show the ratio to the floor, `total` ones the sum and not the median."""

    key: str
    title: str
    digits: int
    compared: bool = False
    total: bool = False

    def value(self, values: list[float]) -> float | None:
        if not values:
            return None
        return sum(values) if self.total else statistics.median(values)


def figures(scale: Scale) -> tuple[Figure, ...]:
    """The rows, with the numbers of clients of this run in their titles."""
    few = f"{scale.clients:,} clients"
    return (
        Figure("fanout_us", f"CPU µs a delivery, {few}, one message at a time", 2, compared=True),
        Figure("fanout_user_us", f"CPU µs a delivery in user space, {few}", 2),
        Figure(
            "many_us", f"CPU µs a delivery, {scale.many:,} clients, one message at a time", 2, compared=True
        ),
        Figure("queued_us", f"CPU µs a delivery, {few}, 16 messages at a time", 2, compared=True),
        Figure("latency_p50_ms", f"latency p50 ms, {few}, 10/s", 2, compared=True),
        Figure("latency_p99_ms", f"latency p99 ms, {few}, 10/s", 2, compared=True),
        Figure("latency_max_ms", f"latency longest ms, {few}, 10/s", 2),
        Figure("handshakes_per_s", f"handshakes/s, {scale.many:,} clients", 0),
        Figure("handshake_us", "CPU µs a handshake", 1),
        Figure("kib_per_connection", "KiB an idle connection", 2),
        Figure("slow_rate", f"rate of the others when {scale.slow} do not read", 2),
        Figure("slow_growth_mib", f"growth of memory when {scale.slow} do not read, MiB", 1),
        Figure("slow_cut", f"cut off, of {scale.slow} that do not read", 0),
        Figure("plain_us", f"CPU µs a delivery, {JSON_SIZE // 1024} KiB of JSON", 2),
        Figure("deflated_us", f"CPU µs a delivery, {JSON_SIZE // 1024} KiB of JSON, permessage-deflate", 2),
        Figure("forced_closed", "close frames when forced", 0),
        Figure("forced_spread_s", "seconds from the first to the last of them", 3),
        Figure("order_errors", "frames lost, twice or out of order", 0, total=True),
    )


def summary(runs: Runs, rows: Iterable[Figure]) -> dict[str, dict[str, Any]]:
    """By server and figure: the median or sum, its ratio to the floor where it is compared, each round. The
    ratio is the median of those of the rounds: between two of them the machine may change its speed."""
    result: dict[str, dict[str, Any]] = {}
    for name, measured in runs.items():
        for row in rows:
            value = row.value(measured.get(row.key, []))
            if value is None:
                continue
            cell: dict[str, Any] = {"value": round(value, 4)}
            bases = runs.get(FLOOR, {}).get(row.key, [])
            if row.compared and bases:
                cell["ratio"] = round(_ratio(measured[row.key], bases), 3)
            cell["runs"] = [round(one, 4) for one in measured[row.key]]
            result.setdefault(name, {})[row.key] = cell
    return result


def _ratio(values: Sequence[float], bases: Sequence[float]) -> float:
    if len(values) != len(bases):  # one of them failed in a round
        return statistics.median(values) / statistics.median(bases)
    return statistics.median([value / base for value, base in zip(values, bases, strict=True)])


def whole(found: Mapping[str, Any]) -> str:
    """Everything that a run has found, in Markdown: the table of the servers, and one a single bench."""
    parts = [servers(found), conditions(), left_out(found)] if found["servers"] else []
    parts += [single(bench) for bench in found.get("singles", {}).values()]
    return "\n\n".join(part for part in parts if part)


def servers(found: Mapping[str, Any], keys: Collection[str] = ()) -> str:
    """The table of the servers, aligned for a terminal, with these rows or all; in brackets the ratio to the
    floor."""
    cells: Mapping[str, Mapping[str, Any]] = found["servers"]
    lines = [["", *cells]]
    for row in figures(FULL):
        line = [_cell(row, measured.get(row.key)) for measured in cells.values()]
        if any(line) and row.key in (keys or found["figures"]):
            lines.append([found["figures"][row.key], *line])
    return _table(lines)


def single(bench: Mapping[str, Any]) -> str:
    """The figures of a single bench below what they are about, and what one has to know to read them."""
    lines = [[bench["about"], ""], *([name, f"{value:,.2f}"] for name, value in bench["figures"].items())]
    return "\n\n".join(filter(None, [_table(lines), bench.get("note", "")]))


def left_out(found: Mapping[str, Any]) -> str:
    """The servers that were not there, each with the reason."""
    return "; ".join(f"{name} was left out: {why}" for name, why in found.get("left_out", {}).items())


def _table(lines: Sequence[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    printed = [_line(line, widths) for line in lines]
    rule = "|".join(["", "-" * (widths[0] + 2), *("-" * (width + 1) + ":" for width in widths[1:]), ""])
    return "\n".join([printed[0], rule, *printed[1:]])


def _line(line: list[str], widths: list[int]) -> str:
    first, *rest = zip(line, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"


def _cell(row: Figure, cell: Mapping[str, Any] | None) -> str:
    if cell is None:
        return ""
    value = f"{cell['value']:,.{row.digits}f}"
    return f"{value} ({cell['ratio']:.2f})" if "ratio" in cell else value


def conditions() -> str:
    """What one has to know to read the table."""
    return (
        "CPU is the server's, user and system, on a core of its own where there are two. "
        f"Payloads have {SMALL} bytes as delivered, {LARGE // 1024} KiB when some do not read. "
        "In brackets: the ratio to the floor. That is Python too: an epoll loop that does map(os.write) "
        "over the sockets after a minimal handshake, and nothing else."
    )
