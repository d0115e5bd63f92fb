"""The order of a run: each scenario once with every server before any repeats.

So a machine that changes its speed changes it for all. Each round begins with another server, and where there
are several, the very first measurement is made twice, once without counting: on a machine that had nothing to
do, whatever is measured first costs a quarter less.
"""

import gc
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from tests.bench.peer import Peer
from tests.bench.scenarios import Scale, Scenario
from tests.bench.table import Runs

BUDGET = 400.0
"""Seconds after which no further measurement begins: with the benches of one question behind it, a run ends
within twelve minutes."""


@dataclass
class Outcome:
    """The figures of a run, and what went wrong, a line each."""

    runs: Runs = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))
    failures: list[str] = field(default_factory=list)


def run(
    peers: Sequence[Peer],
    scenarios: Sequence[Scenario],
    scale: Scale,
    rounds: int,
    say: Callable[[str], None],
) -> Outcome:
    """Measure everything, at most `rounds` times; `say` gets a line before each step."""
    outcome, begun = Outcome(), time.monotonic()
    for _, scenario, peer in islice(_steps(peers, scenarios, rounds), rounds > 1):
        _measure(scenario, peer, scale, Outcome())
    for number, scenario, peer in _steps(peers, scenarios, rounds):
        at = f"round {number + 1}: {scenario.name}, {peer.name}"
        elapsed = time.monotonic() - begun
        if elapsed > BUDGET:
            say(f"{elapsed:.0f} s are over: the rest is left out, from {at}")
            break
        say(f"{elapsed:4.0f} s  {at}")
        _measure(scenario, peer, scale, outcome)
    return outcome


def _steps(
    peers: Sequence[Peer], scenarios: Sequence[Scenario], rounds: int
) -> Iterator[tuple[int, Scenario, Peer]]:
    for number in range(rounds):
        for scenario in scenarios:
            first = number % max(1, len(peers))
            for peer in [*peers[first:], *peers[:first]]:
                if number < scenario.rounds and scenario.only in ("", peer.name):
                    yield number, scenario, peer


def _measure(scenario: Scenario, peer: Peer, scale: Scale, outcome: Outcome) -> None:
    gc.collect()
    gc.disable()  # a pause of the client would look like one of the server
    try:
        figures = scenario.measure(peer, scale)
    except (OSError, ValueError) as error:
        outcome.failures.append(f"{scenario.name}, {peer.name}: {error}")
        return
    finally:
        gc.enable()
    for name, value in figures.items():
        outcome.runs[peer.name][name].append(value)
