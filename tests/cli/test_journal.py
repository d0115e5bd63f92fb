"""`wsctl journal`, as a process."""

import json
import os
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.journals import FLOOR, change, open_journal, overwrite, row, rows, write_journal
from tests.support.processes import run
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.terminal import Terminal


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.db"


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines()]


def test_it_shows_size_span_and_messages(path: Path, environ: dict[str, str]) -> None:
    with closing(open_journal(path)) as file:
        file.append([*rows(range(1000, 1010)), row(61_500, ("bob",))], taken=FLOOR)
        size = file.bytes
    done = wsctl("journal", str(path), environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    title, disk, messages, oldest, newest = lines(done.stdout)
    assert title == f"{path}  no server writes it, version 2"
    assert disk.startswith("  size      ")
    assert messages == f"  messages  11, 1 of them direct, {size} bytes"
    assert oldest.startswith("  oldest    1000-0, 1970-01-01T00:00:01.000Z, ")
    assert newest.startswith("  newest    61500-0, 1970-01-01T00:01:01.500Z, ")
    assert newest.endswith(" ago")


def test_json_has_the_same_in_one_object(path: Path, environ: dict[str, str]) -> None:
    write_journal(path, range(1000, 1010))
    done = wsctl("journal", str(path), "--json", environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    assert told == {
        "path": str(path),
        "version": 2,
        "bytes": path.stat().st_size,
        "wal_bytes": 0,
        "messages": 10,
        "message_bytes": told["message_bytes"],
        "direct": 0,
        "topics": 0,
        "floor": "5-0",
        "oldest": {"id": "1000-0", "time": "1970-01-01T00:00:01.000Z"},
        "newest": {"id": "1009-0", "time": "1970-01-01T00:00:01.009Z"},
        "sync": None,
        "in_use": False,
        "pid": None,
    }


def test_it_counts_topics(path: Path, environ: dict[str, str]) -> None:
    with closing(open_journal(path)) as file:
        file.append([row(6), row(7, topic="a"), row(8, topic="b.c"), row(9, topic="a")], taken=FLOOR)
        size = file.bytes
    done = wsctl("journal", str(path), "--verify", environ=environ)
    assert lines(done.stdout)[2] == f"  messages  4, of 2 topics, {size} bytes"
    assert lines(done.stdout)[-1] == "  verified  sound"


def test_one_without_messages_has_dashes(path: Path, environ: dict[str, str]) -> None:
    write_journal(path, ())
    done = wsctl("journal", str(path), environ=environ)
    assert lines(done.stdout)[2:] == ["  messages  0, 0 bytes", "  oldest    -", "  newest    -"]


def test_it_looks_at_one_that_is_written_and_disturbs_nobody(path: Path, environ: dict[str, str]) -> None:
    with closing(open_journal(path)) as file:
        file.append(rows(range(6, 16)), taken=FLOOR)
        done = wsctl("journal", str(path), "--verify", environ=environ)
        assert (done.returncode, done.stderr) == (0, "")
        assert lines(done.stdout)[0] == f"{path}  pid {os.getpid()} writes it, version 2"
        assert lines(done.stdout)[-1] == "  verified  sound"
        assert "of it" in lines(done.stdout)[1]
        told = json.loads(wsctl("journal", str(path), "--verify", "--json", environ=environ).stdout)
        assert (told["in_use"], told["pid"], told["sound"], told["problems"]) == (True, os.getpid(), True, [])
        file.append([row(16)], taken=FLOOR)


def test_a_damaged_one_is_told_problem_by_problem_and_ends_it_with_1(
    path: Path, environ: dict[str, str]
) -> None:
    write_journal(path, range(6, 16))
    change(path, "UPDATE message SET frame = '{}' WHERE ms = 8", "DELETE FROM message WHERE ms = 10")
    assert wsctl("journal", str(path), environ=environ).returncode == 0
    done = wsctl("journal", str(path), "--verify", environ=environ)
    assert done.returncode == 1
    assert done.stderr.startswith(f"wsctl: the journal {path} is damaged: 2 problems; move it away")
    assert done.stderr.count("\n") == 1
    first, second = lines(done.stdout)[-2:]
    assert first.startswith("  verified  ")
    assert second == "            the message 8-0 cannot be read"
    done = wsctl("journal", str(path), "--verify", "--json", environ=environ)
    told = json.loads(done.stdout)
    assert (done.returncode, told["sound"], len(told["problems"])) == (1, False, 2)


def test_what_is_no_journal_is_one_line(path: Path, environ: dict[str, str], tmp_path: Path) -> None:
    text, newer, garbled = tmp_path / "text", tmp_path / "newer", tmp_path / "garbled"
    text.write_text("something else")
    for each in (newer, garbled):
        write_journal(each, range(6, 300))
    overwrite(newer, 60, (9).to_bytes(4))
    overwrite(garbled, 4096, b"\xff" * 4096)
    for file, why in (
        (path, "there is none"),
        (tmp_path, "it is not a regular file"),
        (text, "it is not a journal"),
        (newer, "it is a journal of version 9"),
        (garbled, "it is damaged"),
    ):
        for flags in ((), ("--verify",), ("--json",)):
            done = wsctl("journal", str(file), *flags, environ=environ)
            assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1), file
            assert done.stderr.startswith(f"wsctl: the journal {file}: {why}")
            assert "; " in done.stderr
    assert not path.exists()


def test_without_a_file_a_server_is_needed(environ: dict[str, str]) -> None:
    done = wsctl("journal", environ=environ)
    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == "wsctl: no server runs here, whose journal could be meant: name the file of one\n"


def test_a_file_and_a_port_are_two_journals(path: Path, environ: dict[str, str]) -> None:
    done = wsctl("journal", str(path), "--port", "8000", environ=environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "wsctl: FILE and --port both choose a journal: give one of them\n"


WITHOUT_SQLITE = """
import sys
from importlib.machinery import PathFinder

class Without:
    def find_spec(self, name, path=None, target=None):
        return None if name == "_sqlite3" else PathFinder.find_spec(name, path, target)

sys.meta_path = [each if each is not PathFinder else Without() for each in sys.meta_path]
from wsctl.cli.app import run
sys.exit(run(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "command",
    [
        ("journal", "FILE"),
        ("serve", "--port", "0", "--journal", "FILE"),
        ("serve", "--port", "0", "--workers", "2", "--journal", "FILE"),
    ],
)
def test_in_a_python_without_sqlite_a_journal_is_one_line(
    path: Path, environ: dict[str, str], command: tuple[str, ...]
) -> None:
    words = [str(path) if word == "FILE" else word for word in command]
    done = run([sys.executable, "-c", WITHOUT_SQLITE, *words], env=environ, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "wsctl: a journal needs SQLite, and this Python was built without: take another Python\n"
    )


def test_in_a_python_without_sqlite_the_check_says_so_and_goes_on(
    path: Path, environ: dict[str, str]
) -> None:
    words = ["check", "--port", "0", "--json", "--journal", str(path)]
    done = run([sys.executable, "-c", WITHOUT_SQLITE, *words], env=environ, timeout=DEADLINE)
    found = {each["name"]: each for each in json.loads(done.stdout)["checks"]}
    assert (done.returncode, found["journal"]["level"], found["journal"]["fix"]) == (
        1,
        "error",
        "take another Python",
    )
    assert "memory" in found


def test_on_a_terminal_it_has_colour_and_commands_nothing(tmp_path: Path, environ: dict[str, str]) -> None:
    path = tmp_path / "a\x1b[2Jb.db"
    write_journal(path, range(6, 16))
    terminal = Terminal([*WSCTL, "journal", str(path), "--verify"], environ, columns=80)
    try:
        assert terminal.wait() == 0
    finally:
        terminal.close()
    assert "sound" in terminal.text
    assert b"\x1b[32msound" in terminal.raw
    assert b"\x1b[2J" not in terminal.raw
