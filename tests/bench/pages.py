"""`python -m tests.bench.pages`: write the tables of results.json into README and the manual, and the plot.

Each stands between two comments, and what is between them is written by nobody else.
"""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

from tests.bench import plot, table
from tests.bench.peer import PEERS
from tests.bench.server import ROOT

RESULTS = Path(__file__).parent / "results.json"

BEGIN, END = "<!-- bench: python -m tests.bench.pages writes this -->\n", "<!-- /bench -->"

SHOWN = ("fanout_us", "queued_us", "latency_p99_ms", "handshakes_per_s", "handshake_us", "kib_per_connection")
"""The rows that README has."""


def for_readme(found: Mapping[str, Any]) -> str:
    """README's part."""
    return compact(table.servers(found, SHOWN)) + "\n"


def for_manual(found: Mapping[str, Any]) -> str:
    """The manual's part: everything, and how long it took."""
    machine = found["machine"]
    took = f"{found['seconds'] / 60:.0f} minutes" if found.get("seconds") else "some minutes"
    where = f"{machine['cores']} cores, Linux {machine['kernel']}, Python {machine['python']}"
    return f"Measured in {took}, on {where}.\n\n{compact(table.whole(found))}\n"


def compact(text: str) -> str:
    """Tables without what aligns them on a terminal, and prose in lines of 79 columns."""
    narrow = re.sub(r" {2,}", " ", re.sub(r"-{3,}", "---", text))
    return "\n".join(line if line[:1] in ("|", "") else fill(line, 79) for line in narrow.split("\n"))


PAGES: Mapping[Path, Callable[[Mapping[str, Any]], str]] = {
    ROOT / "README.md": for_readme,
    ROOT / "wsctl/docs/performance.md": for_manual,
}


def written(text: str, part: str) -> str:
    """A page with another part between its comments."""
    return re.sub(
        f"({re.escape(BEGIN)}).*?({re.escape(END)})", lambda at: at[1] + part + at[2], text, flags=re.DOTALL
    )


def write(found: Mapping[str, Any]) -> None:
    """Write the tables of a run into all pages."""
    for path, part in PAGES.items():
        path.write_text(written(path.read_text(), part(found)))


if __name__ == "__main__":
    results = json.loads(RESULTS.read_text())
    write(results)
    (RESULTS.parent / "results.svg").write_text(plot.svg(PEERS, results))
