"""What `--full` asks for: each crowd of full size is still collected, and starts."""

import http.client
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.support.processes import lending
from tests.support.server import DEADLINE, ask, connected
from tests.support.sizes import FULL, SMALL

ROOT = Path(__file__).parent.parent.parent

CROWDS = {
    "test_drain_of_many.py": SMALL.clients,
    "test_pace_crowd.py": SMALL.clients,
    "test_handover_of_many.py": SMALL.clients,
    "test_shared_crowd.py": SMALL.resuming // 3,
}
"""The files, and how many clients of one server a small crowd has at most."""


def test_the_full_sizes_are_the_larger_ones() -> None:
    assert all(getattr(FULL, name) > getattr(SMALL, name) for name in FULL.__dataclass_fields__)


@pytest.mark.parametrize("file", CROWDS)
def test_a_crowd_of_full_size_starts(file: str) -> None:
    with ExitStack() as stack:
        crowd = FullCrowd(file, stack)
        until = time.monotonic() + 3 * DEADLINE
        while not crowd.is_there():
            assert time.monotonic() < until
            time.sleep(0.05)


class FullCrowd:
    """A crowd's tests at full size, which are interrupted when the stack ends."""

    def __init__(self, file: str, stack: ExitStack) -> None:
        self.file = file
        self._folder = Path(stack.enter_context(TemporaryDirectory(prefix="fu")))
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-x", "--full", "-p", "no:xdist", Path("tests", "e2e", file)],
            cwd=ROOT,
            env=lending(environ) | {"TMPDIR": str(self._folder)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        stack.callback(self._end)

    def is_there(self) -> bool:
        """Whether a server has more clients than one of a small crowd. Raises `AssertionError` if the tests
        have ended before."""
        assert self._process.poll() is None, self._process.communicate()[0]
        return _clients(self._folder) > CROWDS[self.file]

    def _end(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.communicate(timeout=2 * DEADLINE)


def _clients(folder: Path) -> int:
    """How many clients the busiest server below a folder has."""
    found = [0]
    for path in folder.glob("ws*/*.sock"):
        try:
            found.append(ask(connected(path), "GET", "/api/status", None, {})[1]["connections"])
        except (OSError, http.client.HTTPException):  # it begins, or ends
            continue
    return max(found)
