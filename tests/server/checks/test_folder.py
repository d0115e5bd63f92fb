"""Where the commands find a server."""

from pathlib import Path

import pytest

from wsctl.server.checks.folder import check


def test_a_folder_that_can_be_made_will_do_and_is_not_made(runtime_dir: Path) -> None:
    assert check(runtime_dir).level == "ok"
    assert check(runtime_dir / "new" / "deeper").level == "ok"
    assert not (runtime_dir / "new").exists()


def test_one_that_others_can_write_to_will_not(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o777)
    found = check(runtime_dir)
    assert found.level == "warning"
    assert "WSCTL_RUNTIME_DIR" in (found.fix or "")


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 100, "x" * 300])
def test_what_is_no_folder_or_too_long_will_not(runtime_dir: Path, name: str) -> None:
    (runtime_dir / "file").touch()
    assert check(runtime_dir / name).level == "warning"
