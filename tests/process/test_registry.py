"""The folder in which servers are found: whose it is, and what may stand in it."""

import json
import os
import socket
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from wsctl.process.registry import (
    MAX_SOCKET_PATH,
    Registration,
    ServerRecord,
    UnusableFolder,
    announced,
    control_socket,
    running_servers,
    runtime_folder,
)


def _record(control: Path, pid: int = 1, started: float = 1.0) -> ServerRecord:
    return ServerRecord(pid, "http://127.0.0.1:1", None, str(control), started)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def _listening(folder: Path, pid: int, backlog: int = 5) -> Iterator[Path]:
    with control_socket(folder, pid) as sock:
        sock.listen(backlog)
        yield Path(sock.getsockname())


def _foreign_folder(below: Path) -> Path:
    """A folder that belongs to somebody else."""
    if os.getuid():
        return Path("/")
    folder = below / "foreign"
    folder.mkdir(mode=0o700)
    os.chown(folder, 12345, 12345)
    return folder


def test_the_folder_is_the_chosen_one_or_xdg_s_or_a_temporary_one() -> None:
    fallback = Path(tempfile.gettempdir()) / f"wsctl-{os.getuid()}"
    assert runtime_folder({"WSCTL_RUNTIME_DIR": "/a", "XDG_RUNTIME_DIR": "/b"}) == Path("/a")
    assert runtime_folder({"XDG_RUNTIME_DIR": "/b"}) == Path("/b/wsctl")
    assert runtime_folder({}) == runtime_folder({"WSCTL_RUNTIME_DIR": "", "XDG_RUNTIME_DIR": ""}) == fallback


def test_folder_and_socket_are_the_owner_s_alone_whatever_the_umask(runtime_dir: Path) -> None:
    folder = runtime_dir / "new" / "wsctl"
    before = os.umask(0)
    try:
        with _listening(folder, 7) as path:
            assert path == folder / "7.sock"
            assert (_mode(folder), _mode(path)) == (0o700, 0o600)
        assert os.umask(0) == 0, "the umask is put back"
    finally:
        os.umask(before)


def test_an_empty_folder_that_others_can_read_is_narrowed(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o755)
    with _listening(runtime_dir, 7):
        assert _mode(runtime_dir) == 0o700


def test_a_folder_that_is_in_use_keeps_its_mode(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o755)
    (runtime_dir / "of somebody else").touch()
    with _listening(runtime_dir, 7):
        assert _mode(runtime_dir) == 0o755
        assert _mode(runtime_dir / "7.sock") == 0o600


@pytest.mark.parametrize("mode", [0o1777, 0o770, 0o702])
def test_a_folder_that_others_can_write_to_is_refused_and_left_alone(runtime_dir: Path, mode: int) -> None:
    runtime_dir.chmod(mode)
    with pytest.raises(UnusableFolder, match="others can write"):
        control_socket(runtime_dir, 7)
    assert _mode(runtime_dir) == mode
    with pytest.raises(UnusableFolder, match="others can write"):
        running_servers(runtime_dir)


def test_a_symbolic_link_in_place_of_the_folder_is_refused(runtime_dir: Path) -> None:
    (runtime_dir / "real").mkdir(mode=0o700)
    link = runtime_dir / "link"
    link.symlink_to(runtime_dir / "real")
    for use in (lambda: control_socket(link, 7), lambda: running_servers(link)):
        with pytest.raises(UnusableFolder, match="set WSCTL_RUNTIME_DIR"):
            use()
    assert not list((runtime_dir / "real").iterdir())


def test_somebody_else_s_folder_is_neither_used_nor_believed(runtime_dir: Path) -> None:
    folder = _foreign_folder(runtime_dir)
    for use in (lambda: control_socket(folder, 7), lambda: running_servers(folder)):
        with pytest.raises(UnusableFolder, match="not a folder of this user's"):
            use()


