"""What Prometheus reads of a server."""

from collections.abc import Iterable
from typing import Any

from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from tests.support.server import ServerProcess

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
"""What Prometheus accepts."""


class Scrape:
    """One answer, read by the strict parser of OpenMetrics."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: list[Metric] = list(text_string_to_metric_families(text))  # type: ignore[no-untyped-call]
        self._samples = {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float | None:
        """One value; None when there is none with just these labels."""
        return self._samples.get((name, frozenset(labels.items())))

    @property
    def labels(self) -> dict[str, set[str]]:
        """The labels of each name, with those of names that have no sample at the moment: none."""
        found: dict[str, set[str]] = {family.name: set() for family in self.families}
        for name, labels in self._samples:
            found.setdefault(name, set()).update(label for label, _ in labels)
        return found


def scraped(server: ServerProcess) -> Scrape:
    """Through the control socket."""
    code, text = server.api("GET", "/metrics", headers={"accept": OPENMETRICS})
    assert code == 200, text
    return Scrape(text.decode())


def complaints(families: Iterable[Metric]) -> list[str]:
    """What is wrong with names and help: base units at the end, no type in a name, and sentences."""
    found: list[str] = []
    for family in families:
        words = family.name.split("_")
        ours = words[0] == "wsctl"
        wrong: dict[str, Any] = {
            "has a unit that is none of OpenMetrics": {
                "ms",
                "s",
                "kb",
                "kib",
                "mb",
                "minutes",
                "milliseconds",
            }
            & set(words),
            "names its type": {"gauge", "counter", "histogram", "total", "info", "count", "sum"} & set(words),
            "has a unit before its end": {"seconds", "bytes"} & set(words[:-1]),
            "does not say its unit": ours and words[-1] in ("seconds", "bytes") and family.unit != words[-1],
            "is of nobody": words[0] not in ("wsctl", "process"),
            "has no help": ours and not family.documentation[:1].isalnum(),
            "has help that does not end": not family.documentation.endswith("."),
        }
        found += [f"{family.name} {why}" for why, true in wrong.items() if true]
    return found
