"""The exposition formats, made by the library of Prometheus, which is loaded with this module: at the first
scrape."""

from collections.abc import Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest, openmetrics
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.registry import Collector

from wsctl.server.http_semantics import preference
from wsctl.server.metrics.family import Family, Sample

PLAIN = "text/plain; version=0.0.4; charset=utf-8"
"""The content type that every Prometheus understands."""


class _Given(Collector):
    """A collector of the families that it was given."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            metric = Metric(family.name, family.help, family.kind, family.unit)
            for suffix, labels, value in family.samples:
                metric.add_sample(family.name + suffix, dict(labels), value)
            yield metric


def process() -> list[Family]:
    """Return memory, CPU and descriptors of this process, as far as the system tells; macOS does not."""
    return [
        Family(
            m.name,
            m.type,
            m.documentation,
            [Sample(s.name[len(m.name) :], s.labels, s.value) for s in m.samples],
        )
        for m in ProcessCollector(registry=None).collect()
    ]


def encoded(families: Iterable[Family], accept: str) -> tuple[bytes, str]:
    """Return the text, and its content type: OpenMetrics 1.0 where `accept` prefers it, else Prometheus's
    own."""
    registry = CollectorRegistry()
    registry.register(_Given(families))
    if _openmetrics_is_wanted(accept):
        text: bytes = generate_openmetrics(registry)  # type: ignore[no-untyped-call]
        return text, openmetrics.exposition.CONTENT_TYPE_LATEST
    return generate_latest(registry), PLAIN


def _openmetrics_is_wanted(accept: str) -> bool:
    """Tell whether OpenMetrics is preferred to the other format, or is as welcome and asked for by its
    name."""
    this, other = preference(accept, "application/openmetrics-text"), preference(accept, "text/plain")
    return this.weight > other.weight or (this.named and this.weight == other.weight > 0)
