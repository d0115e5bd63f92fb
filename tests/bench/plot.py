"""The table's main rows as a picture: bars, CPU per delivery relative to the floor."""

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import Any

from tests.bench.peer import Peer
from tests.bench.scenarios import FULL
from tests.bench.table import Figure, figures

WIDTH, LEFT, RIGHT = 760, 210, 70
ROW, BAR, GROUP = 24, 16, 46
BOTTOM = 30

MOST = 3.0
"""The ratio at which a bar is cut: a longer one would make all others too short to compare."""

LEGEND = (
    "A delivery is one message to one client; a bar of 2.00 takes twice the CPU that the floor takes for it.",
    "The floor, the dashed line, is a loop in Python that only writes, once for each client and message.",
    "Below the floor, left of the line, is a server whose writes cost less than Python's, or that writes",
    "less often: with 16 messages at a time, those that wait go out in one write. Shorter is better.",
)
"""What one has to know to read the plot."""

TOP = 62 + 18 * len(LEGEND)

INK, FAINT, PAPER = "#1f2328", "#59636e", "#ffffff"
COLOURS = {"floor": "#8c959f", "wsctl": "#0969da"}
OTHER = "#bf8700"

_FONT = "font-family=\"system-ui,-apple-system,'Segoe UI',Helvetica,Arial,sans-serif\""


def svg(peers: Iterable[Peer], found: Mapping[str, Any]) -> str:
    """An SVG with a background of its own, so that it reads the same on light and dark pages."""
    rows = [row for row in figures(FULL) if row.compared and row.key.endswith("_us")]
    groups = [(found["figures"].get(row.key, ""), _bars(row, peers, found["servers"])) for row in rows]
    groups = [(title, bars) for title, bars in groups if bars]
    longest = min(MOST, max((ratio for _, bars in groups for _, _, ratio in bars), default=1.0))
    scale = (WIDTH - LEFT - RIGHT) / longest
    height = TOP + sum(GROUP + ROW * len(bars) for _, bars in groups) + BOTTOM
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" {_FONT}>',
            f'<rect width="{WIDTH}" height="{height}" rx="8" fill="{PAPER}"/>',
            _text(24, 32, "CPU of the server for a delivery, against the floor's", 17, weight=600),
            *(_text(24, 52 + 18 * n, line, 12, FAINT) for n, line in enumerate(LEGEND)),
            *_groups(groups, scale),
            "</svg>\n",
        ]
    )


def _bars(
    row: Figure, peers: Iterable[Peer], cells: Mapping[str, Mapping[str, Any]]
) -> list[tuple[str, str, float]]:
    """Name, title and ratio of each server that has this row."""
    found = [(peer, cells.get(peer.name, {}).get(row.key, {}).get("ratio")) for peer in peers]
    return [(peer.name, peer.title, ratio) for peer, ratio in found if ratio is not None]


def _groups(groups: list[tuple[str, list[tuple[str, str, float]]]], scale: float) -> Iterator[str]:
    y, one = TOP, LEFT + scale
    for title, bars in groups:
        yield _text(24, y + 30, title.removeprefix("CPU µs a delivery, "), 13, weight=600)
        y += GROUP - 6
        bottom = y + ROW * len(bars)
        yield f'<path d="M{one:.1f} {y - 2}V{bottom}" stroke="{FAINT}" stroke-dasharray="3 3"/>'
        for name, label, ratio in bars:
            yield from _bar(y, name, label, ratio, scale)
            y += ROW
        y += 6


def _bar(y: int, name: str, label: str, ratio: float, scale: float) -> Iterator[str]:
    weight = 600 if name == "wsctl" else 400
    width = max(1.0, min(ratio, MOST) * scale)
    value = f"{ratio:.2f}" if ratio <= MOST else f"{ratio:.1f}, cut"
    yield _text(LEFT - 10, y + 13, label, 12, anchor="end", weight=weight)
    fill = COLOURS.get(name, OTHER)
    yield f'<rect x="{LEFT}" y="{y + 1}" width="{width:.1f}" height="{BAR}" rx="2" fill="{fill}"/>'
    yield _text(LEFT + width + 6, y + 13, value, 12, weight=weight)


def _text(
    x: float, y: float, text: str, size: int, colour: str = INK, *, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
        f' text-anchor="{anchor}" stroke="{PAPER}" stroke-width="3" paint-order="stroke">'
        f"{escape(text)}</text>"
    )
