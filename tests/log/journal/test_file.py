"""The file of a journal: what is written is read again, within its bounds, and whatever else is at its path
is refused."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.journals import FLOOR, change, open_journal, overwrite, row, rows, write_journal
from tests.support.sizes import examples
from wsctl.log.home import Key
from wsctl.log.journal import file as file_module
from wsctl.log.journal.errors import UnusableJournal
from wsctl.log.journal.file import WAL, JournalFile
from wsctl.log.retention import Floors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


def refusal(make: Callable[[], object]) -> str:
    """What is said of a journal that cannot be used, with what to do."""
    with pytest.raises(UnusableJournal) as refused:
        make()
    return f"{refused.value}; {refused.value.cure}"


def read_again(path: Path) -> list[int]:
    with closing(open_journal(path)) as file:
        return [row.id[0] for row in file.behind((0, 0))]


def test_a_new_one_begins_where_it_is_told_to(path: Path) -> None:
    with closing(open_journal(path, floor=(7, 3))) as file:
        assert (file.floor, file.newest, len(file)) == ((7, 3), (7, 3), 0)
    with closing(open_journal(path, floor=(99, 0))) as file:
        assert (file.floor, file.newest) == ((7, 3), (7, 3)), "and stays there"


def test_the_rest_of_an_old_one_is_not_taken_for_the_new_one_s(path: Path) -> None:
    """Its file was removed, and its write-ahead log was not."""
    program = f"""
