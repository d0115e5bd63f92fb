"""`wsctl check`."""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wsctl.cli.options import Json, settings_from, with_settings
from wsctl.codes import ExitCode

if TYPE_CHECKING:
    from wsctl.server.diagnostics.finding import Finding


@with_settings
def check(
    unit: Annotated[
        str | None,
        typer.Option("--unit", metavar="NAME", help="The systemd service that is to run the server."),
    ] = None,
    as_json: Json = False,
    **given: Any,
) -> None:
    """Find problems of a server with these settings on this machine, and name their fixes.

    Takes the flags and variables of 'wsctl serve'. Exit code 1 when a problem is an error.
    """
    from wsctl.server.checks import run_checks
    from wsctl.server.diagnostics.finding import Level

    found = run_checks(settings_from(given, os.environ), os.environ, unit)
    counts = _as_json(found) if as_json else _for_people(found)
    raise typer.Exit(ExitCode.ERROR if counts[Level.ERROR] else ExitCode.DONE)


def _as_json(found: "Iterable[Finding]") -> "Counter[str]":
    from dataclasses import asdict

    from wsctl.server.diagnostics.finding import Level

    checks = [asdict(finding) for finding in found]
    counts = Counter(row["level"] for row in checks)
    print(json.dumps({"checks": checks, "counts": {level: counts[level] for level in Level}}), flush=True)
    return counts


def _for_people(found: "Iterable[Finding]") -> "Counter[str]":
    from wsctl.cli.ui.findings import Findings

    shown = Findings(sys.stdout)
    for finding in found:
        shown.show(finding)
    shown.sum_up()
    return shown.counts
