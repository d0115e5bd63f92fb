"""Metrics as plain data, which one process can tell another as JSON."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from wsctl.hub.traffic import BOUNDS, Durations

UNITS = ("seconds", "bytes")
"""The units that stand at the end of a name, as OpenMetrics wants it; a metric without one is a count."""


class Sample(NamedTuple):
    """One number; `suffix` is what stands behind the family's name."""

    suffix: str
    labels: Mapping[str, str]
    value: float


class Family(NamedTuple):
    """One metric: `kind` is a type of OpenMetrics, and `name` lacks what samples of it have at their end."""

    name: str
    kind: str
    help: str
    samples: list[Sample]

    @property
    def unit(self) -> str:
        end = self.name.rpartition("_")[2]
        return end if end in UNITS else ""


def gauge(name: str, text: str, value: float | None) -> Family:
    """Return a value that goes up and down; None leaves it out: there is none at the moment."""
    return Family(name, "gauge", text, [] if value is None else [Sample("", {}, value)])


def gauges(name: str, text: str, label: str, values: Mapping[str, float]) -> Family:
    """Return a gauge with one value for each value of a label."""
    return Family(name, "gauge", text, [Sample("", {label: key}, value) for key, value in values.items()])


def counter(name: str, text: str, value: float) -> Family:
    """Return a value that only grows. `name` ends in `_total`, as it is seen."""
    return Family(name.removesuffix("_total"), "counter", text, [Sample("_total", {}, value)])


def counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Family:
    """Return a counter with one value for each value of a label."""
    samples = [Sample("_total", {label: key}, value) for key, value in values.items()]
    return Family(name.removesuffix("_total"), "counter", text, samples)


def histogram(name: str, text: str, durations: Durations) -> Family:
    """Return a histogram of times in seconds. Each bucket counts those before it too."""
    samples, count = [], 0
    for bound, inside in zip([*map(str, BOUNDS), "+Inf"], durations.counts, strict=True):
        count += inside
        samples.append(Sample("_bucket", {"le": bound}, count))
    return Family(
        name, "histogram", text, [*samples, Sample("_count", {}, count), Sample("_sum", {}, durations.total)]
    )


def info(name: str, text: str, labels: Mapping[str, str]) -> Family:
    """Return facts that are text. `name` ends in `_info`, as it is seen."""
    return Family(name.removesuffix("_info"), "info", text, [Sample("_info", labels, 1)])


def states(name: str, text: str, possible: Iterable[str], now: str) -> Family:
    """Return 1 for the present state and 0 for the others. The label has the metric's name (OpenMetrics 1.0,
    StateSet)."""
    return Family(name, "stateset", text, [Sample("", {name: each}, each == now) for each in possible])


def encode_families(families: Iterable[Family]) -> dict[str, Any]:
    """Return the families as JSON."""
    return {"families": list(families)}


def decode_families(body: Mapping[str, Any]) -> list[Family]:
    """Return the families of which `encode_families` made the body."""
    return [
        Family(name, kind, text, [Sample(*sample) for sample in samples])
        for name, kind, text, samples in body["families"]
    ]


def merge_workers(by_worker: Mapping[int, Sequence[Family] | None]) -> list[Family]:
    """Return the metrics of each worker, with its number as a label. A worker with None has only
    `wsctl_worker_up`, as 0."""
    up = {str(number): float(families is not None) for number, families in by_worker.items()}
    found = {"": gauges("wsctl_worker_up", "Whether the worker answered this scrape.", "worker", up)}
    for number, families in by_worker.items():
        for family in families or ():
            merged = found.setdefault(family.name, family._replace(samples=[]))
            merged.samples.extend(_labelled(sample, number) for sample in family.samples)
    return list(found.values())


def _labelled(sample: Sample, number: int) -> Sample:
    return sample._replace(labels={**sample.labels, "worker": str(number)})
