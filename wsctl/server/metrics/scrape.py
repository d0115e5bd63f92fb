"""A scrape: the metrics of the process, and the text in the format that is asked for.

Prometheus's own library makes both. Loading it, counting descriptors and making text take long, so that it is
loaded at the first scrape, and all of that runs beside the event loop.
"""

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from wsctl.server.http.semantics import preference
from wsctl.server.metrics.family import Family, Sample

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
"""The content type that every Prometheus understands."""


async def process() -> list[Family]:
    """Return memory, CPU and descriptors of this process, as far as the system tells; macOS does not."""
    return await asyncio.to_thread(read_process)


async def text(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the text as the header `accept` wants it, and its content type."""
    return await asyncio.to_thread(encode, families, accept)


def read_process() -> list[Family]:
    """Do what `process` does, in this thread."""
    from prometheus_client import ProcessCollector

    return [
        Family(
            m.name,
            m.type,
            m.documentation,
            [Sample(s.name[len(m.name) :], s.labels, s.value) for s in m.samples],
        )
        for m in ProcessCollector(registry=None).collect()
    ]


def encode(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the text, and its content type: OpenMetrics 1.0 where `accept` prefers it, else Prometheus's
    own."""
    from prometheus_client import generate_latest, openmetrics
    from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

    registry = _registry(families)
    if _openmetrics_is_wanted(accept):
        text: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
        return text, openmetrics.exposition.CONTENT_TYPE_LATEST
    return generate_latest(registry), PLAIN


def _registry(families: Iterable[Family]) -> "CollectorRegistry":
    """Return a registry that collects just these families."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    class Given(Collector):
        def collect(self) -> "Iterator[Metric]":
            return map(_metric, families)

    registry = CollectorRegistry()
    registry.register(Given())
    return registry


def _metric(family: Family) -> "Metric":
    """Return a family as the library has it."""
    from prometheus_client.metrics_core import Metric

    metric = Metric(family.name, family.help, family.kind, family.unit)
    for suffix, labels, value in family.samples:
        metric.add_sample(family.name + suffix, dict(labels), value)
    return metric


def _openmetrics_is_wanted(accept: str) -> bool:
    """Tell whether OpenMetrics is preferred to the other format, or is as welcome and asked for by its
    name."""
    this, other = preference(accept, "application/openmetrics-text"), preference(accept, "text/plain")
    return this.weight > other.weight or (this.named and this.weight == other.weight > 0)
