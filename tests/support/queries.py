"""What a query of Prometheus names, without its grammar: enough for the queries that wsctl generates."""

import re
from collections.abc import Mapping

ADDED = frozenset({"job", "instance", "worker"})
"""Labels that Prometheus adds to everything it reads, and a parent of workers to everything it tells."""

_METRIC = re.compile(r"\b((?:wsctl|process)_[a-z_]+)\b(?:\{([^}]*)\})?")
_GROUP = re.compile(r"\b(?:by|without|on|ignoring|group_left|group_right)\s*\(([^)]*)\)")
_MATCHER = re.compile(r"([a-z_]+)\s*(?:=~|!~|!=|=)")
_LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?([a-z_]+)\s*\}\}")


def groups(query: str) -> set[str]:
    """The labels by which a query groups and joins."""
    return {label.strip() for found in _GROUP.findall(query) for label in found.split(",") if label.strip()}


def metrics(query: str) -> dict[str, set[str]]:
    """The metrics of a query, each with the labels that it is chosen by."""
    found: dict[str, set[str]] = {}
    for match in _METRIC.finditer(_GROUP.sub(" ", query)):
        found.setdefault(match[1], set()).update(_MATCHER.findall(match[2] or ""))
    return found


def strangers(query: str, known: Mapping[str, set[str]], shown: str = "") -> list[str]:
    """What a query, and the text beside it, names that is not among the `known` metrics and their labels."""
    named = metrics(query)
    wrong = [name for name in named if name not in known]
    for name, labels in named.items():
        wrong += [f"{name}{{{label}}}" for label in labels - known.get(name, set()) - ADDED]
    there = ADDED.union(*(known.get(name, set()) for name in named))
    wrong += [f"by {label}" for label in groups(query) - there]
    return wrong + [f"shows {label}" for label in set(_LEGEND.findall(shown)) - there]
