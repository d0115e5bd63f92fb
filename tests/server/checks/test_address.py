"""Places where a server could listen, and where the commands find it."""

import errno
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from wsctl.process.registry import ServerRecord
from wsctl.server.checks.address import (
    check_address,
    check_admin_address,
    check_runtime_folder,
    explain_unbindable,
    first_unprivileged_port,
)
from wsctl.server.diagnostics.finding import Finding, error, ok, warning
from wsctl.server.listening.sockets import OWN_SERVER_CURE, CannotBind
from wsctl.settings import Settings


def look(*running: ServerRecord, **settings: object) -> Finding:
    return check_address(Settings(**settings), {}, running)  # type: ignore[arg-type]


def record(port: int, uds: str | None = None) -> ServerRecord:
    return ServerRecord(7, None if uds else f"http://127.0.0.1:{port}", uds, "/x.sock", 0.0)


def test_a_free_port_is_free_afterwards_too() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert look(port=port).text == f"http://127.0.0.1:{port} is free"
    socket.create_server(("127.0.0.1", port)).close()


def test_a_taken_port_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = look(record(1), port=port)
        assert found.level == "error"
        assert f"port {port}: Address already in use" in found.text
        assert f"sport = :{port}" in (found.fix or "")


def test_a_port_that_a_server_of_ours_has_is_told_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        found = look(record(1), record(port), port=port)
    assert (found.level, found.text) == ("warning", f"your own server has it: http://127.0.0.1:{port}, pid 7")
    assert "wsctl upgrade" in (found.fix or "")


def test_the_admin_address_is_looked_at_where_there_is_one() -> None:
    assert check_admin_address(Settings(), []) is None
    free = check_admin_address(Settings(admin_port=0), [])
    assert free == ok("admin address", "127.0.0.1 is here; health and metrics are open to this machine alone")
    wide = check_admin_address(Settings(admin_port=0, admin_host="0.0.0.0"), [])
    assert wide
    assert wide.text.endswith("open to other machines")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings, at = Settings(admin_port=port), f"http://127.0.0.1:{port}"
        foreign = check_admin_address(settings, [record(port)])
        ours = check_admin_address(settings, [replace(record(1), admin=at)])
    assert foreign == error(
        "admin address",
        f"cannot listen on 127.0.0.1 port {port}: Address already in use",
        "--admin-port 0 picks a free one",
    )
    assert ours == warning("admin address", f"your own server has it: {at}, pid 7", OWN_SERVER_CURE)


def test_a_port_of_the_system_s_is_told_with_the_ways_to_it() -> None:
    found = explain_unbindable(Settings(port=80), CannotBind("cannot; x", errno.EACCES), None)
    assert found.level == "error"
    assert f"below {first_unprivileged_port()}" in found.text
    assert "CAP_NET_BIND_SERVICE" in (found.fix or "")


def test_where_the_system_s_ports_end_is_the_kernel_s_word(tmp_path: Path) -> None:
    assert first_unprivileged_port(tmp_path) == 1024
    path = tmp_path / "sys/net/ipv4/ip_unprivileged_port_start"
    path.parent.mkdir(parents=True)
    path.write_text("80\n")
    assert first_unprivileged_port(tmp_path) == 80


@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid"])
def test_an_address_that_is_not_here_is_an_error(host: str) -> None:
    found = look(host=host, port=0)
    assert found.level == "error"
    assert found.fix


def test_a_port_that_the_kernel_picks_is_none_yet() -> None:
    assert look(port=0).text == "127.0.0.1 is here; the kernel picks a port"


def test_a_passed_socket_is_looked_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        port = given.getsockname()[1]
        fd = os.dup(given.fileno())
        assert look(fd=fd).text == f"http://127.0.0.1:{port} was passed as descriptor {fd}"
        socket.create_connection(("127.0.0.1", port)).close()
    assert look(fd=99).level == "error"


def test_a_path_for_a_socket_is_looked_at_and_left_as_it_is(runtime_dir: Path) -> None:
    path = runtime_dir / "s"
    assert look(uds=str(path)).text == f"{path} is free"
    assert list(runtime_dir.iterdir()) == []
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        assert "left by a server that is gone" in look(uds=str(path)).text
        sock.listen()
        assert look(uds=str(path)).level == "error"
        assert look(record(0, str(path)), uds=str(path)).text.startswith("your own server has it")
    assert path.is_socket()


def test_a_path_that_no_socket_can_have_is_an_error(runtime_dir: Path) -> None:
    (runtime_dir / "file").touch()
    for name in ("file", "file/s", "none/s", "x" * 120):
        assert look(uds=str(runtime_dir / name)).level == "error", name
    assert [path.name for path in runtime_dir.iterdir()] == ["file"]


def test_a_folder_that_can_be_made_will_do_and_is_not_made(runtime_dir: Path) -> None:
    assert check_runtime_folder(runtime_dir).level == "ok"
    assert check_runtime_folder(runtime_dir / "new" / "deeper").level == "ok"
    assert not (runtime_dir / "new").exists()


def test_a_folder_that_others_can_write_to_will_not(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o777)
    found = check_runtime_folder(runtime_dir)
    assert found.level == "warning"
    assert "WSCTL_RUNTIME_DIR" in (found.fix or "")


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 100, "x" * 300])
def test_what_is_no_folder_or_too_long_will_not(runtime_dir: Path, name: str) -> None:
    (runtime_dir / "file").touch()
    assert check_runtime_folder(runtime_dir / name).level == "warning"
