"""`python -m tests.bench`: measure everything, print the tables, and write them as JSON, as a plot, and into
README and the manual."""

import argparse
import json
import os
import platform
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from tests.bench import (
    application,
    event_streams,
    homes,
    one_stream,
    pages,
    plot,
    publish,
    startup,
    table,
    topics,
)
from tests.bench.peer import NOT_COMPARED, PEERS, Peer
from tests.bench.rounds import run
from tests.bench.scenarios import FULL, QUICK, SCENARIOS, Scale, Scenario
from tests.bench.server import CORES
from tests.bench.single import Bench, prepare_load, rounded

_MODULES = topics, publish, event_streams, homes, one_stream, application, startup
BENCHES = tuple(module.BENCH for module in _MODULES)
"""The benches of one question, in the order in which they are measured."""

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
    begun = time.monotonic()
    if not CORES:
        _say("server and client share the only core: read the ratios, not the figures")
    prepare_load()
    absent = {peer.name: why for peer in PEERS if (why := peer.missing)}
    results = Results(missing=absent | NOT_COMPARED)
    for name, why in absent.items():
        _say(f"{name} is left out: {why}")
    if _are_servers_chosen(options.only):
        _measure_servers(options, results)
    for bench in _chosen_benches(options.only):
        _measure_bench(bench, options, results)
    results.seconds = time.monotonic() - begun
    _report(results, options)
    return 1 if results.failures else 0


@dataclass
class Results:
    """What a run has found: the table of the servers, and the figures of each single bench; `missing` are the
    servers that are left out, with the reason."""

    missing: dict[str, str]
    failures: list[str] = field(default_factory=list)
    titles: dict[str, str] = field(default_factory=dict)
    servers: dict[str, dict[str, Any]] = field(default_factory=dict)
    singles: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        return {
            "conditions": table.conditions(),
            "machine": _machine(),
            "seconds": round(self.seconds),
            "left_out": self.missing,
            "failures": self.failures,
            "figures": self.titles,
            "servers": self.servers,
            "singles": self.singles,
        }


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="Measure what a broadcast costs, and everything around it."
    )
    names = [each.name for each in (*PEERS, *SCENARIOS, *BENCHES)]
    parser.add_argument("--quick", action="store_true", help="few clients and one round: does it work at all")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="the results as JSON; a full run writes results.json"
    )
    parser.add_argument("--svg", type=Path, metavar="FILE", help="the plot; a full run writes results.svg")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each measurement")
    parser.add_argument(
        "--only", nargs="+", choices=names, default=[], metavar="NAME", help=f"some of {', '.join(names)}"
    )
    options = parser.parse_args(arguments)
    # What was measured quickly or in part must not take the place of what README shows.
    options.whole = not options.quick and not options.only
    if options.whole:
        options.json = options.json or HERE / "results.json"
        options.svg = options.svg or HERE / "results.svg"
    return options


def _are_servers_chosen(names: Sequence[str]) -> bool:
    return not names or any(each.name in names for each in (*PEERS, *SCENARIOS))


def _chosen_benches(names: Sequence[str]) -> list[Bench]:
    return [bench for bench in BENCHES if not names or bench.name in names]


def _measure_servers(options: argparse.Namespace, results: Results) -> None:
    scale = _within_open_files(QUICK if options.quick else FULL)
    peers = [peer for peer in _chosen(PEERS, options.only) if not peer.missing]
    rounds = options.rounds or (1 if options.quick else 5)
    outcome = run(peers, _chosen(SCENARIOS, options.only), scale, rounds, _say)
    rows = table.figures(scale)
    results.titles = {row.key: row.title for row in rows}
    results.servers = table.summary(outcome.runs, rows)
    results.failures += outcome.failures


def _measure_bench(bench: Bench, options: argparse.Namespace, results: Results) -> None:
    _say(f"{bench.name}: {bench.about}")
    begun = time.monotonic()
    try:
        found = bench.run(quick=options.quick, rounds=options.rounds)
    except Exception as error:  # what the others have found must not be lost
        results.failures.append(f"{bench.name}: {type(error).__name__}: {error}")
        return
    seconds = round(time.monotonic() - begun)
    results.singles[bench.name] = {
        "about": bench.about,
        "note": bench.note,
        "seconds": seconds,
        "figures": rounded(found),
    }


def _chosen(known: Sequence[Named], names: Sequence[str]) -> list[Named]:
    """Those that are named; all, when none of their kind is."""
    return [one for one in known if one.name in names] or list(known)


def _within_open_files(scale: Scale) -> Scale:
    """As many clients as the limit of open files allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    room = scale.many if hard == resource.RLIM_INFINITY else hard - SPARE_FILES
    if room < scale.many:
        _say(f"the limit of open files allows {room} clients, not {scale.many}")
    return replace(scale, clients=min(room, scale.clients), many=min(room, scale.many))


def _report(results: Results, options: argparse.Namespace) -> None:
    found = results.as_json()
    print(table.whole(found))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    if options.svg and results.servers:
        options.svg.write_text(plot.svg(PEERS, found))
    if options.whole:
        pages.write(found)
    for failure in results.failures:
        _say(f"failed: {failure}")


def _machine() -> dict[str, object]:
    return {"python": platform.python_version(), "kernel": platform.release(), "cores": os.cpu_count()}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
