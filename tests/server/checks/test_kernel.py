"""How many connections the kernel holds."""

from pathlib import Path

import pytest

from wsctl.server.checks.kernel import Queues, check, own_queues


@pytest.mark.parametrize(
    ("queues", "level"),
    [
        (Queues(2047, 4096, True), "warning"),
        (Queues(2048, 4096, True), "ok"),
        (Queues(4096, 4096, True), "ok"),
        (Queues(4096, 2047, True), "ok"),
        (Queues(4096, 2047, False), "warning"),
        (Queues(4096, 2048, False), "ok"),
        (Queues(4096, None, False), "ok"),
        (Queues(None, None, True), "unknown"),
    ],
)
def test_the_kernel_s_queues_against_the_backlog(queues: Queues, level: str) -> None:
    found = check(2048, queues)
    assert found.level == level
    assert bool(found.fix) == (level == "warning")


def test_they_are_read_where_linux_has_them(tmp_path: Path) -> None:
    assert own_queues(tmp_path) == Queues(None, None, True)
    for name, value in [("net/core/somaxconn", 128), ("net/ipv4/tcp_max_syn_backlog", 256)]:
        path = tmp_path / "sys" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    (tmp_path / "sys/net/ipv4/tcp_syncookies").write_text("0\n")
    assert own_queues(tmp_path) == Queues(128, 256, False)
