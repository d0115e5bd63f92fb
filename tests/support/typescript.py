"""TypeScript, as people check their programs with it."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.bundle import INSTALL, PATIENCE
from tests.support.programs import need

PACKAGE = {"private": True, "type": "module", "devDependencies": {"typescript": "^5.9.0"}}

STRICT = ("--noEmit", "--strict", "--target", "es2022", "--lib", "es2022,dom", "--module", "nodenext")


def install(folder: Path) -> None:
    """TypeScript into `folder`; where no registry is reached the test is skipped, or fails in CI."""
    need("npm", "node")
    (folder / "package.json").write_text(json.dumps(PACKAGE))
    try:
        done = subprocess.run(
            INSTALL, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        problem = done.stderr if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"not done in {PATIENCE:g} s"
    if problem:
        reason = f"TypeScript cannot be installed: {problem}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


def faults(folder: Path, program: str) -> list[str]:
    """What the compiler has against a program beside a module and its types, a line each."""
    (folder / "program.ts").write_text(program)
    done = subprocess.run(
        ["node_modules/.bin/tsc", *STRICT, "program.ts"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.splitlines()
