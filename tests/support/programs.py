"""Programs of the machine, and libraries of the environment, that tests use."""

import os
import shutil
from collections.abc import Iterable
from importlib import metadata

import pytest


def need(*programs: str) -> None:
    """Skip the test where a program is missing; with `CI` set, fail: there nothing may be skipped."""
    _skip_without(program for program in programs if shutil.which(program) is None)


def need_libraries(*distributions: str) -> None:
    """Skip the test where a library is not installed; with `CI` set, fail."""
    installed = {found.name.lower() for found in metadata.distributions()}
    _skip_without(name for name in distributions if name not in installed)


def _skip_without(names: Iterable[str]) -> None:
    """Skip or fail for what is missing; go on where nothing is."""
    missing = list(names)
    if missing:
        reason = f"not installed: {', '.join(missing)}"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)
