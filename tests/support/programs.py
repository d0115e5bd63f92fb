"""Programs of the machine that tests use."""

import os
import shutil

import pytest


def need(*programs: str) -> None:
    """Skip the test where a program is missing; with `CI` set, fail: there nothing may be skipped."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        reason = f"not installed: {', '.join(missing)}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
