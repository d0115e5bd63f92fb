"""The platform that runs a server: whether it is a container, and how tight its limits are."""

from pathlib import Path

import pytest

from wsctl.server.diagnostics.platform import (
    CONTAINER,
    KUBERNETES,
    container_around,
    container_of_server,
    memory_limit,
    process_limit,
)

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}


def test_a_container_is_known_by_its_marks(tmp_path: Path) -> None:
    assert container_around({}, tmp_path, 7) is None
    (tmp_path / "run").mkdir()
    (tmp_path / "run/.containerenv").touch()
    assert container_around({}, tmp_path, 7) is CONTAINER
    assert container_around(IN_A_POD, tmp_path, 7) is KUBERNETES


def test_process_1_is_in_a_container_without_a_mark(tmp_path: Path) -> None:
    assert container_around({}, tmp_path, 1) is CONTAINER


def test_only_where_its_first_process_is_a_server_s_a_container_ends_with_it() -> None:
    assert container_of_server({}, 1) is CONTAINER
    assert container_of_server(IN_A_POD, 1) is KUBERNETES
    for first in ("wsctl", "uvicorn", "tini", "docker-init"):
        assert container_of_server(IN_A_POD, 7, lambda first=first: first) is KUBERNETES  # type: ignore[misc]
    for first in ("sh", "sleep", "systemd", ""):
        assert container_of_server(IN_A_POD, 7, lambda first=first: first) is None  # type: ignore[misc]


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
