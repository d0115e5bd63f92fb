"""The tests' own order: what must be alone is."""

import asyncio
import gc
import itertools
import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection

from tests.support.fake_server import serving
from tests.support.server import DEADLINE, level_of

CONFTEST = """
import tests.conftest
from tests.conftest import (
    pytest_addoption, pytest_collection_modifyitems, pytest_configure, pytest_exception_interact,
    pytest_runtest_protocol, pytest_xdist_make_scheduler,
)
tests.conftest.LONGEST = {longest}
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


HANGS = """
import threading
import pytest

@pytest.fixture
def endless():
    yield
    threading.Event().wait()

def test_hangs():
    threading.Event().wait()

def test_fails_and_hangs_when_it_is_taken_down(endless):
    assert False

def test_comes_after_them():
    pass
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tests of which some are to be alone, and some hang; they write into `log` when they run."""
    folder = tmp_path_factory.mktemp("suite")
    for name in ("test_a", "test_b", "test_c", "test_d_crowd", "test_e_alone"):
        kind = "alone" if name.endswith(("crowd", "alone")) else "other"
        (folder / f"{name}.py").write_text(TESTS.format(log=str(folder / "log"), kind=kind))
    (folder / "test_hangs.py").write_text(HANGS)
    (folder / "conftest.py").write_text(CONFTEST.format(longest=1))
    (folder / "pyproject.toml").write_text("[tool.pytest.ini_options]\n")
    return folder


@pytest.fixture(scope="module")
def done(folder: Path) -> "subprocess.CompletedProcess[str]":
    """The tests of the folder, run as this project's own are run, on two workers."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "2", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env=environ
        | {"PYTHONPATH": str(Path(__file__).parent.parent), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=2 * DEADLINE,
        check=False,
    )


def test_beside_a_test_that_is_to_be_alone_no_other_runs(
    folder: Path, done: "subprocess.CompletedProcess[str]"
) -> None:
    lines = [line.split() for line in (folder / "log").read_text().splitlines()]
    runs = [(kind, float(began), float(ended)) for kind, began, ended in lines]
    alone = sorted(run for run in runs if run[0] == "alone")
    assert (len(runs), len(alone)) == (20, 8), done.stdout + done.stderr
    beside = [other for other in runs for run in alone if run[1] < other[2] and other[1] < run[2]]
    assert beside == alone, "each of them meets itself, and nothing else"


def test_what_hangs_ends_with_its_stack_and_the_others_run(
    done: "subprocess.CompletedProcess[str]",
) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    for name in ("test_hangs", "test_fails_and_hangs_when_it_is_taken_down"):
        assert f"crashed while running 'test_hangs.py::{name}'" in done.stdout
    assert "3 failed, 21 passed" in done.stdout
    assert done.stderr.count("Timeout (0:00:01)!") == 2
    assert "threading.py" in done.stderr, "the stack tells where it hung"


async def _wait_closed(connection: ServerConnection) -> None:
    await connection.wait_closed()


def _connect(port: int, often: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    """Connect again and again until nobody listens."""
    with suppress(OSError):
        for count in itertools.count():
            socket.create_connection(("127.0.0.1", port), DEADLINE).close()
            if count == 20:
                loop.call_soon_threadsafe(often.set)


@pytest.mark.anyio
async def test_a_fake_server_that_ends_while_clients_come_leaves_no_transport_open() -> None:
    for _ in range(10):
        async with serving(_wait_closed) as target:
            assert target.url
            port, often = int(target.url.rpartition(":")[2]), asyncio.Event()
            client = asyncio.to_thread(_connect, port, often, asyncio.get_running_loop())
            connecting = asyncio.create_task(client)
            await often.wait()
        await connecting
    gc.collect()  # an open one warns, and a warning is an error


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ('2026-11-28T10:11:08.631Z ERROR unhandled error="no"', "ERROR"),
        ("2026-11-28T10:11:08.631Z WARNING slow_client client_id=bob", "WARNING"),
        ("ERROR:    ASGI callable returned without completing response", "ERROR"),
        ("    Traceback (most recent call last):", "ERROR"),
        ("2026-11-28T10:11:08.631Z INFO connected client_id=ERROR address=127.0.0.1:50530", None),
        ("INFO:     127.0.0.1:50530 - POST /WARNING", None),
    ],
)
def test_the_level_of_a_line_is_not_what_a_client_is_called(line: str, level: str | None) -> None:
    assert level_of(line) == level
