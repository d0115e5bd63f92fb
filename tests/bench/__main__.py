"""`python -m tests.bench`: measure, print the table, write it as JSON and as a plot."""

import argparse
import json
import os
import platform
import resource
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from tests.bench import plot, table
from tests.bench.peer import PEERS, Peer
from tests.bench.rounds import Outcome, run
from tests.bench.scenarios import FULL, QUICK, SCENARIOS, Scale, Scenario
from tests.bench.server import CORES

Named = TypeVar("Named", Peer, Scenario)

HERE = Path(__file__).parent

SPARE_FILES = 100
"""Descriptors a process needs beside its connections."""


def main(arguments: Sequence[str]) -> int:
    """Returns the exit code: 0 measured, 1 something failed, 2 not possible here."""
    options = _options(arguments)
    if not sys.platform.startswith("linux"):
        _say("the bench needs Linux: it uses epoll and reads the cost of processes from /proc")
        return 2
    if CORES:
        os.sched_setaffinity(0, {CORES[1]})
    else:
        _say("server and client share the only core: read the ratios, not the figures")
    scale = _within_open_files(QUICK if options.quick else FULL)
    peers = [peer for peer in _chosen(PEERS, options.only) if _is_there(peer)]
    outcome = run(peers, _chosen(SCENARIOS, options.only), scale, 1 if options.quick else 5, _say)
    _report(outcome, peers, scale, options)
    return 1 if outcome.failures else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure what a broadcast costs."
    )
    names = [*(peer.name for peer in PEERS), *(scenario.name for scenario in SCENARIOS)]
    parser.add_argument("--quick", action="store_true", help="few clients and one round: does it work at all")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="the table as JSON; a full run writes results.json"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the plot; a full run writes results.svg")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=[], metavar="NAME", help=f"some of {', '.join(names)}"
    )
    options = parser.parse_args(arguments)
    # What was measured quickly or in part must not take the place of what README shows.
    if not options.quick and not options.only:
        options.json = options.json or HERE / "results.json"
        options.svg = options.svg or HERE / "results.svg"
    return options


def _chosen(known: Sequence[Named], names: Sequence[str]) -> list[Named]:
    """Those that are named; all, when none of their kind is."""
    return [one for one in known if one.name in names] or list(known)


def _is_there(peer: Peer) -> bool:
    if not peer.installed:
        _say(f"{peer.name} is left out: it is not installed (pip install -e '.[bench]')")
    return peer.installed


def _within_open_files(scale: Scale) -> Scale:
    """As many clients as the limit of open files allows; it is raised as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    room = scale.idle if hard == resource.RLIM_INFINITY else hard - SPARE_FILES
    if room < scale.idle:
        _say(f"the limit of open files allows {room} clients, not {scale.idle}")
    return replace(
        scale, clients=min(room, scale.clients), many=min(room, scale.many), idle=min(room, scale.idle)
    )


def _report(outcome: Outcome, peers: Sequence[Peer], scale: Scale, options: argparse.Namespace) -> None:
    rows = table.figures(scale)
    cells = table.summary(outcome.runs, rows)
    print(table.text(peers, rows, cells))
    print(f"\n{table.conditions()}")
    if options.json:
        facts = {"conditions": table.conditions(), "machine": _machine(), "failures": outcome.failures}
        titles = {row.key: row.title.strip() for row in rows}
        options.json.write_text(
            json.dumps({**facts, "figures": titles, "servers": cells}, indent=1, ensure_ascii=False) + "\n"
        )
    if options.svg:
        options.svg.write_text(plot.svg(peers, rows, cells))
    for failure in outcome.failures:
        _say(f"failed: {failure}")


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "kernel": platform.release(), "cores": os.cpu_count()}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
