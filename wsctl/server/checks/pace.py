"""Checks that the parts of a drain fit into it."""

from collections.abc import Iterator

from wsctl.server.checks.finding import Finding, warning
from wsctl.settings import Settings, flag, variable

NAME = "drain pace"

PARTS = ("reconnect_window", "drain_spread")
"""The settings whose time is a part of `--shutdown-timeout`."""


def check(settings: Settings, *, guest: bool = False) -> Iterator[Finding]:
    """Find the parts that are longer than the whole drain, and so are cut to it. A `guest` of another server
    has no flags but variables."""

    def told(name: str, seconds: float) -> str:
        return f"{variable(name)}={seconds:g}" if guest else f"{flag(name)} {seconds:g}"

    whole = settings.shutdown_timeout
    for name in PARTS:
        seconds = getattr(settings, name)
        if seconds > whole:
            text = f"{told(name, seconds)} is longer than a drain, and is cut short to {whole:g} s"
            fix = f"{told('shutdown_timeout', seconds)}, or {told(name, whole)}"
            yield warning(NAME, text, fix)
