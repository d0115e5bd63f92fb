"""What one iteration of the loop publishes: batches for all connections, and between these, for some."""

from collections.abc import Iterator, Sequence

from wsctl.frame import Batch
from wsctl.hub.connection import Connection


class Run:
    """Batches for the same connections, with none for others that could be between them; `at` is how many
    batches for all are in front."""

    __slots__ = ("at", "batches", "connections", "topic")

    def __init__(self, at: int, connections: list[Connection], batch: Batch, topic: str | None) -> None:
        self.at = at
        self.connections = connections
        self.batches = [batch]
        self.topic = topic


def add_run(
    runs: list[Run], at: int, connections: list[Connection], batch: Batch, topic: str | None = None
) -> None:
    """Add a batch for some connections behind so many batches for all; they are found by the `topic` if there
    is one."""
    batch = batch.copy()  # history holds the other, and no other form of it
    last = runs[-1] if runs else None
    if last and last.topic == topic and last.at == at and last.connections == connections:
        last.batches.append(batch)
    else:
        runs.append(Run(at, connections, batch, topic))


def by_sequence(
    runs: Sequence[Run], for_all: Sequence[Batch]
) -> Iterator[tuple[Sequence[Connection], list[Batch]]]:
    """Return the connections that have a run: those together that get the same, and what they get, with what
    is for all in its place."""
    mixed = runs
    if not for_all:
        repeated = _repeated(runs)
        mixed = [run for run in runs if not repeated.isdisjoint(run.connections)]
        for run in runs if not mixed else [run for run in runs if repeated.isdisjoint(run.connections)]:
            yield run.connections, run.batches
    if mixed:
        yield from _sorted(mixed, for_all)


def _sorted(
    runs: Sequence[Run], for_all: Sequence[Batch]
) -> Iterator[tuple[Sequence[Connection], list[Batch]]]:
    """Return the same, where connections have several runs."""
    wanted: dict[Connection, list[int]] = {}
    for n, run in enumerate(runs):
        for connection in run.connections:
            if connection in wanted:
                wanted[connection].append(n)
            else:
                wanted[connection] = [n]
    together: dict[tuple[int, ...], list[Connection]] = {}
    for connection, numbers in wanted.items():
        together.setdefault(tuple(numbers), []).append(connection)
    own = [batch.copy() for batch in for_all]
    for sequence, connections in together.items():
        yield connections, _merged([runs[n] for n in sequence], own)


def _repeated(runs: Sequence[Run]) -> set[Connection]:
    """Return the connections that have more than one of the runs: few, where each topic has its own
    subscribers."""
    seen: set[Connection] = set()
    repeated: set[Connection] = set()
    for run in runs if len(runs) > 1 else ():
        if not seen.isdisjoint(run.connections):
            repeated.update(seen.intersection(run.connections))
        seen.update(run.connections)
    return repeated


def _merged(runs: Sequence[Run], for_all: Sequence[Batch]) -> list[Batch]:
    """Return the batches of some runs and those for all, in their order."""
    merged: list[Batch] = []
    at = 0
    for run in runs:
        merged += for_all[at : run.at]
        merged += run.batches
        at = run.at
    return [*merged, *for_all[at:]]
