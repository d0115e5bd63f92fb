"""Which server a command means."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.processes import popen
from wsctl.client.target import (
    Target,
    client_id_in,
    find_all_targets,
    find_each_target,
    find_target,
    is_stopped,
)
from wsctl.errors import Unreachable, UsageError
from wsctl.process.registry import ServerRecord, announced, control_socket

Announce = Callable[..., str]


@pytest.fixture
def announce(runtime_dir: Path) -> Iterator[Announce]:
    """Announce a server that listens on its control socket only; returns that socket's path."""
    with ExitStack() as stack:

        def one(pid: int, url: str | None, uds: str | None = None, **more: int) -> str:
            sock = stack.enter_context(control_socket(runtime_dir, pid))
            sock.listen()
            path = str(sock.getsockname())
            record = ServerRecord(pid, url, uds, path, float(pid), **more)
            stack.enter_context(announced(record))
            return path

        yield one


def test_the_only_server_of_this_machine_needs_no_address(
    announce: Announce, environ: dict[str, str]
) -> None:
    control = announce(1, "http://127.0.0.1:8001")
    assert find_target(None, None, environ) == Target("http://127.0.0.1:8001", None, control, None)


def test_a_server_on_a_unix_socket_is_called_by_its_path(announce: Announce, environ: dict[str, str]) -> None:
    announce(1, None, "/run/ws.sock")
    assert find_target(None, None, environ).name == "unix:/run/ws.sock"


def test_the_port_chooses_one_of_several(announce: Announce, environ: dict[str, str]) -> None:
    announce(1, "http://127.0.0.1:8001")
    second = announce(2, "http://127.0.0.1:8002/root")
    assert find_target(None, 8002, environ).control == second


def test_several_servers_without_a_choice_are_listed(announce: Announce, environ: dict[str, str]) -> None:
    announce(2, "http://127.0.0.1:8002")
    announce(1, "http://127.0.0.1:8001")
    with pytest.raises(UsageError) as error:
        find_target(None, None, environ)
    assert "2 servers run here" in str(error.value)
    assert "http://127.0.0.1:8001 pid 1, http://127.0.0.1:8002 pid 2" in str(error.value)
    assert "--port" in str(error.value)


def test_all_servers_are_found_the_oldest_first(announce: Announce, environ: dict[str, str]) -> None:
    announce(2, "http://127.0.0.1:8002")
    announce(1, "http://127.0.0.1:8001")
    assert [t.url for t in find_all_targets(None, None, environ)] == [
        "http://127.0.0.1:8001",
        "http://127.0.0.1:8002",
    ]
    assert [t.url for t in find_all_targets(None, 8002, environ)] == ["http://127.0.0.1:8002"]
    assert [t.url for t in find_all_targets("http://there", None, environ)] == ["http://there"]


@pytest.mark.parametrize("place", [{"url": "http://127.0.0.1:8001"}, {"url": None, "uds": "/run/ws.sock"}])
@pytest.mark.parametrize("generations", [(1, 2, 3), (1, 1), (2, 1)])
def test_of_one_address_the_process_that_started_last_is_the_server(
    announce: Announce, environ: dict[str, str], place: dict[str, str], generations: tuple[int, ...]
) -> None:
    # Also when an old process still drains where a first one was started since.
    controls = [announce(pid, generation=n, **place) for pid, n in enumerate(generations, start=1)]
    found = find_target(None, None, environ)
    assert (found.control, found.generation) == (controls[-1], generations[-1])


def test_generations_do_not_make_one_address_of_two(announce: Announce, environ: dict[str, str]) -> None:
    for pid, (port, generation) in enumerate([(8001, 1), (8002, 1), (8001, 2)], start=1):
        announce(pid, f"http://127.0.0.1:{port}", generation=generation)
    with pytest.raises(UsageError, match="2 servers run here") as error:
        find_target(None, None, environ)
    assert "pid 3" in str(error.value)
    assert "pid 1" not in str(error.value)


