"""The limits of a container."""

from pathlib import Path

import pytest

from wsctl.server.checks.cgroup import memory_limit, process_limit


def tree(root: Path, **files: str) -> Path:
    """Files of a control group; `__` is a slash in their names."""
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def group(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "self"
    path.write_text(text)
    return path


def test_the_tightest_limit_of_a_group_and_those_around_it_counts(tmp_path: Path) -> None:
    root = tree(tmp_path / "fs")
    for name, text in [
        ("a/memory.max", "1000\n"),
        ("a/b.service/memory.max", "2000\n"),
        ("pids.max", "max\n"),
    ]:
        tree(root, **{name: text})
    own = group(tmp_path, "0::/a/b.service\n")
    assert memory_limit(own, root) == 1000
    assert process_limit(own, root) is None


def test_inside_a_container_the_root_is_its_own_group(tmp_path: Path) -> None:
    root = tree(tmp_path / "fs", **{"memory.max": "4096", "pids.max": "100"})
    for text in ("0::/\n", "0::/docker/abc\n"):
        own = group(tmp_path, text)
        assert (memory_limit(own, root), process_limit(own, root)) == (4096, 100)


def test_version_1_has_a_folder_for_each_controller(tmp_path: Path) -> None:
    files = {"memory/x/memory.limit_in_bytes": "5000", "memory/memory.limit_in_bytes": str((1 << 63) - 4096)}
    root = tree(tmp_path / "fs", **files, **{"pids/x/pids.max": "64"})
    own = group(tmp_path, "9:name=systemd:/\n5:memory:/x\n4:cpu,pids:/x\n")
    assert (memory_limit(own, root), process_limit(own, root)) == (5000, 64)
    (root / "memory/x/memory.limit_in_bytes").unlink()
    assert memory_limit(own, root) is None


@pytest.mark.parametrize("text", [None, "", "nonsense\n", "1:2\n"])
def test_where_nothing_is_told_there_is_no_limit(tmp_path: Path, text: str | None) -> None:
    own = tmp_path / "none" if text is None else group(tmp_path, text)
    assert memory_limit(own, tmp_path) is None