import os, signal
from pathlib import Path
from tests.support.journals import *
file = open_journal(Path({str(path)!r}))
file.append(rows(range(6, 50)), taken=FLOOR)
os.unlink({str(path)!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", program], check=False)
    assert Path(f"{path}{WAL}").stat().st_size > 0
    assert read_again(path) == []


def test_one_that_was_not_made_to_the_end_is_made_anew(path: Path) -> None:
    Path(f"{path}-new").write_text("half")
    path.touch()
    assert read_again(path) == []
    assert not Path(f"{path}-new").exists()


def test_only_its_user_may_read_it(path: Path) -> None:
    with closing(open_journal(path)) as file:
        file.append([row(6)], taken=FLOOR)
        modes = {
            name: os.stat(tmp).st_mode & 0o777
            for name in ("", "-wal", "-shm", "-lock")
            if (tmp := f"{path}{name}")
        }
    assert set(modes.values()) == {0o600}


@examples(25)
@given(st.lists(st.integers(0, 600), max_size=6))
def test_what_is_written_is_read_again(tmp_path_factory: pytest.TempPathFactory, sizes: list[int]) -> None:
    """However many rows are in one commit."""
    path = tmp_path_factory.mktemp("j") / "journal"
    written, n = [], 5
    with closing(open_journal(path, most=10_000)) as file:
        for size in sizes:
            together = [row(n := n + 1, ("bob", "eve") if n % 3 else None) for _ in range(size)]
            file.append(together, taken=FLOOR)
            written += together
        assert file.behind((0, 0)) == written
        assert file.bytes == sum(len(each.frame) for each in written)
    with closing(open_journal(path, most=10_000)) as file:
        assert file.behind((0, 0)) == written
        assert file.bytes == sum(len(each.frame) for each in written)
        assert file.newest == (written[-1].id if written else FLOOR)


def test_the_oldest_go_above_the_number(path: Path) -> None:
    with closing(open_journal(path, most=10)) as file:
        for n in range(6, 36, 3):
            file.append(rows(range(n, n + 3)), taken=(n - 1, 0))
        assert (len(file), file.floor, file.newest) == (10, (25, 0), (35, 0))
    assert read_again(path) == list(range(26, 36))


def test_the_oldest_go_above_the_size(path: Path) -> None:
    size = len(row(10).frame)
    with closing(open_journal(path, most_bytes=4 * size)) as file:
        for n in range(10, 30):
            file.append([row(n)], taken=(n - 1, 0))
        assert (len(file), file.bytes, file.floor) == (4, 4 * size, (25, 0))


def test_what_nobody_took_yet_stays(path: Path) -> None:
    with closing(open_journal(path, most=2)) as file:
        file.append(rows(range(6, 26)), taken=FLOOR)
        file.append([row(26)], taken=(20, 0))
        assert (len(file), file.floor) == (6, (20, 0))


def test_with_a_history_of_none_its_ids_still_grow(path: Path) -> None:
    with closing(open_journal(path, most=0)) as file:
        file.append([row(6)], taken=FLOOR)
        file.append([row(7)], taken=(6, 0))
    with closing(open_journal(path, most=0)) as file:
        assert file.newest == (7, 0)


def test_it_does_not_grow_without_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_module, "WAL_BYTES", 1 << 18)
    sizes = []
    with closing(open_journal(path, most=200, most_bytes=1 << 16)) as file:
        for n in range(10, 8010, 8):
            file.append(rows(range(n, n + 8)), taken=(n - 1, 0))
            file.checkpoint()
            sizes.append(file.size)
    assert max(sizes) < (1 << 18) + (1 << 17)
    assert max(sizes[500:]) <= max(sizes[:500]), "it has its size after a while"
    assert path.stat().st_size < 1 << 17


@pytest.mark.parametrize("full", [False, True])
def test_what_is_committed_survives_the_end_of_its_process(path: Path, full: bool) -> None:
    program = f"""
import os, signal
from pathlib import Path
from tests.support.journals import *
file = open_journal(Path({str(path)!r}), full={full})
file.append(rows(range(6, 50)), taken=FLOOR)
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert read_again(path) == list(range(6, 50))


def test_a_range_of_it_is_loaded(path: Path) -> None:
    with closing(open_journal(path)) as file:
        file.append(rows(range(6, 16)), taken=FLOOR)
        kept = file.load((8, 0), (12, 0), 100, 1 << 20)
        assert ([each.id for each in kept.entries], kept.floor) == ([(n, 0) for n in range(9, 13)], (8, 0))
        newest = file.load((0, 0), (15, 0), 2, 1 << 20)
        assert ([each.id for each in newest.entries], newest.floor) == ([(14, 0), (15, 0)], (13, 0))
        small = file.load((0, 0), (15, 0), 100, 1)
        assert [each.id for each in small.entries] == [(15, 0)]
        assert file.load((15, 0), (20, 0), 100, 1 << 20) == ((20, 0), [])


def test_all_of_it_can_be_replaced(path: Path) -> None:
    with closing(open_journal(path)) as file:
        file.append(rows(range(6, 16)), taken=FLOOR)
        file.replace(Floors((100, 0), {}, (100, 0)), rows(range(101, 104)))
        file.append([row(104)], taken=(103, 0))
        assert (file.floor, file.newest, len(file)) == ((100, 0), (104, 0), 4)
    assert read_again(path) == [101, 102, 103, 104]


def test_messages_are_found_by_their_keys(path: Path) -> None:
    with closing(open_journal(path)) as file:
        file.append(rows(range(6, 16)), taken=FLOOR)
        asked = {Key("w", 9), Key("w", 11), Key("w", 16), Key("v", 9)}
        assert file.find(asked) == {Key("w", 9): (9, 0), Key("w", 11): (11, 0)}


class TestWhatCannotBeUsed:
    """Each is said in one line, with what to do, and is left as it is."""

    def test_a_missing_folder(self, tmp_path: Path) -> None:
        said = refusal(lambda: open_journal(tmp_path / "none" / "journal"))
        assert said == f"there is no folder {tmp_path}/none; make it, or correct --journal"

    def test_a_folder(self, tmp_path: Path) -> None:
        assert refusal(lambda: open_journal(tmp_path)) == "it is not a regular file; name a file"

    def test_a_text(self, path: Path) -> None:
        path.write_text("Dear diary")
        said = refusal(lambda: open_journal(path))
        assert said == "it is not a journal; name another file: this one is left as it is"
        assert path.read_text() == "Dear diary"
        assert os.listdir(path.parent) == ["journal"]

    def test_a_database_of_another_program(self, path: Path) -> None:
        change(path, "CREATE TABLE t (a)")
        before = path.read_bytes()
        assert refusal(lambda: open_journal(path)).startswith("it is a database of another program; ")
        assert path.read_bytes() == before

    def test_a_newer_version(self, path: Path) -> None:
        write_journal(path, range(6, 9))
        change(path, "PRAGMA user_version = 3")
        assert refusal(lambda: open_journal(path)) == (
            "it is a journal of version 3, and this release knows 2; "
            "serve with the release that wrote it, or name another file"
        )

    def test_a_damaged_page(self, path: Path) -> None:
        write_journal(path, range(6, 90))
        overwrite(path, 4096, b"\xff" * 4096)
        assert refusal(lambda: open_journal(path)).startswith("it is damaged (")

    def test_messages_out_of_order(self, path: Path) -> None:
        write_journal(path, range(6, 9))
        change(path, "UPDATE message SET ms = 6 WHERE place = 2")
        assert refusal(lambda: open_journal(path)).startswith("it is damaged (its messages are not in order)")

    def test_a_missing_floor(self, path: Path) -> None:
        write_journal(path, range(6, 9))
        change(path, "DELETE FROM floor")
        assert refusal(lambda: open_journal(path)).startswith("it is damaged (its floor is missing)")

    def test_another_server_that_writes_it(self, path: Path) -> None:
        with closing(open_journal(path)):
            said = refusal(lambda: open_journal(path))
            assert said.startswith(f"the process {os.getpid()} writes it; a journal is for one server")
        assert read_again(path) == []

    def test_a_folder_that_is_not_ours(self, nobodys: Path) -> None:
        path = nobodys / "journal"
        nobodys.chmod(0o500)
        assert refusal(lambda: open_journal(path)).startswith("it cannot be written (permission denied)")

    def test_a_file_that_may_only_be_read(self, nobodys: Path) -> None:
        path = nobodys / "journal"
        write_journal(path, range(6, 9))
        path.chmod(0o400)
        assert refusal(lambda: open_journal(path)).startswith("it cannot be written (permission denied)")
        path.chmod(0o600)
        assert read_again(path) == [6, 7, 8], "and once it may be written it can be used"


@pytest.fixture
def limited() -> Iterator[Callable[[int], None]]:
    """Limit how large files of this process may be, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_is_sure_to_have_nothing(path: Path) -> None:
    with closing(open_journal(path)) as file:
        [(pages,)] = file._connection.execute("PRAGMA page_count").fetchall()
        file._connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        with pytest.raises(UnusableJournal, match="its disk is full") as refused:
            file.append([row(6, data="x" * 9000)], taken=FLOOR)
        assert refused.value.certain
        assert (file.newest, file.bytes) == (FLOOR, 0)
        file._connection.execute("PRAGMA max_page_count = 1000").fetchall()
        file.append([row(7)], taken=FLOOR)
    assert read_again(path) == [7]


def test_an_error_of_the_disk_within_a_commit_leaves_open_what_is_written(
    path: Path, limited: Callable[[int], None]
) -> None:
    with closing(open_journal(path)) as file:
        file.append([row(6)], taken=FLOOR)
        limited(os.stat(f"{path}{WAL}").st_size + 5000)
        with pytest.raises(UnusableJournal, match=r"an error of the disk \(SQLITE_IOERR_WRITE\)") as refused:
            file.append([row(7, data="x" * 9000)], taken=FLOOR)
        assert not refused.value.certain
        limited(1 << 30)
        file.append([row(8)], taken=FLOOR)
    assert read_again(path) == [6, 8]


@pytest.mark.parametrize("ending", ["", "-wal", "-shm", "-lock"])
def test_nothing_is_written_into_a_file_that_was_removed(path: Path, ending: str) -> None:
    file = open_journal(path)
    os.unlink(f"{path}{ending}")
    with pytest.raises(UnusableJournal, match="was removed or replaced") as refused:
        file.append([row(6)], taken=FLOOR)
    assert refused.value.certain
    file.close()


def test_a_file_in_place_of_a_removed_one_is_not_touched(path: Path) -> None:
    file = open_journal(path)
    os.rename(path.parent, path.parent.with_suffix(".old"))
    path.parent.mkdir()
    with closing(open_journal(path)) as other:
        other.append([row(6)], taken=FLOOR)
        with pytest.raises(UnusableJournal, match="was removed or replaced"):
            file.append([row(7)], taken=FLOOR)
        file.close()
        assert Path(f"{path}{WAL}").exists()
        other.append([row(8)], taken=FLOOR)
    assert read_again(path) == [6, 8]


def test_a_checkpoint_waits_until_it_is_worth_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(open_journal(path)) as file:
        file.append([row(6)], taken=FLOOR)
        assert not file.checkpoint()
        monkeypatch.setattr(file_module, "WAL_BYTES", 4096)
        assert file.checkpoint()
        file.append([row(7)], taken=FLOOR)
        assert os.stat(f"{path}{WAL}").st_size < 20_000, "its log begins anew"


def test_another_thread_may_not_use_it(path: Path) -> None:
    """SQLite's module for Python sees to it: the event loop cannot write by mistake."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        file: JournalFile = pool.submit(open_journal, path).result()
        with pytest.raises(UnusableJournal, match="thread"):
            file.append([row(6)], taken=FLOOR)
        with pytest.raises(sqlite3.ProgrammingError):
            file._connection.execute("SELECT 1")
        pool.submit(file.close).result()
