"""Where a journal is to be, against what is there."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.journals import change, open_journal, row, write_journal
from wsctl.process.registry import ServerRecord
from wsctl.server.checks.journal import (
    ON_DISK,
    OVERHEAD,
    JournalPlace,
    check_journal,
    check_place,
    check_room,
    find_file_system,
    find_place,
)
from wsctl.server.diagnostics.finding import Finding
from wsctl.settings import Settings

NOBODY = 65534
"""A user that owns nothing."""

MIB = 1 << 20
HOLD = """
import sys
from tests.support.journals import open_journal
from pathlib import Path
held = open_journal(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def found(path: Path, *records: ServerRecord, **settings: object) -> dict[str, Finding]:
    meant = Settings(journal=str(path), **settings)  # type: ignore[arg-type]
    return {finding.name: finding for finding in check_journal(str(path), meant, records)}


def test_a_new_one_is_named_with_what_it_survives_and_not_made(tmp_path: Path) -> None:
    told = found(tmp_path / "log.db")
    text = f"{tmp_path}/log.db will be made; sync full: it survives a power cut"
    assert (told["journal"].level, told["journal"].text) == ("ok", text)
    assert told["journal disk"].level == "ok"
    assert "loses the last messages" in found(tmp_path / "log.db", journal_sync="normal")["journal"].text
    assert list(tmp_path.iterdir()) == []


def test_one_that_is_there_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    write_journal(path, range(6, 16))
    told = found(path)["journal"]
    assert told.level == "ok"
    assert f"{path}: 10 messages, " in told.text
    change(path, "UPDATE message SET frame = '{}' WHERE ms = 8")
    told = found(path)["journal"]
    assert (told.level, told.text) == ("error", f"{path} is damaged: the message 8-0 cannot be read")


def test_one_that_others_may_read_is_told_with_its_fix(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    write_journal(path, range(6, 16))
    path.chmod(0o644)
    told = found(path)["journal"]
    assert (told.level, told.fix) == ("warning", f"chmod 600 {path}")
    assert "other users may read" in told.text


def test_what_is_no_journal_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("something else")
    for path, why in (
        (tmp_path / "text", "it is not a journal"),
        (tmp_path, "it is not a regular file"),
        (tmp_path / "nowhere" / "log.db", "there is no folder"),
    ):
        told = found(path)["journal"]
        assert told.level == "error"
        assert why in told.text


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder as somebody sees it who is not root, and not its owner where the tests are root's."""
    with tempfile.TemporaryDirectory() as made:
        os.chmod(made, 0o755)
        path = Path(made) / "folder"
        path.mkdir()
        is_root = os.geteuid() == 0
        try:
            yield path
        finally:
            if is_root:
                os.setresuid(0, 0, 0)
            path.chmod(0o700)


def as_nobody() -> None:
    if os.geteuid() == 0:
        os.setresuid(NOBODY, NOBODY, 0)  # to be taken back


@pytest.mark.parametrize(
    ("mode", "why"),
    [(0o555, "its folder cannot be written"), (0, "it cannot be read (permission denied)")],
)
def test_a_folder_that_cannot_be_written_or_entered_is_an_error(folder: Path, mode: int, why: str) -> None:
    path = folder / "closed" / "log.db"
    path.parent.mkdir()
    path.parent.chmod(0o555)
    folder.chmod(mode)
    as_nobody()
    told = found(path)["journal"]
    assert told.level == "error"
    assert why in told.text


def test_one_that_cannot_be_written_is_an_error(folder: Path) -> None:
    path = folder / "log.db"
    write_journal(path, range(6, 16))
    path.chmod(0o444)
    folder.chmod(0o777)
    as_nobody()
    told = found(path)["journal"]
    assert (told.level, told.text) == ("error", f"{path}: it cannot be written")


def test_one_that_a_server_has_is_named_with_that_server(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        theirs = found(path)["journal"]
        record = ServerRecord(holder.pid, "http://here:8000", None, "/control", 0.0)
        ours = found(path, record)["journal"]
    finally:
        holder.communicate()
    assert (theirs.level, theirs.text) == ("error", f"the process {holder.pid} has {path}")
    assert (ours.level, ours.text) == (
        "warning",
        f"your own server has {path}: http://here:8000, pid {holder.pid}",
    )
    assert found(path)["journal"].level == "ok"


@pytest.mark.parametrize(
    ("free", "used", "level"),
    [
        (OVERHEAD + 225 * MIB, 0, "ok"),
        (OVERHEAD + 225 * MIB - 1, 0, "warning"),
        (OVERHEAD, 225 * MIB, "ok"),
        (1 << 40, 0, "ok"),
    ],
)
def test_the_disk_has_room_for_the_history(free: int, used: int, level: str) -> None:
    place = JournalPlace(Path("/here"), "ext4", free, used)
    assert check_room(Settings(history_bytes=100 * MIB), place).level == level


@pytest.mark.parametrize("size", [60, 256, 2050, 20_000])
def test_a_journal_takes_no_more_than_that(tmp_path: Path, size: int) -> None:
    most, commit, path = 2 << 20, 1 << 16, tmp_path / "log.db"
    together = commit // size
    with closing(open_journal(path, most=most, most_bytes=most)) as file:
        for first in range(6, 2 * most // size, together):
            numbers = range(first, first + together)
            file.append([row(n, data="x" * size) for n in numbers], taken=(1 << 40, 0))
    assert path.stat().st_size <= ON_DISK * (most + commit)


@pytest.mark.parametrize(
    ("kind", "level", "fix"),
    [
        ("nfs4", "error", "--redis"),
        ("9p", "error", "--redis"),
        ("tmpfs", "warning", "a folder on a disk"),
        ("overlay", "warning", "mount a volume at /here"),
    ],
)
def test_a_file_system_that_does_not_keep_a_journal_is_told(kind: str, level: str, fix: str) -> None:
    told = check_place(JournalPlace(Path("/here"), kind, 1 << 40, 0))
    assert told is not None
    assert told.level == level
    assert fix in (told.fix or "")
    assert kind in told.text


@pytest.mark.parametrize("kind", ["ext4", "xfs", "btrfs", None])
def test_an_ordinary_file_system_is_not_worth_a_word(kind: str | None) -> None:
    assert check_place(JournalPlace(Path("/here"), kind, 1 << 40, 0)) is None


def test_the_file_system_is_found_by_its_device(tmp_path: Path) -> None:
    device = os.stat(tmp_path).st_dev
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "1 0 0:1 / /proc rw - proc proc rw\n"
        "nonsense\n"
        f"2 1 {os.major(device)}:{os.minor(device)} / /my\\040disk rw shared:1 - xfs /dev/x rw\n"
    )
    assert find_file_system(tmp_path, mounts) == "xfs"
    mounts.write_text("")
    assert find_file_system(tmp_path, mounts) is None
    assert find_file_system(tmp_path, tmp_path / "none") is None


def test_the_room_that_a_journal_has_already_counts(tmp_path: Path) -> None:
    path = tmp_path / "log.db"
    assert find_place(path).used == 0
    write_journal(path, range(6, 16))
    assert find_place(path).used == path.stat().st_size
    assert find_place(path).free > 0