def test_a_folder_that_cannot_be_made_is_one_line(runtime_dir: Path) -> None:
    file = runtime_dir / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        with pytest.raises(UnusableFolder) as failure:
            control_socket(folder, 7)
        assert "\n" not in str(failure.value)


def test_what_cannot_be_replaced_is_one_line(runtime_dir: Path) -> None:
    (runtime_dir / "7.sock").mkdir()
    with pytest.raises(UnusableFolder, match=r"7\.sock"):
        control_socket(runtime_dir, 7)


def test_a_path_too_long_for_a_socket_is_refused(runtime_dir: Path) -> None:
    longest = runtime_dir / ("x" * (MAX_SOCKET_PATH - len(str(runtime_dir)) - len("//7.sock")))
    with _listening(longest, 7) as path:
        assert len(str(path)) == MAX_SOCKET_PATH
    with pytest.raises(UnusableFolder, match="too long"):
        control_socket(longest, 77)


def test_a_socket_left_by_a_dead_server_of_this_pid_is_replaced(runtime_dir: Path) -> None:
    control_socket(runtime_dir, 7).close()
    with _listening(runtime_dir, 7) as path, socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))


def test_running_servers_are_listed_oldest_first(runtime_dir: Path) -> None:
    with _listening(runtime_dir, 1) as one, _listening(runtime_dir, 2) as two:
        younger, older = _record(one, 1, 20.0), _record(two, 2, 10.0)
        with announced(younger), announced(older):
            assert running_servers(runtime_dir) == [older, younger]
            assert not list(runtime_dir.glob("*.tmp"))
        assert running_servers(runtime_dir) == []
        assert not list(runtime_dir.iterdir())


def test_the_generation_is_part_of_the_record(runtime_dir: Path) -> None:
    with _listening(runtime_dir, 2) as path:
        record = replace(_record(path, 2), generation=3)
        with announced(record):
            assert running_servers(runtime_dir) == [record]


def test_a_record_without_a_generation_is_of_the_first(runtime_dir: Path) -> None:
    with _listening(runtime_dir, 7) as path:
        (runtime_dir / "7.json").write_text(json.dumps(_as_json(path)))
        assert [record.generation for record in running_servers(runtime_dir)] == [1]


def test_of_servers_that_started_at_one_moment_the_newer_generation_comes_last(runtime_dir: Path) -> None:
    with _listening(runtime_dir, 1) as one, _listening(runtime_dir, 2) as two:
        newer, older = replace(_record(one, 1), generation=2), _record(two, 2)
        with announced(newer), announced(older):
            assert running_servers(runtime_dir) == [older, newer]


def test_without_a_folder_no_server_runs(runtime_dir: Path) -> None:
    assert running_servers(runtime_dir / "none") == []


def test_what_dead_servers_left_is_cleared_away(runtime_dir: Path) -> None:
    control_socket(runtime_dir, 7).close()
    (runtime_dir / "7.json").write_text(json.dumps(_as_json(runtime_dir / "7.sock")))
    assert running_servers(runtime_dir) == []
    assert not list(runtime_dir.iterdir())


@pytest.mark.parametrize("use", [running_servers, lambda folder: control_socket(folder, 8).close()])
def test_what_was_killed_before_it_was_announced_is_cleared_by_the_next_that_looks(
    runtime_dir: Path, use: Callable[[Path], object]
) -> None:
    control_socket(runtime_dir, 7).close()
    (runtime_dir / "9.tmp").write_text("{")
    (runtime_dir / "11.json").write_text("{")
    (runtime_dir / "notes.json").write_text("somebody's")
    with _listening(runtime_dir, 2) as path, announced(_record(path, 2)):
        use(runtime_dir)
        left = {path.name for path in runtime_dir.iterdir()} - {"8.sock"}
        assert left == {"2.sock", "2.json", "notes.json"}


def test_a_socket_is_not_taken_for_a_dead_one_s_from_the_first_moment_on(runtime_dir: Path) -> None:
    with control_socket(runtime_dir, 7):
        running_servers(runtime_dir)
        assert (runtime_dir / "7.sock").exists()


