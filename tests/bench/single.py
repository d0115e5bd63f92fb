"""A bench of one question, which is measured alone (`python -m tests.bench.topics`) or by the whole bench."""

import argparse
import gc
import json
import os
import resource
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from statistics import median
from types import MappingProxyType, SimpleNamespace
from typing import Any

from tests.bench.server import CORES

Figures = dict[str, float]
"""Values by name: a cost has its unit in the name, a ratio ends with `ratio`."""


@dataclass(frozen=True)
class Bench:
    """One question, and how it is measured.

    Attributes:
        about: what is measured, for the heading of a table.
        measure: returns the figures. It is given the options as attributes.
        full: the options, with their values in a full run.
        quick: those that are smaller where only is tried whether it works at all.
        note: what one has to know to read the figures, if anything.
    """

    name: str
    about: str
    measure: Callable[[SimpleNamespace], Figures]
    full: Mapping[str, Any]
    quick: Mapping[str, Any]
    note: str = ""

    def run(self, *, quick: bool = False, **given: Any) -> Figures:
        """Measure with these options; those that are None or not known here stay as they are."""
        known = {name: value for name, value in given.items() if value is not None and name in self.full}
        prepare_load()
        gc.collect()
        gc.disable()  # a pause of the client would look like one of the server
        try:
            return self.measure(SimpleNamespace(**{**self.full, **(self.quick if quick else {}), **known}))
        finally:
            gc.enable()


def run_alone(bench: Bench, arguments: Sequence[str]) -> int:
    """Measure one bench; returns the exit code, and prints a table, or JSON."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.bench.{bench.name}", description=bench.about)
    for name, value in bench.full.items():
        kind = {"nargs": "+"} if isinstance(value, tuple) else {"type": type(value)}
        parser.add_argument(f"--{name}", **kind, help=f"default: {value}")
    parser.add_argument("--quick", action="store_true", help="as small as can be: does it work at all")
    parser.add_argument("--json", action="store_true")
    options = vars(parser.parse_args(arguments))
    as_json = options.pop("json")
    found = bench.run(**options)
    print(json.dumps(rounded(found)) if as_json else table(found))
    return 0


def rounded(found: Figures) -> Figures:
    return {name: round(value, 3) for name, value in found.items()}


def table(found: Figures) -> str:
    """The figures, a line each."""
    width = max(map(len, found))
    return "\n".join(f"{name:{width}} {value:12.2f}" for name, value in found.items())


def prepare_load() -> None:
    """Let this process load servers: on a core of its own, with as many open files as there may be."""
    if CORES:
        os.sched_setaffinity(0, {CORES[1]})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def medians(
    measures: Mapping[str, Callable[[], float]],
    rounds: int,
    ratios: Mapping[str, tuple[str, str]] = MappingProxyType({}),
) -> Figures:
    """The median of each over the rounds, in each of which all are measured one after the other, beginning
    with another. `ratios` names two of them: the median of what one is to the other in the same round."""
    names, turn = list(measures), count()

    def one_round() -> Figures:
        first = next(turn) % len(names)
        found = {name: measures[name]() for name in [*names[first:], *names[:first]]}
        return found | {name: found[one] / found[other] for name, (one, other) in ratios.items()}

    return medians_of(one_round, rounds)


def medians_of(one_round: Callable[[], Figures], rounds: int) -> Figures:
    """The median of each figure over so many rounds beside the first, which does not count unless it is the
    only one: on a machine that had nothing to do, whatever is measured first costs a quarter less."""
    runs = [one_round() for _ in range(1 + rounds)]
    runs = runs[1:] or runs
    return {name: median([run[name] for run in runs]) for name in runs[0]}


def main(bench: Bench) -> None:
    """Measure one bench as its command line says, and end the process."""
    sys.exit(run_alone(bench, sys.argv[1:]))
