"""An outcome for people, and for programs."""

from collections import defaultdict
from typing import Any

from tests.soak.growth import TOLERANCES, Change
from tests.soak.verdict import Outcome


def text(outcome: Outcome) -> str:
    """A table of what was done, the figures, and the verdict with its reasons."""
    sections = [
        ("done", [(name, f"{count:,}") for name, count in sorted(outcome.tally.acts.items())]),
        ("connections ended with", [(kind, _codes(found)) for kind, found in _endings(outcome).items()]),
        ("not let in", [(f"{kind}, {why}", f"{n:,}") for (kind, why), n in sorted(_refusals(outcome))]),
        ("counted", [(name, f"{count:,}") for name, count in sorted(outcome.tally.counts.items())]),
        ("figures", _figures(outcome)),
        ("growth", [(change.where, _growth(change)) for change in outcome.changes]),
    ]
    lines = [line for title, rows in sections if rows for line in _section(title, rows)]
    return "\n".join([*lines, "", *_verdict(outcome)])


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The object that `--json` prints."""
    plan = outcome.plan
    return {
        "verdict": "passed" if outcome.passed else "failed",
        "reasons": outcome.reasons,
        "seconds": round(outcome.seconds, 1),
        "plan": {"clients": plan.clients, "redis": plan.redis, "workers": plan.workers, "seed": plan.seed},
        "done": dict(sorted(outcome.tally.acts.items())),
        "endings": _endings(outcome),
        "refusals": [{"who": who, "answer": why, "count": n} for (who, why), n in _refusals(outcome)],
        "counts": dict(sorted(outcome.tally.counts.items())),
        "latency_ms": dict(_latency(outcome)),
        "peaks": dict(outcome.peaks),
        "readings": [reading.as_json() for reading in outcome.readings],
        "growth": [vars(change) for change in outcome.changes],
    }


def _verdict(outcome: Outcome) -> list[str]:
    if not outcome.passed:
        return ["FAILED", *(f"  {reason}" for reason in outcome.reasons)]
    open_ = sorted({change.what for change in outcome.changes if change.judged is None} - _judged(outcome))
    return ["PASSED"] + ([f"  too short to judge the growth of: {', '.join(open_)}"] if open_ else [])


def _judged(outcome: Outcome) -> set[str]:
    return {change.what for change in outcome.changes if change.judged is not None}


def _figures(outcome: Outcome) -> list[tuple[str, str]]:
    rows = [(f"latency of witnesses, {name}", f"{ms:,.1f} ms") for name, ms in _latency(outcome)]
    rows.append(("most memory under abuse", f"{outcome.peaks['memory'] / (1 << 20):,.1f} MiB"))
    rows.append(("most open descriptors under abuse", f"{outcome.peaks['files']:,}"))
    return [*rows, ("duration", f"{outcome.seconds:,.0f} s")]


def _latency(outcome: Outcome) -> list[tuple[str, float]]:
    found = outcome.latency
    return (
        [(name, round(getattr(found, name) * 1000, 3)) for name in ("p50", "p95", "p99", "max")]
        if found
        else []
    )


def _endings(outcome: Outcome) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for (kind, code), count in sorted(outcome.tally.endings.items()):
        found[kind][str(code)] = count
    return dict(found)


def _refusals(outcome: Outcome) -> list[tuple[tuple[str, str], int]]:
    return sorted(outcome.tally.refusals.items())


def _codes(found: dict[str, int]) -> str:
    return ", ".join(f"{code}: {count:,}" for code, count in found.items())


def _growth(change: Change) -> str:
    scale, unit = ((1 << 20), " MiB") if change.what == "memory" else (1, "")
    said = {True: "", False: "  GROWN", None: "  (too short to judge)"}[change.judged]
    digits = 1 if unit else 0
    first, last = (f"{value / scale:,.{digits}f}{unit}" for value in (change.first, change.last))
    return f"{change.what} {first} -> {last} in {change.readings} readings{said}"


def _section(title: str, rows: list[tuple[str, str]]) -> list[str]:
    width = max(len(name) for name, _ in rows)
    return ["", title, *(f"  {name.ljust(width)}  {value}" for name, value in rows)]


def tolerances() -> str:
    """For `--help`."""
    rows = (f"{t.what}: {t.amount:,.0f} or {t.share:.0%}, for {t.why}" for t in TOLERANCES)
    return "What may grow between the first and the last third of a process's life: " + "; ".join(rows) + "."