def test_clearing_away_touches_nothing_outside_the_folder(runtime_dir: Path) -> None:
    folder = runtime_dir / "run"
    folder.mkdir(mode=0o700)
    precious = runtime_dir / "precious"
    precious.write_text("kept")
    (folder / "7.json").write_text(json.dumps(_as_json(precious)))
    assert running_servers(folder) == []
    assert precious.read_text() == "kept"


def _as_json(control: Path) -> dict[str, object]:
    return {"pid": 7, "url": None, "uds": "/x", "control": str(control), "started": 1.0, "version": "0"}


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"pid": 1}', '{"unknown": 1}', "\udcff"])
def test_a_record_that_cannot_be_read_hides_no_other(runtime_dir: Path, text: str) -> None:
    (runtime_dir / "1.json").write_bytes(text.encode(errors="surrogateescape"))
    with _listening(runtime_dir, 2) as path, announced(_record(path, 2)):
        assert [record.pid for record in running_servers(runtime_dir)] == [2]


def test_a_server_too_busy_to_accept_is_not_taken_for_dead(runtime_dir: Path) -> None:
    with _listening(runtime_dir, 7, backlog=0) as path, announced(_record(path, 7)):
        waiting = []
        try:
            for _ in range(8):
                client = socket.socket(socket.AF_UNIX)
                waiting.append(client)
                client.setblocking(False)
                client.connect(str(path))
        except BlockingIOError:  # Linux; macOS says of a full queue what it says of a dead server
            assert [record.pid for record in running_servers(runtime_dir)] == [7]
            assert path.exists()
        finally:
            for client in waiting:
                client.close()


def test_a_record_without_a_parent_speaks_for_itself(runtime_dir: Path) -> None:
    with control_socket(runtime_dir, 1) as one, control_socket(runtime_dir, 2) as two:
        one.listen()
        two.listen()
        alone = _record(runtime_dir / "1.sock", 1)
        worker = replace(_record(runtime_dir / "2.sock", 2), parent=1)
        with announced(alone), announced(worker):
            path = runtime_dir / "1.json"
            path.write_text(
                json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k != "parent"})
            )
            assert [record.parent for record in running_servers(runtime_dir)] == [None, 1]


def test_a_process_is_found_from_its_announcement_to_its_end(tmp_path: Path) -> None:
    environ = {"WSCTL_RUNTIME_DIR": str(tmp_path / "run")}
    with Registration(environ, generation=2, parent=7) as registration:
        assert running_servers(runtime_folder(environ)) == []
        registration.announce("http://127.0.0.1:80")
        (found,) = running_servers(runtime_folder(environ))
        assert (found.pid, found.url, found.uds) == (os.getpid(), "http://127.0.0.1:80", None)
        assert (found.generation, found.parent) == (2, 7)
        assert registration.control
        registration.control.close()
    assert list(runtime_folder(environ).iterdir()) == []


def test_a_process_that_is_reached_at_a_path_is_found_at_it(tmp_path: Path) -> None:
    environ = {"WSCTL_RUNTIME_DIR": str(tmp_path)}
    tmp_path.chmod(0o700)
    with Registration(environ) as registration:
        registration.announce("unix:/run/wsctl.sock")
        (found,) = running_servers(tmp_path)
        assert (found.url, found.uds, found.parent) == (None, "/run/wsctl.sock", None)
        assert registration.control
        registration.control.close()


def test_one_that_is_never_announced_leaves_nothing(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with Registration({"WSCTL_RUNTIME_DIR": str(tmp_path)}) as registration:
        assert registration.control
        registration.control.close()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_used_is_logged_and_harms_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tmp_path.chmod(0o777)
    with Registration({"WSCTL_RUNTIME_DIR": str(tmp_path)}) as registration:
        registration.announce("http://127.0.0.1:80")
        assert registration.control is None
    assert "no control socket: the commands will not find this server" in caplog.text
