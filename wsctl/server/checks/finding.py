"""Findings: what a check has found out about one thing."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """The severity of a finding. A `WARNING` harms some day or some clients, an `ERROR` keeps a server from
    starting or from doing what it was told. `ADVICE` is about a default that is right for nobody's deploy in
    particular. `UNKNOWN` could not be found out, and is no fault."""

    OK = "ok"
    UNKNOWN = "unknown"
    ADVICE = "advice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: `text` says what is so, `fix` what to do about it; both in one line. There is
    a fix where there is something to mend."""

    name: str
    level: Level
    text: str
    fix: str | None = None


def fine(name: str, text: str) -> Finding:
    return Finding(name, Level.OK, text)


def unknown(name: str, text: str) -> Finding:
    """Return a finding that could not be found out; `text` says why."""
    return Finding(name, Level.UNKNOWN, text)


def advice(name: str, text: str, fix: str) -> Finding:
    return Finding(name, Level.ADVICE, text, fix)


def warning(name: str, text: str, fix: str) -> Finding:
    return Finding(name, Level.WARNING, text, fix)


def error(name: str, text: str, fix: str) -> Finding:
    return Finding(name, Level.ERROR, text, fix)
