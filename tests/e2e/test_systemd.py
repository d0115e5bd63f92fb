"""A server under systemd: it says when it serves, how its drain goes, and that it lives."""

import asyncio
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect, unix_connect

from tests.conftest import StartServer
from tests.support.clients import join, receive, receive_type
from tests.support.generations import Generations
from tests.support.server import DEADLINE, ServerProcess
from tests.support.supervisor import Supervisor

pytestmark = pytest.mark.anyio

WATCHED = (
    sys.executable,
    "-c",
    "import os, sys; os.environ['WATCHDOG_PID'] = str(os.getpid()); "
    "os.execv(sys.executable, [sys.executable, '-m', 'wsctl', 'serve', '--port', '0'])",
)
"""A server whose watchdog is meant for it: the pid is known only in the process itself."""

INTERVAL = 1.0
"""Seconds of the watchdog; a beat comes each half of it."""


@pytest.fixture
def supervisor(runtime_dir: Path) -> Iterator[Supervisor]:
    with Supervisor(str(runtime_dir / "notify")) as found:
        yield found


async def test_a_drain_under_systemd(start_server: StartServer, supervisor: Supervisor) -> None:
    server = start_server(env=supervisor.environ)
    assert supervisor.hear() == ["READY=1", "STATUS=serving"]
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    assert supervisor.heard() == []
    server.signal()
    await receive_type(bob, "shutdown")
    stopping, status, extend = supervisor.hear()
    assert stopping == "STOPPING=1"
    assert status == "STATUS=draining: 2 of 2 clients connected, 0:30:00 remaining"
    assert extend == "EXTEND_TIMEOUT_USEC=30000000"
    await bob.close()
    status, extend = await asyncio.to_thread(supervisor.hear)
    assert re.match(r"STATUS=draining: 1 of 2 clients connected, 0:29:5\d remaining", status)
    assert extend == "EXTEND_TIMEOUT_USEC=30000000"
    await eve.close()
    assert await asyncio.to_thread(server.wait) == 0
    assert supervisor.heard()[-1][0] == "STATUS=stopped: 2 clients left, 0 closed by force"


async def test_a_drain_by_request_is_a_stop_only_once_it_cannot_be_cancelled(
    start_server: StartServer, supervisor: Supervisor
) -> None:
    server = start_server(env=supervisor.environ)
    bob = await join(server.ws_url, "bob")
    supervisor.hear_one("READY=1")
    assert server.api("POST", "/api/drain", {})[0] == 200
    assert supervisor.hear() == ["STATUS=draining: 1 of 1 clients connected, 0:30:00 remaining"]
    assert server.api("DELETE", "/api/drain")[0] == 200
    assert supervisor.hear() == ["READY=1", "STATUS=serving"]
    server.signal()
    assert supervisor.hear()[0] == "STOPPING=1"
    await bob.close()
    assert await asyncio.to_thread(server.wait) == 0


def _watched(start_server: StartServer, supervisor: Supervisor) -> ServerProcess:
    usec = f"{INTERVAL * 1e6:.0f}"
    return start_server(command=WATCHED, env=supervisor.environ | {"WATCHDOG_USEC": usec})


def test_a_watchdog_finds_a_server_that_hangs(start_server: StartServer, supervisor: Supervisor) -> None:
    server = _watched(start_server, supervisor)
    assert supervisor.hear()[0] == "READY=1"
    began = time.monotonic()
    for _ in range(5):
        assert supervisor.hear() == ["WATCHDOG=1"]
    assert time.monotonic() - began > INTERVAL  # two, and whatever is late
    server.signal(signal.SIGSTOP)
    os.waitid(os.P_PID, server.pid, os.WSTOPPED)
    supervisor.heard()
    with pytest.raises(TimeoutError):
        supervisor.hear(INTERVAL)
    server.signal(signal.SIGCONT)
    assert supervisor.hear() == ["WATCHDOG=1"]