def test_all_generations_are_found_the_oldest_first(announce: Announce, environ: dict[str, str]) -> None:
    for generation in (1, 2):
        announce(generation, "http://127.0.0.1:8001", generation=generation)
    older, newer = find_all_targets(None, None, environ)
    assert (older.generation, newer.generation) == (1, 2)
    assert older.precedes(newer)
    assert not newer.precedes(older)
    assert not older.precedes(Target("http://127.0.0.1:8002", generation=2))


def test_a_port_that_nobody_has_is_answered_with_those_that_run(
    announce: Announce, environ: dict[str, str]
) -> None:
    announce(1, "http://127.0.0.1:8001")
    with pytest.raises(Unreachable, match=r"no server on port 9: .*http://127\.0\.0\.1:8001 pid 1"):
        find_target(None, 9, environ)


def test_no_server_is_answered_with_how_to_start_one(environ: dict[str, str]) -> None:
    with pytest.raises(Unreachable, match=r"no server runs here: start one with 'wsctl serve'"):
        find_target(None, None, environ)
    with pytest.raises(Unreachable, match=r"no server runs here on port 9"):
        find_all_targets(None, 9, environ)


def test_how_to_reach_a_server_under_plain_uvicorn_is_told(
    announce: Announce, environ: dict[str, str]
) -> None:
    with pytest.raises(Unreachable, match=r"plain uvicorn: --url http://127\.0\.0\.1:8000"):
        find_target(None, None, environ)
    announce(1, "http://127.0.0.1:8001")
    with pytest.raises(Unreachable, match=r"plain uvicorn: --url http://127\.0\.0\.1:9"):
        find_target(None, 9, environ)


def test_what_a_killed_server_left_is_cleared_away(runtime_dir: Path, environ: dict[str, str]) -> None:
    left = runtime_dir / "7.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(left))
    record = announced(ServerRecord(7, "http://127.0.0.1:8007", None, str(left), 7.0))
    record.__enter__()
    with pytest.raises(Unreachable):
        find_target(None, None, environ)
    assert list(runtime_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("http://host:8000", "http://host:8000"),
        ("https://host/", "https://host"),
        ("ws://host/below/", "http://host/below"),
        ("wss://[::1]:8443", "https://[::1]:8443"),
        ("HTTP://host", "http://host"),
        ("http://host/b\u00fccher", "http://host/b%C3%BCcher"),
        ("ws://host:8000/ws/bob", "http://host:8000"),
        ("wss://host/below/ws/b%C3%BC", "https://host/below"),
        ("http://host/ws/app/", "http://host/ws/app"),
        ("http://host/ws", "http://host/ws"),
    ],
)
def test_an_address_is_brought_into_one_form(given: str, url: str, environ: dict[str, str]) -> None:
    assert find_target(given, None, environ | {"WSCTL_TOKEN": "t"}) == Target(url, token="t")


@pytest.mark.parametrize(
    "given",
    [
        "host:8000",
        "ftp://host",
        "http://",
        "http://:80",
        "http://host:0",
        "http://host:99999",
        "http://host:port",
        "http://[::1",
        "http://ho st",
        "http://ho\nst",
        "http://host/\x1b[2J",
        "http://a..b",
        "http://" + "x" * 64,
        "",
    ],
)
def test_what_is_no_address_is_refused_with_the_form_of_one(given: str, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"is not an address: write http://HOST:PORT") as error:
        find_target(given, None, environ)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("given", ["http://host?x=secret", "http://host/#x", "ws://host/ws/bob?since=1-0"])
def test_of_an_address_with_a_query_it_is_said_what_to_leave_out(given: str, environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match=r"leave out what begins with \? or #") as error:
        find_target(given, None, environ)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("ws://host/ws/bob", "bob"),
        ("ws://host/below/ws/b%C3%BC", "b\u00fc"),
        ("ws://host/ws/bob/", None),
        ("ws://host/ws/", None),
        ("ws://host/", None),
        ("", None),
    ],
)
def test_the_address_of_a_client_names_it(url: str, name: str | None) -> None:
    assert client_id_in(url) == name


