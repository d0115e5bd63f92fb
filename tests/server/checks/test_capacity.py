"""The resources that settings may take, against what there is."""

import json
import subprocess
import sys
from dataclasses import replace
from math import inf
from pathlib import Path

import pytest

from tests.support.server import DEADLINE
from wsctl.server.checks.capacity import (
    FEW_CLIENTS,
    PROCESS_BYTES,
    PROCESS_THREADS,
    KernelQueues,
    bytes_available,
    check_backlog,
    check_memory,
    check_open_files,
    check_processes,
    kernel_queues,
)
from wsctl.server.listening.limits import RESERVED_FILES as KEPT
from wsctl.settings import Settings

MIB = 1 << 20
HISTORY = Settings(history_bytes=10 * MIB)
WORKERS = Settings(history_bytes=10 * MIB, workers=2)
QUEUES = Settings(history_bytes=0, max_connections=100, max_queue=MIB)


@pytest.mark.parametrize(
    ("settings", "there", "level"),
    [
        (HISTORY, PROCESS_BYTES + 10 * MIB - 1, "warning"),
        (HISTORY, PROCESS_BYTES + 10 * MIB, "ok"),
        (WORKERS, 3 * (PROCESS_BYTES + 10 * MIB) - 1, "warning"),
        (WORKERS, 3 * (PROCESS_BYTES + 10 * MIB), "ok"),
        (replace(WORKERS, redis="redis://store"), 3 * PROCESS_BYTES + 20 * MIB - 1, "warning"),
        (replace(WORKERS, redis="redis://store"), 3 * PROCESS_BYTES + 20 * MIB, "ok"),
        (QUEUES, PROCESS_BYTES + 100 * MIB - 1, "warning"),
        (QUEUES, PROCESS_BYTES + 100 * MIB, "ok"),
        (Settings(max_queue=0), 1 << 40, "warning"),
        (Settings(), None, "unknown"),
    ],
)
def test_memory(settings: Settings, there: int | None, level: str) -> None:
    assert check_memory(settings, there).level == level


def test_a_queue_that_fits_is_proposed() -> None:
    fix = check_memory(QUEUES, PROCESS_BYTES + 50 * MIB).fix or ""
    assert "--max-queue 512k" in fix


@pytest.mark.parametrize(
    ("workers", "limit", "level"),
    [
        (1, PROCESS_THREADS - 1, "warning"),
        (1, PROCESS_THREADS, "ok"),
        (2, 3 * PROCESS_THREADS - 1, "warning"),
        (2, 3 * PROCESS_THREADS, "ok"),
    ],
)
def test_processes_and_threads(workers: int, limit: int, level: str) -> None:
    found = check_processes(workers, limit)
    assert found
    assert found.level == level


def test_without_a_limit_of_processes_there_is_nothing_to_tell() -> None:
    assert check_processes(64, None) is None


def test_memory_is_what_the_machine_has_within_the_container_s_limit(tmp_path: Path) -> None:
    assert bytes_available(None, tmp_path) is None
    assert bytes_available(7, tmp_path) == 7
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    2000 kB\n")
    assert bytes_available(None, tmp_path) == 2000 << 10
    assert bytes_available(7, tmp_path) == 7
    assert bytes_available(1 << 40, tmp_path) == 2000 << 10


@pytest.mark.parametrize(
    ("asked", "files", "level"),
    [
        (5000, 5000 + KEPT - 1, "error"),
        (5000, 5000 + KEPT, "ok"),
        (5000, 5000 + KEPT + 1, "ok"),
        (None, FEW_CLIENTS + KEPT - 1, "warning"),
        (None, FEW_CLIENTS + KEPT, "ok"),
        (10, 1024, "ok"),
        (0, 1024, "warning"),
        (None, inf, "ok"),
        (0, inf, "ok"),
        (5000, inf, "ok"),
    ],
)
def test_open_files_against_clients(asked: int | None, files: float, level: str) -> None:
    assert check_open_files(asked, files).level == level


def test_the_fix_is_a_limit_of_files_that_suffices() -> None:
    fix = check_open_files(5000, 1024).fix or ""
    assert f"to {5000 + KEPT}, or --max-connections {1024 - KEPT}" in fix
    assert check_open_files(5000, 5000 + KEPT).level == "ok"


LIMITED = """
import json, resource
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 300))
from wsctl.server.checks.capacity import own_open_files
print(json.dumps(own_open_files()))
"""


def test_the_limit_is_the_hard_one() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LIMITED], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    assert json.loads(done.stdout) == 300


@pytest.mark.parametrize(
    ("queues", "level"),
    [
        (KernelQueues(2047, 4096, True), "warning"),
        (KernelQueues(2048, 4096, True), "ok"),
        (KernelQueues(4096, 4096, True), "ok"),
        (KernelQueues(4096, 2047, True), "ok"),
        (KernelQueues(4096, 2047, False), "warning"),
        (KernelQueues(4096, 2048, False), "ok"),
        (KernelQueues(4096, None, False), "ok"),
        (KernelQueues(None, None, True), "unknown"),
    ],
)
def test_the_kernel_s_queues_against_the_backlog(queues: KernelQueues, level: str) -> None:
    found = check_backlog(2048, queues)
    assert found.level == level
    assert bool(found.fix) == (level == "warning")


def test_the_queues_are_read_where_linux_has_them(tmp_path: Path) -> None:
    assert kernel_queues(tmp_path) == KernelQueues(None, None, True)
    for name, value in [("net/core/somaxconn", 128), ("net/ipv4/tcp_max_syn_backlog", 256)]:
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    (tmp_path / "sys/net/ipv4/tcp_syncookies").write_text("0\n")
    assert kernel_queues(tmp_path) == KernelQueues(128, 256, False)
