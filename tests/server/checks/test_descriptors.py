"""How many clients the open files leave room for, and who is told."""

import json
import subprocess
import sys
from math import inf

import pytest

from tests.support.server import DEADLINE
from wsctl.server.checks.descriptors import FEW, check
from wsctl.server.limits import RESERVED_FILES as KEPT


@pytest.mark.parametrize(
    ("asked", "files", "level"),
    [
        (5000, 5000 + KEPT - 1, "error"),
        (5000, 5000 + KEPT, "ok"),
        (5000, 5000 + KEPT + 1, "ok"),
        (None, FEW + KEPT - 1, "warning"),
        (None, FEW + KEPT, "ok"),
        (10, 1024, "ok"),
        (0, 1024, "warning"),
        (None, inf, "ok"),
        (0, inf, "ok"),
        (5000, inf, "ok"),
    ],
)
def test_open_files_against_clients(asked: int | None, files: float, level: str) -> None:
    assert check(asked, files).level == level


def test_the_fix_is_a_limit_that_suffices() -> None:
    fix = check(5000, 1024).fix or ""
    assert f"to {5000 + KEPT}, or --max-connections {1024 - KEPT}" in fix
    assert check(5000, 5000 + KEPT).level == "ok"


PROGRAM = """
import json, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
from wsctl.server.checks.descriptors import own_limit
print(json.dumps(own_limit()))
"""


def test_the_limit_is_the_hard_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert json.loads(done.stdout) == 300