async def test_a_server_that_drains_still_beats(start_server: StartServer, supervisor: Supervisor) -> None:
    server = _watched(start_server, supervisor)
    async with await join(server.ws_url, "bob"):
        server.signal()
        supervisor.hear_one("STOPPING=1")
        for _ in range(2):
            await asyncio.to_thread(supervisor.hear_one, "WATCHDOG=1")
    assert await asyncio.to_thread(server.wait) == 0


def test_another_process_s_watchdog_is_not_answered(
    start_server: StartServer, supervisor: Supervisor
) -> None:
    watchdog = {"WATCHDOG_USEC": "100000", "WATCHDOG_PID": str(os.getpid())}
    server = start_server(env=supervisor.environ | watchdog)
    assert server.stop() == 0
    assert ["WATCHDOG=1"] not in supervisor.heard()


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux's")
def test_an_abstract_socket_is_told_too(start_server: StartServer, runtime_dir: Path) -> None:
    with Supervisor(f"@{runtime_dir}") as abstract:
        server = start_server(env=abstract.environ)
        assert abstract.hear() == ["READY=1", "STATUS=serving"]
        assert server.stop() == 0
        assert abstract.hear()[0] == "STOPPING=1"


def test_a_socket_that_is_not_there_hinders_nothing(start_server: StartServer, runtime_dir: Path) -> None:
    server = start_server("--log-level", "debug", env={"NOTIFY_SOCKET": str(runtime_dir / "gone")})
    server.wait_for_line("DEBUG systemd does not hear")
    assert server.http("GET", "/health/ready")[0] == 200
    assert server.stop() == 0
    assert server.complaints == []


def test_a_handover_is_a_reload_and_the_successor_is_watched_from_then_on(
    start_server: StartServer, supervisor: Supervisor
) -> None:
    server = Generations(_watched(start_server, supervisor))
    try:
        supervisor.hear_one("READY=1")
        upgrade = server.begin_upgrade()
        # Listen while it goes on: few datagrams fit into a socket, and beats alone would fill it.
        supervisor.hear_one("RELOADING=1")
        main, *_, beat = supervisor.hear_one("MAINPID=")
        successor = upgrade.outcome()["successor"]
        assert (main, beat) == (f"MAINPID={successor}", "WATCHDOG=1")
        server.wait_until_serving(successor)
        assert server.first.process.wait(DEADLINE) == 0  # its log goes on in the successor
        supervisor.heard()
        for _ in range(3):
            supervisor.hear_one("WATCHDOG=1")
        os.kill(successor, signal.SIGTERM)
        supervisor.hear_one("STOPPING=1")
        server.wait_gone(successor)
    finally:
        server.kill()


ACTIVATED = (
    sys.executable,
    "-c",
    "import os, sys; given = [os.dup2(int(fd), 50 + n) for n, fd in enumerate(sys.argv[1:])]; "
    "[os.dup2(fd, 3 + n) for n, fd in enumerate(given)]; "
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given))); "
    "os.execv(sys.executable, [sys.executable, '-m', 'wsctl', 'serve'])",
)
"""A server that finds the sockets with these numbers as systemd passes them."""


async def test_sockets_that_systemd_made_are_all_served_and_left_to_it(
    start_server: StartServer, runtime_dir: Path
) -> None:
    path = str(runtime_dir / "public")
    with socket.create_server(("127.0.0.1", 0)) as port, socket.socket(socket.AF_UNIX) as unix:
        unix.bind(path)
        unix.listen()
        # A client that comes before the server waits for it.
        early = socket.create_connection(port.getsockname())
        fds = (port.fileno(), unix.fileno())
        command = (*ACTIVATED, *map(str, fds))
        server = start_server(command=command, pass_fds=fds, env={"LISTEN_FDNAMES": "public:unix"})
        server.wait_for_line(f"url=unix:{re.escape(path)}")
        server.wait_for_line(f"url=http://127.0.0.1:{port.getsockname()[1]}$")
        async with (
            connect(f"{server.ws_url}/ws/bob", sock=early) as bob,
            unix_connect(path, "ws://x/ws/eve") as eve,
        ):
            for client in (bob, eve):
                assert (await receive(client))["type"] == "welcome"
        assert await asyncio.to_thread(server.stop) == 0
        socket.create_connection(port.getsockname()).close()
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(path)
