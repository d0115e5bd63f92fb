"""Packages for JavaScript, installed as people install them."""

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.programs import need

INSTALL = ("npm", "install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund")

PATIENCE = 120.0
"""Seconds that a registry may take: beyond it, it is not reached."""


def install(folder: Path, package: Mapping[str, Any], name: str) -> None:
    """What a package depends on into `folder`, `name` for people; where no registry is reached the test is
    skipped, or fails in CI."""
    need("npm", "node")
    (folder / "package.json").write_text(json.dumps(package))
    try:
        done = subprocess.run(
            INSTALL, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        problem = done.stderr if done.returncode else ""
    except subprocess.TimeoutExpired:
        problem = f"not done in {PATIENCE:g} s"
    if problem:
        reason = f"{name} cannot be installed: {problem}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
