"""Findings: what a check has found out about one thing."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

log = logging.getLogger("wsctl.server")


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


def ok(name: str, text: str) -> Finding:
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


def log_warnings(found: Iterable[Finding]) -> None:
    """Log each finding with its fix, in one line, as a warning."""
    for finding in found:
        log.warning("%s: %s", finding.text, finding.fix)


def log_advice(found: Finding) -> None:
    """Log an advice, if it is one: as information, since nothing is wrong."""
    if found.level is Level.ADVICE:
        log.info("%s: %s", found.text, found.fix)
