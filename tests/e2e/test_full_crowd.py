"""What `--full` asks for: each crowd of full size is still collected, and starts."""

import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.server import DEADLINE, ask, connected
from tests.support.sizes import FULL, SMALL

ROOT = Path(__file__).parent.parent.parent

CROWDS = {
    "test_crowd.py": SMALL.clients,
    "test_pace_crowd.py": SMALL.clients,
    "test_handover_crowd.py": SMALL.clients,
    "test_shared_crowd.py": SMALL.resuming // 3,
}
"""The files, and how many clients of one server a small crowd has at most."""


def test_the_full_sizes_are_the_larger_ones() -> None:
    assert all(getattr(FULL, name) > getattr(SMALL, name) for name in FULL.__dataclass_fields__)


def test_crowds_of_full_size_start() -> None:
    with ExitStack() as stack:
        folders = {file: Path(stack.enter_context(TemporaryDirectory(prefix="fu"))) for file in CROWDS}
        crowds = {file: stack.enter_context(full(file, folder)) for file, folder in folders.items()}
        until = time.monotonic() + 3 * DEADLINE
        for file, crowd in crowds.items():
            while _clients(folders[file]) <= CROWDS[file]:
                assert crowd.poll() is None, crowd.communicate()[0]
                assert time.monotonic() < until, file
                time.sleep(0.05)


@contextmanager
def full(file: str, folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A crowd's tests at full size, which are interrupted in the end."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-x", "--full", "-p", "no:xdist", Path("tests", "e2e", file)],
        cwd=ROOT,
        env=environ | {"TMPDIR": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=2 * DEADLINE)


def _clients(folder: Path) -> int:
    """How many clients the busiest server below a folder has."""
    found = [0]
    for path in folder.glob("ws*/*.sock"):
        try:
            found.append(ask(connected(path), "GET", "/api/status", None, {})[1]["connections"])
        except (OSError, http.client.HTTPException):  # it begins, or ends
            continue
    return max(found)