def test_a_password_in_an_address_is_refused_and_not_repeated(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="takes no user or password") as error:
        find_target("http://bob:secret@host", None, environ)
    assert "secret" not in str(error.value)


def test_a_port_beats_the_url_of_the_environment(announce: Announce, environ: dict[str, str]) -> None:
    control = announce(1, "http://127.0.0.1:8001")
    environ["WSCTL_URL"] = "http://there"
    assert find_target("http://there", 8001, environ).control == control


def test_an_address_and_a_port_are_one_choice_too_many(environ: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="give one of them"):
        find_target("http://there", 8001, environ)


@pytest.mark.parametrize(
    ("target", "url"),
    [
        (Target("http://host:8000"), "ws://host:8000/ws/bob"),
        (Target("https://host/below"), "wss://host/below/ws/bob"),
        (Target(None, "/run/ws.sock"), "ws://localhost/ws/bob"),
    ],
)
def test_the_websocket_url_follows_the_address(target: Target, url: str) -> None:
    assert target.websocket("bob") == url


def test_a_client_id_is_escaped_in_the_websocket_url() -> None:
    assert Target("http://h").websocket("b\u00fc.b@x:+~-_") == "ws://h/ws/b%C3%BC.b@x:+~-_"


def test_several_urls_are_several_servers_and_one_twice_is_one(environ: dict[str, str]) -> None:
    urls = ["http://a", "ws://b:8000/", "http://a"]
    found = find_each_target(urls, None, environ | {"WSCTL_TOKEN": "secret"})
    assert found == [Target("http://a", token="secret"), Target("http://b:8000", token="secret")]


def test_without_urls_the_server_of_this_machine_is_meant(
    announce: Announce, environ: dict[str, str]
) -> None:
    control = announce(1, "http://127.0.0.1:8001")
    assert [target.control for target in find_each_target((), None, environ)] == [control]
    for urls in (["http://a"], ["http://a", "http://b"]):
        variable = environ | {"WSCTL_URL": " ".join(urls)}
        assert [target.control for target in find_each_target(urls, 8001, variable)] == [control]
        with pytest.raises(UsageError, match="both choose a server"):
            find_each_target(urls, 8001, environ)


def test_of_workers_their_parent_is_meant_and_status_tells_of_each(
    announce: Announce, environ: dict[str, str]
) -> None:
    parent = announce(1, "http://127.0.0.1:8001")
    one = announce(2, "http://127.0.0.1:8001", parent=1)
    other = announce(3, "http://127.0.0.1:8001", parent=1)
    assert find_target(None, None, environ).control == parent
    assert [target.control for target in find_all_targets(None, None, environ)] == [one, other]


def test_workers_whose_parent_is_gone_speak_for_themselves(
    announce: Announce, environ: dict[str, str]
) -> None:
    announce(2, "http://127.0.0.1:8001", parent=1)
    newest = announce(3, "http://127.0.0.1:8001", parent=1)
    assert find_target(None, None, environ).control == newest


def test_a_parent_without_workers_is_told_of_itself(announce: Announce, environ: dict[str, str]) -> None:
    parent = announce(1, "http://127.0.0.1:8001")
    assert [target.control for target in find_all_targets(None, None, environ)] == [parent]


# Stopped processes


@pytest.mark.parametrize("proc", [Path("/proc"), Path("/nowhere")], ids=["/proc", "ps"])
def test_a_process_is_stopped_from_the_signal_to_the_next(proc: Path) -> None:
    with popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not is_stopped(process.pid, proc)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert is_stopped(process.pid, proc)
        process.send_signal(signal.SIGCONT)
        assert not is_stopped(process.pid, proc)
        process.kill()
    assert not is_stopped(process.pid, proc)
