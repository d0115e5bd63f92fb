"""The tests' own order: what must be alone is."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.server import DEADLINE

CONFTEST = """
from tests.conftest import (
    pytest_addoption, pytest_collection_modifyitems, pytest_runtest_protocol, pytest_xdist_make_scheduler
)
"""

TESTS = """
import time
import pytest

@pytest.mark.parametrize("n", range(4))
def test_writes_down_when_it_runs(n):
    began = time.monotonic()
    time.sleep(0.05)
    with open({log!r}, "a") as log:
        log.write(f"{kind} {{began}} {{time.monotonic()}}\\n")
"""


def test_beside_a_test_that_is_to_be_alone_no_other_runs(tmp_path: Path) -> None:
    log = tmp_path / "log"
    for name in ("test_a", "test_b", "test_c", "test_d_crowd", "test_e_alone"):
        kind = "alone" if name.endswith(("crowd", "alone")) else "other"
        (tmp_path / f"{name}.py").write_text(TESTS.format(log=str(log), kind=kind))
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    root = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        env=environ | {"PYTHONPATH": str(root), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [line.split() for line in log.read_text().splitlines()]
    runs = [(kind, float(began), float(ended)) for kind, began, ended in lines]
    alone = sorted(run for run in runs if run[0] == "alone")
    assert (len(runs), len(alone)) == (20, 8)
    beside = [other for other in runs for run in alone if run[1] < other[2] and other[1] < run[2]]
    assert beside == alone, "each of them meets itself, and nothing else"
