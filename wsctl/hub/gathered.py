"""What one iteration of the loop publishes: batches for all connections, and between these, for some."""

from collections.abc import Iterator, Sequence

from wsctl.frame import DEFLATE_ABOVE, Batch
from wsctl.hub.connection import Connection


class _Run:
    """Batches for the same connections, with none for others that could be between them; `at` is how many
    batches for all are in front."""

    __slots__ = ("at", "batches", "connections", "topic")

    def __init__(self, at: int, connections: list[Connection], batch: Batch, topic: str | None) -> None:
        self.at = at
        self.connections = connections
        self.batches = [batch]
        self.topic = topic


class Gathered:
    """Batches in the order in which they were published.

    Attributes:
        for_all: those that are for all connections.
        for_some: those that are not.
    """

    __slots__ = ("for_all", "for_some")

    def __init__(self) -> None:
        self.for_all: list[Batch] = []
        self.for_some: list[_Run] = []

    def __bool__(self) -> bool:
        return bool(self.for_all or self.for_some)

    def add_for(self, connections: list[Connection], batch: Batch, topic: str | None) -> None:
        """Add a batch for some connections, which are found by the `topic` if there is one."""
        batch = _own(batch)
        last = self.for_some[-1] if self.for_some else None
        if last and last.topic == topic and last.at == len(self.for_all) and last.connections == connections:
            last.batches.append(batch)
        else:
            self.for_some.append(_Run(len(self.for_all), connections, batch, topic))

    def batch_for_all(self) -> Batch:
        """Return everything that is for all as one batch."""
        # History holds what is gathered, and no compressed copy of it.
        return self.for_all[0].copy() if len(self.for_all) == 1 else Batch.joined(self.for_all)

    def by_sequence(self) -> Iterator[tuple[Sequence[Connection], list[Batch]]]:
        """Return the connections that something is for which is not for all: those together that get the
        same, and what they get, with what is for all in its place."""
        runs = self.for_some
        if len(runs) == 1 and not self.for_all:
            yield runs[0].connections, runs[0].batches
            return
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
        for_all = [_own(batch) for batch in self.for_all]
        for sequence, connections in together.items():
            yield connections, _merged([runs[n] for n in sequence], for_all)


def _merged(runs: Sequence[_Run], for_all: Sequence[Batch]) -> list[Batch]:
    """Return the batches of some runs and those for all, in their order."""
    merged: list[Batch] = []
    at = 0
    for run in runs:
        merged += for_all[at : run.at]
        merged += run.batches
        at = run.at
    return [*merged, *for_all[at:]]


def _own(batch: Batch) -> Batch:
    """Return a batch that may be compressed: a copy, since history holds the other."""
    return batch.copy() if len(batch.wire) > DEFLATE_ABOVE else batch
