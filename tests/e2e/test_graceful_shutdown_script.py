"""`tests/graceful_shutdown.sh`, run as a person would run it, but that its programs are forked."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.processes import put_stand_in
from tests.support.programs import need

SCRIPT = Path(__file__).parents[1] / "graceful_shutdown.sh"
LONGEST = 120
"""Seconds it may take: 15 on an idle machine, ten of them the wait for a line of the log."""


def run(environ: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    need("bash", "curl")
    return subprocess.run(
        ["bash", str(SCRIPT)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def test_every_check_of_the_script_passes(environ: dict[str, str], tmp_path: Path) -> None:
    put_stand_in(tmp_path)
    path = [str(tmp_path), str(Path(sys.executable).parent), environ["PATH"]]
    done = run(environ | {"PATH": os.pathsep.join(path)})
    *checks, total = done.stdout.splitlines()
    report = done.stdout + done.stderr
    assert done.returncode == 0, report
    assert total == f"{len(checks)} passed, 0 failed", report
    assert {line.split()[0] for line in checks} == {"ok"}, report


def test_a_failed_check_is_reported_and_fails_the_script(environ: dict[str, str]) -> None:
    done = run(environ | {"PYTHON": "false"})
    assert done.returncode == 1
    assert done.stdout.splitlines() == ["FAILED  drain: the server starts", "0 passed, 1 failed"]
