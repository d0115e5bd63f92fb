"""The values of the template of the dashboard: JSON, one panel a line."""

import json
from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

from wsctl import __version__
from wsctl.cli.recipes.panels import ROWS, Panel
from wsctl.settings import Settings

COLUMNS = 24
"""The width of Grafana's grid."""

_HEIGHT = {"stat": 4, "row": 1}
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_SHOWN = 'job=~"$job",instance=~"$instance"'


def values(settings: Settings) -> Mapping[str, str]:
    """Return the variables and the panels."""
    return {
        "version": __version__,
        "job": json.dumps(_variable("job", "label_values(wsctl_build_info, job)")),
        "instance": json.dumps(
            _variable("instance", 'label_values(wsctl_build_info{job=~"$job"}, instance)')
        ),
        "panels": ",\n    ".join(json.dumps(panel) for panel in _panels()),
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _panels() -> Iterator[dict[str, Any]]:
    ids, y = count(1), 0
    for row in ROWS:
        yield {"id": next(ids), "type": "row", "title": row.title, "gridPos": _place(0, y, COLUMNS, "row")}
        x, y = 0, y + 1
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y = 0, y + _height(panel.kind)
            yield _panel(panel, next(ids), _place(x, y, panel.width, panel.kind))
            x += panel.width
        y += _height(row.panels[-1].kind)


def _panel(panel: Panel, number: int, place: Mapping[str, int]) -> dict[str, Any]:
    custom = {"stacking": {"mode": "normal"}, "fillOpacity": 30} if panel.stacked else {"fillOpacity": 5}
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "gridPos": place,
        "datasource": _SOURCE,
        "targets": [_target(*query, panel.kind, n) for n, query in enumerate(panel.queries)],
        "fieldConfig": {
            "defaults": {"unit": panel.unit} | ({"custom": custom} if panel.kind == "timeseries" else {}),
            "overrides": [],
        },
    } | _OPTIONS.get(panel.kind, {})


_OPTIONS: dict[str, dict[str, Any]] = {
    "stat": {"options": {"textMode": "value_and_name", "colorMode": "none", "graphMode": "area"}},
    "heatmap": {
        "options": {
            "calculate": False,
            "color": {"mode": "scheme", "scheme": "Oranges"},
            "yAxis": {"unit": "s"},
            "tooltip": {"mode": "single", "yHistogram": True},
        }
    },
}


def _target(query: str, legend: str, kind: str, n: int) -> dict[str, Any]:
    form = "heatmap" if kind == "heatmap" else "time_series"
    return {"refId": chr(ord("A") + n), "expr": _expression(query), "legendFormat": legend, "format": form}


def _expression(query: str) -> str:
    return query.replace("{}", f"{{{_SHOWN}}}").replace("[]", "[$__rate_interval]")


def _place(x: int, y: int, width: int, kind: str) -> dict[str, int]:
    return {"x": x, "y": y, "w": width, "h": _height(kind)}


def _height(kind: str) -> int:
    return _HEIGHT.get(kind, 8)
