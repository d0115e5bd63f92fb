"""A scrape: the two formats, and the process."""

import subprocess
import sys

import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from tests.support.scrapes import OPENMETRICS, Scrape
from tests.support.server import DEADLINE
from wsctl.server.metrics import scrape
from wsctl.server.metrics.family import Family, counters, gauge, info, states

FOUND = [
    gauge("a_seconds", "A.", 1.5),
    counters("b_total", 'B "quoted" \\ and\nbroken.', "code", {'x"\\\n': 2.0}),
    info("c_info", "C.", {"version": "1"}),
    states("d", "D.", ("on", "off"), "on"),
]


@pytest.mark.parametrize("accept", ["", "*/*", "text/plain", "text/html;q=x", "application/json"])
def test_text_is_what_everybody_gets(accept: str) -> None:
    text, kind = scrape.encode(FOUND, accept)
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    found = {f.name: f for f in text_string_to_metric_families(text.decode())}
    assert found["a_seconds"].samples[0].value == 1.5
    assert found["b"].samples[0].labels == {"code": 'x"\\\n'}


@pytest.mark.parametrize("version", ["1.0.0", "0.0.1", "99", "no number"])
def test_openmetrics_is_for_who_asks_for_it(version: str) -> None:
    text, kind = scrape.encode(FOUND, OPENMETRICS.replace("1.0.0", version))
    assert kind == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    found = Scrape(text.decode())
    assert found("a_seconds") == 1.5
    assert found("b_total", code='x"\\\n') == 2.0
    assert found("d", d="on") == 1
    assert {family.name: family.unit for family in found.families}["a_seconds"] == "seconds"


@pytest.mark.parametrize(
    ("accept", "is_wanted"),
    [
        ("application/openmetrics-text;q=0,text/plain", False),
        ("application/openmetrics-text; q=0.0", False),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.3", False),
        ("application/openmetrics-text;q=0.2,*/*;q=0.3", False),
        ("application/openmetrics-text;q=0.2,text/*;q=0.3", False),
        ("x-application/openmetrics-text", False),
        ("application/*", True),
        ("application/*,*/*", False),
        ("*/*,text/plain;q=0", True),
        ("Application/OpenMetrics-Text ; Q=0.3, text/plain;q=0.2", True),
        ("application/openmetrics-text,text/plain", True),
        ("text/plain,application/openmetrics-text", True),
        (
            "application/openmetrics-text;q=0.2;version=1.0.0,application/openmetrics-text;q=0.8,*/*;q=0.5",
            True,
        ),
        ("application/openmetrics-text;q=much,text/plain;q=0.1", False),
    ],
)
def test_weights_count(accept: str, is_wanted: bool) -> None:
    _, kind = scrape.encode(FOUND, accept)
    assert kind.startswith("application/openmetrics-text" if is_wanted else "text/plain")


def test_the_registry_of_the_process_is_left_alone() -> None:
    before = list(REGISTRY.collect())
    scrape.encode([gauge("wsctl_mine", "Mine.", 1)], "")
    assert {family.name for family in REGISTRY.collect()} == {family.name for family in before}


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell")
def test_the_process_tells_of_its_memory_cpu_and_descriptors() -> None:
    found = {family.name: family for family in scrape.read_process()}
    assert {
        "process_resident_memory_bytes",
        "process_cpu_seconds",
        "process_open_fds",
        "process_max_fds",
    } <= set(found)
    assert all(sample.value > 0 for family in found.values() for sample in family.samples)
    assert [sample.suffix for sample in found["process_cpu_seconds"].samples] == ["_total"]


@pytest.mark.anyio
async def test_a_scrape_makes_its_text_in_a_thread() -> None:
    found: list[Family] = [*FOUND, *await scrape.process()]
    assert await scrape.text(found, "") == scrape.encode(found, "")


def test_the_library_is_not_loaded_before_somebody_asks() -> None:
    look = (
        "import sys; import wsctl.server.server_process, wsctl.main, wsctl.server.workers.parent;"
        "print({'prometheus_client', 'pydantic.v1'}.intersection(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert done.stdout.strip() == "set()"
