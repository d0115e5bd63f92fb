"""What settings may take, against what there is."""

from pathlib import Path

import pytest

from wsctl.server.checks.resources import BASE, TASKS, bytes_available, memory, processes
from wsctl.settings import Settings

MIB = 1 << 20
HISTORY = Settings(history_bytes=10 * MIB)
QUEUES = Settings(history_bytes=0, max_connections=100, max_queue=MIB)


@pytest.mark.parametrize(
    ("settings", "there", "level"),
    [
        (HISTORY, BASE + 10 * MIB - 1, "warning"),
        (HISTORY, BASE + 10 * MIB, "ok"),
        (Settings(history_bytes=10 * MIB, workers=2), 2 * (BASE + 10 * MIB) - 1, "warning"),
        (Settings(history_bytes=10 * MIB, workers=2), 2 * (BASE + 10 * MIB), "ok"),
        (QUEUES, BASE + 100 * MIB - 1, "warning"),
        (QUEUES, BASE + 100 * MIB, "ok"),
        (Settings(max_queue=0), 1 << 40, "warning"),
        (Settings(), None, "unknown"),
    ],
)
def test_memory(settings: Settings, there: int | None, level: str) -> None:
    assert memory(settings, there).level == level


def test_a_queue_that_fits_is_proposed() -> None:
    fix = memory(QUEUES, BASE + 50 * MIB).fix or ""
    assert "--max-queue 512k" in fix


@pytest.mark.parametrize(
    ("workers", "limit", "level"),
    [(1, TASKS - 1, "warning"), (1, TASKS, "ok"), (2, 3 * TASKS - 1, "warning"), (2, 3 * TASKS, "ok")],
)
def test_processes_and_threads(workers: int, limit: int, level: str) -> None:
    found = processes(workers, limit)
    assert found
    assert found.level == level


def test_without_a_limit_of_processes_there_is_nothing_to_tell() -> None:
    assert processes(64, None) is None


def test_memory_is_what_the_machine_has_within_the_container_s_limit(tmp_path: Path) -> None:
    assert bytes_available(None, tmp_path) is None
    assert bytes_available(7, tmp_path) == 7
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable:    2000 kB\n")
    assert bytes_available(None, tmp_path) == 2000 << 10
    assert bytes_available(7, tmp_path) == 7
    assert bytes_available(1 << 40, tmp_path) == 2000 << 10
