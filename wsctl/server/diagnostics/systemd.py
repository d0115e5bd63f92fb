"""The facts about a unit of systemd, as systemd tells them."""

import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path, PurePosixPath

from wsctl.server.diagnostics.platform import CGROUP

SYSTEMCTL = "systemctl"

PATIENCE = 2.0
"""Seconds for an answer: systemd's own takes a hundredth of one, and a hung bus must hold no server up."""

_ASKED = ("LoadState", "Type", "TimeoutStopUSec", "KillMode", "MainPID", "LimitNOFILE")

_SPANS = {
    "us": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
    "w": 604800.0,
    "month": 2629800.0,
    "y": 31557600.0,
}
"""Seconds of the units in which systemd prints a time (systemd.time(7))."""


class Unanswered(Exception):
    """The error that systemd gave no answer about a unit; the text says why, in one line."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit of systemd: `stop` is the seconds from SIGTERM to SIGKILL, `open_files` the hard limit; both may
    be infinite, and None is what systemd did not tell."""

    name: str
    type: str
    stop: float
    kill_mode: str
    main_pid: int
    open_files: float | None

    @property
    def extends(self) -> bool:
        """True if systemd is told of a drain, and so leaves it more time, by EXTEND_TIMEOUT_USEC."""
        return self.type in ("notify", "notify-reload")


def unit_in(cgroup: str) -> tuple[str, bool] | None:
    """Return the service that a process is part of, from its `/proc/PID/cgroup`, and whether a user's own
    systemd runs it; None for what a person runs in a session."""
    for line in cgroup.splitlines():
        hierarchy, _, path = line.partition("::") if line.startswith("0::") else line.rpartition(":")
        if hierarchy == "0" or hierarchy.endswith("name=systemd"):
            parts = PurePosixPath(path).parts
            units = [part for part in parts if part.endswith((".service", ".scope"))]
            if units and units[-1].endswith(".service") and not units[-1].startswith("user@"):
                return units[-1], any(unit.startswith("user@") for unit in units)
    return None


def own_service(environ: Mapping[str, str], cgroup: Path = CGROUP, systemctl: str = SYSTEMCTL) -> Unit | None:
    """Return the service of systemd that this process is part of; None: there is none.

    Raises:
        Unanswered: there is one, but systemd does not tell of it.
    """
    # Also programs in a person's terminal may have the variable, and only the group tells them apart.
    if "INVOCATION_ID" not in environ:
        return None
    try:
        found = unit_in(cgroup.read_text())
    except OSError:
        return None
    return query_unit(found[0], user=found[1], systemctl=systemctl) if found else None


def query_unit(
    name: str, *, user: bool = False, systemctl: str = SYSTEMCTL, patience: float = PATIENCE
) -> Unit:
    """Ask systemd, or with `user` the caller's own one, about a unit.

    Raises:
        Unanswered: there is no systemd, no such unit, or no answer within `patience` seconds.
    """
    of = ["--user"] if user else []
    command = [systemctl, *of, "show", "--property", ",".join(_ASKED), "--", name]
    try:
        done = subprocess.run(  # noqa: S603
            command, capture_output=True, text=True, errors="replace", timeout=patience, check=False
        )
    except subprocess.TimeoutExpired:
        raise Unanswered(f"systemctl did not answer within {patience:g} s") from None
    except OSError as failure:
        raise Unanswered(f"systemctl: {failure.strerror or failure}") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit code {done.returncode}"
        raise Unanswered(f"systemctl: {said}")
    return parse_unit(name, done.stdout)


def parse_unit(name: str, told: str) -> Unit:
    """Parse a unit from what `systemctl show` prints.

    Raises:
        Unanswered: systemd has no such unit.
    """
    facts = dict(line.split("=", 1) for line in told.splitlines() if "=" in line)
    if facts.get("LoadState") != "loaded":
        raise Unanswered(f"systemd has no unit {name} ({facts.get('LoadState', 'it tells nothing of it')})")
    return Unit(
        name,
        facts.get("Type", ""),
        parse_timespan(facts.get("TimeoutStopUSec", "infinity")),
        facts.get("KillMode", ""),
        _number(facts, "MainPID") or 0,
        inf if facts.get("LimitNOFILE") == "infinity" else _number(facts, "LimitNOFILE"),
    )


def parse_timespan(text: str) -> float:
    """Parse a time such as `1min 30s` into seconds; `infinity`, and what is not understood, has no end."""
    parts = [re.fullmatch(r"(\d+(?:\.\d+)?)([a-z]+)", word) for word in text.split()]
    if not parts or not all(part and part[2] in _SPANS for part in parts):
        return inf
    return sum(float(part[1]) * _SPANS[part[2]] for part in parts if part)


def _number(facts: Mapping[str, str], name: str) -> int | None:
    value = facts.get(name, "")
    return int(value) if value.isdecimal() else None
