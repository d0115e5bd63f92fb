"""The dashboard and the alerts name what servers tell, and nothing else."""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import StartServer, StartStore
from tests.support.application import write_application
from tests.support.clients import join, receive_type
from tests.support.queries import groups, metrics, strangers
from tests.support.scrapes import scraped
from tests.support.server import wsctl


def generated(kind: str, *flags: str) -> str:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("WSCTL_")}
    done = wsctl("generate", kind, *flags, environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    return str(done.stdout)


@pytest.fixture(scope="module")
def grafana() -> str:
    return generated("grafana")


@pytest.fixture(scope="module")
def alerts() -> str:
    return generated("alerts")


def panels(dashboard: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    return (panel for panel in dashboard["panels"] if panel["type"] != "row")


def rules(alerts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [rule for group in alerts["groups"] for rule in group["rules"]]


@pytest.mark.anyio
async def test_every_query_is_about_what_a_server_tells(
    start_server: StartServer, start_store: StartStore, grafana: str, alerts: str, tmp_path: Path
) -> None:
    server = start_server("--workers", "2", "--redis", start_store().url)
    bob = await join(server.ws_url, "bob")
    server.signal()
    await receive_type(bob, "shutdown")
    others = (start_server("--journal", str(tmp_path / "log.db")), start_server(*write_application(tmp_path)))
    known: dict[str, set[str]] = {}
    for each in (server, *others):
        for name, labels in (await asyncio.to_thread(scraped, each)).labels.items():
            known.setdefault(name, set()).update(labels)
    await bob.close()
    assert await asyncio.to_thread(server.wait) == 0
    shown = panels(json.loads(grafana))
    queries = [(target["expr"], target["legendFormat"]) for panel in shown for target in panel["targets"]]
    queries += [(rule["expr"], rule["annotations"]["summary"]) for rule in rules(yaml.safe_load(alerts))]
    assert len(queries) > 50
    for query, text in queries:
        assert metrics(query), query
        assert strangers(query, known, text) == [], query
    named = {name for query, _ in queries for name in metrics(query)}
    told = {name for name in known if name.startswith("wsctl_")}
    assert {
        "wsctl_drain_clients",
        "wsctl_redis_up",
        "wsctl_journal_up",
        "wsctl_worker_up",
        "process_open_fds",
    } <= named
    assert len(named & told) > 30


KNOWN = {"wsctl_a": {"code"}, "wsctl_b_total": set[str]()}


@pytest.mark.parametrize(
    ("query", "shown", "wrong"),
    [
        ('sum by (code) (wsctl_a{job=~"$job",code="1"})', "{{code}} {{instance}}", []),
        ("wsctl_a / wsctl_c", "", ["wsctl_c"]),
        ('wsctl_a{how="1"}', "", ["wsctl_a{how}"]),
        ('wsctl_b_total{code="1"}', "", ["wsctl_b_total{code}"]),
        ("sum by (le) (rate(wsctl_b_total[5m]))", "", ["by le"]),
        ("wsctl_a and on (job, phase) wsctl_b_total", "", ["by phase"]),
        ("wsctl_b_total", "{{ $labels.code }}", ["shows code"]),
    ],
)
def test_a_stranger_in_a_query_is_found(query: str, shown: str, wrong: list[str]) -> None:
    assert strangers(query, KNOWN, shown) == wrong


def test_the_dashboard_is_one_that_can_be_imported(grafana: str) -> None:
    dashboard = json.loads(grafana)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels(dashboard):
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        letters = [target["refId"] for target in panel["targets"]]
        assert letters == sorted(set(letters)), panel["title"]
        for target in panel["targets"]:
            shown = target["expr"].count('{job=~"$job",instance=~"$instance"}')
            assert shown == len(metrics(target["expr"])) > 0, target["expr"]
    assert [each["name"] for each in dashboard["templating"]["list"]] == ["datasource", "job", "instance"]
    assert "@{" not in grafana
    assert len(grafana) < 32_000


def test_its_panels_do_not_cover_each_other(grafana: str) -> None:
    seen: set[tuple[int, int]] = set()
    for panel in json.loads(grafana)["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & seen, panel["title"]
        assert max(x for x, _ in cells) < 24
        seen |= cells


def test_each_alert_says_what_is_wrong_where(alerts: str) -> None:
    found = rules(yaml.safe_load(alerts))
    assert len({rule["alert"] for rule in found}) == len(found)
    for rule in found:
        assert rule["labels"]["severity"] in ("critical", "warning")
        everywhere = rule["expr"].startswith("absent(")
        assert everywhere or "$labels.instance" in rule["annotations"]["summary"], rule


def test_prometheus_needs_a_token_but_at_the_admin_address(alerts: str) -> None:
    assert "credentials_file" in alerts
    assert "ws1.example:8000" in alerts
    at_admin = generated("alerts", "--admin-port", "9000")
    assert "credentials_file" not in at_admin
    assert "ws1.example:9000" in at_admin


def test_a_drain_is_late_in_the_last_tenth_of_its_time(alerts: str) -> None:
    for text, late in ((alerts, "< 180 "), (generated("alerts", "--shutdown-timeout", "10"), "< 1 ")):
        (rule,) = [r for r in rules(yaml.safe_load(text)) if r["alert"] == "WsctlDrainNearDeadline"]
        assert f"wsctl_drain_remaining_seconds {late}" in rule["expr"]
        assert groups(rule["expr"]) == {"state"}
