"""Where a server listens, and every way in which it cannot."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.server import DEADLINE
from wsctl.errors import CannotStart
from wsctl.server.listening.sockets import address, listeners
from wsctl.settings import Settings

Listen = Callable[..., list[socket.socket]]


@pytest.fixture
def listen() -> Iterator[Listen]:
    """Listeners for some settings, closed at the end."""
    with ExitStack() as stack:

        def bind(environ: dict[str, str] | None = None, **settings: object) -> list[socket.socket]:
            found = listeners(Settings(**settings), environ or {})  # type: ignore[arg-type]
            return [stack.enter_context(sock) for sock in found]

        yield bind


def _why_not(listen: Listen, **settings: object) -> str:
    with pytest.raises(CannotStart) as failure:
        listen(**settings)
    assert "\n" not in str(failure.value)
    assert failure.value.exit_code == 3
    return str(failure.value)


def test_port_zero_is_one_the_kernel_picks(listen: Listen) -> None:
    (sock,) = listen(port=0)
    host, port = sock.getsockname()
    assert (host, port > 0) == ("127.0.0.1", True)
    assert address(sock, tls=False) == f"http://127.0.0.1:{port}"
    assert address(sock, tls=True) == f"https://127.0.0.1:{port}"


def test_a_host_with_several_addresses_has_one_port(listen: Listen) -> None:
    bound = listen(host="", port=0)
    assert len({sock.getsockname()[1] for sock in bound}) == 1
    assert len({sock.family for sock in bound}) == len(bound)


def test_an_ipv6_address_is_written_in_brackets(listen: Listen) -> None:
    (sock,) = listen(host="::1", port=0)
    assert address(sock, tls=False) == f"http://[::1]:{sock.getsockname()[1]}"


def test_a_taken_port_is_one_line_that_names_it(listen: Listen) -> None:
    (taken,) = listen(port=0)
    taken.listen()
    port = taken.getsockname()[1]
    why = _why_not(listen, port=port)
    assert f"cannot listen on 127.0.0.1 port {port}" in why
    assert "--port 0" in why


def test_an_address_of_another_machine_is_not_answered_with_another_port(listen: Listen) -> None:
    why = _why_not(listen, host="192.0.2.1", port=0)
    assert "--host names an address of this machine" in why
    assert "--port 0" not in why


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a b", "\x00", "x" * 300])
def test_a_host_that_is_not_here_is_one_line(listen: Listen, host: str) -> None:
    assert _why_not(listen, host=host, port=0)


def test_a_socket_handed_over_is_listened_on_as_it_is(listen: Listen) -> None:
    with socket.create_server(("127.0.0.1", 0)) as given:
        (sock,) = listen(fd=os.dup(given.fileno()))
        assert sock.getsockname() == given.getsockname()
        assert (sock.family, sock.proto) == (socket.AF_INET, socket.IPPROTO_TCP)
        assert not sock.get_inheritable()


@pytest.mark.parametrize("number", [10**5, 10**12, 10**30])
def test_a_number_that_is_no_descriptor_is_one_line(listen: Listen, number: int) -> None:
    assert f"descriptor {number} is not a socket to listen on" in _why_not(listen, fd=number)


def test_a_file_a_datagram_socket_and_a_connected_one_are_no_listeners(listen: Listen) -> None:
    with open(os.devnull) as file:
        assert _why_not(listen, fd=file.fileno())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagram:
        assert _why_not(listen, fd=datagram.fileno())
        datagram.getsockname()
    one, other = socket.socketpair()
    with one, other:
        assert "connected" in _why_not(listen, fd=one.fileno())
        one.send(b"still open")


PROGRAM = """
import os, socket, sys
from wsctl.server.listening.sockets import listeners
from wsctl.settings import Settings
given = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
ports = [sock.getsockname()[1] for sock in given]
copies = [os.dup(sock.fileno()) for sock in given]
for n, fd in enumerate(copies):
    os.dup2(fd, 50 + n)
for n in range(2):
    os.dup2(50 + n, 3 + n)
pid = os.getpid() + int(sys.argv[1])
passed = listeners(Settings(port=0), {"LISTEN_PID": str(pid), "LISTEN_FDS": sys.argv[2]})
print([sock.getsockname()[1] for sock in passed] == ports[: len(passed)], len(passed))
os._exit(0 if sys.stdout.flush() is None else 1)
"""


@pytest.mark.parametrize(
    ("other_pid", "count", "wanted"),
    [(0, "2", "True 2"), (0, "1", "True 1"), (1, "2", "False 1"), (0, "0", "False 1"), (0, "", "False 1")],
)
def test_sockets_of_systemd_are_taken_when_they_are_for_this_process(
    other_pid: int, count: str, wanted: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(other_pid), count],
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.stdout.strip() == wanted, done.stderr


def test_a_unix_socket_is_bound_and_named(listen: Listen, runtime_dir: Path) -> None:
    (sock,) = listen(uds=str(runtime_dir / "x"))
    assert address(sock, tls=False) == f"unix:{runtime_dir / 'x'}"


def test_a_unix_socket_left_by_a_dead_server_is_replaced(listen: Listen, runtime_dir: Path) -> None:
    path = str(runtime_dir / "x")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    (sock,) = listen(uds=path)
    sock.listen()
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)


def test_a_unix_socket_in_use_is_left_alone(listen: Listen, runtime_dir: Path) -> None:
    path = str(runtime_dir / "x")
    (used,) = listen(uds=path)
    used.listen()
    assert path in _why_not(listen, uds=path)
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)


def test_a_unix_socket_whose_server_is_too_busy_is_left_alone(listen: Listen, runtime_dir: Path) -> None:
    path = str(runtime_dir / "x")
    (used,) = listen(uds=path)
    used.listen(0)
    with ExitStack() as stack:
        for _ in range(2):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(path)
        assert path in _why_not(listen, uds=path)
    assert Path(path).is_socket()


def test_a_file_in_the_way_is_not_deleted(listen: Listen, runtime_dir: Path) -> None:
    file = runtime_dir / "file"
    file.write_text("precious")
    link = runtime_dir / "link"
    link.symlink_to(runtime_dir / "nowhere")
    for path in (file, link, runtime_dir):
        assert str(path) in _why_not(listen, uds=str(path))
    assert file.read_text() == "precious"
    assert link.is_symlink()


@pytest.mark.parametrize("name", ["x" * 200, "no/such/folder/x"])
def test_a_path_no_socket_can_have_is_one_line(listen: Listen, runtime_dir: Path, name: str) -> None:
    assert _why_not(listen, uds=str(runtime_dir / name))
