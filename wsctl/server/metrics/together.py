"""The metrics of several workers as one answer."""

from collections.abc import Mapping, Sequence

from wsctl.server.metrics.family import Family, Sample, gauges


def together(told: Mapping[int, Sequence[Family] | None]) -> list[Family]:
    """Return the metrics of each worker, with its number as a label. A worker with None has only
    `wsctl_worker_up`, as 0."""
    up = {str(number): float(families is not None) for number, families in told.items()}
    found = {"": gauges("wsctl_worker_up", "Whether the worker answered this scrape.", "worker", up)}
    for number, families in told.items():
        for family in families or ():
            merged = found.setdefault(family.name, family._replace(samples=[]))
            merged.samples.extend(_labelled(sample, number) for sample in family.samples)
    return list(found.values())


def _labelled(sample: Sample, number: int) -> Sample:
    return sample._replace(labels={**sample.labels, "worker": str(number)})
