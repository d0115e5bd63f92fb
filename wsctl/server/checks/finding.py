"""What was found out about one thing."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """`WARNING` bites some day or some clients, `ERROR` keeps a server from starting or from doing what it
    was told. `ADVICE` is about a default that is right for nobody's deploy in particular. `UNKNOWN` could not
    be found out, and is not held against anybody."""

    OK = "ok"
    UNKNOWN = "unknown"
    ADVICE = "advice"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """`text` says what is so, `fix` what to do about it; both in one line. There is a fix where there is
    something to mend."""

    name: str
    level: Level
    text: str
    fix: str | None = None


def fine(name: str, text: str) -> Finding:
    return Finding(name, Level.OK, text)


def unknown(name: str, text: str) -> Finding:
    """`text` says why."""
    return Finding(name, Level.UNKNOWN, text)


def advice(name: str, text: str, fix: str) -> Finding:
    return Finding(name, Level.ADVICE, text, fix)


def warning(name: str, text: str, fix: str) -> Finding:
    return Finding(name, Level.WARNING, text, fix)


def error(name: str, text: str, fix: str) -> Finding:
    return Finding(name, Level.ERROR, text, fix)
