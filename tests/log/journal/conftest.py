"""What the tests of a journal's file can ask for."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534
"""A user that is not root and has no files."""


@pytest.fixture
def nobodys() -> Iterator[Path]:
    """A folder of somebody who is not root, who this process is meanwhile."""
    is_root = os.geteuid() == 0
    if is_root:
        os.setresuid(NOBODY, NOBODY, 0)  # to be taken back
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)
            Path(folder).chmod(0o700)
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
