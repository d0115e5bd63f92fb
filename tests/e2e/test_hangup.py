"""The window of a terminal is closed in which a server runs, or its connection is lost."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.e2e.ways import ALL, Way, embedded
from tests.support.clients import closed, join, receive_type
from tests.support.processes import popen
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.terminal import Terminal
from wsctl.codes import ExitCode

pytestmark = pytest.mark.anyio

Open = Callable[..., Terminal]


@pytest.fixture
def terminal(environ: dict[str, str]) -> Iterator[Open]:
    with ExitStack() as stack:

        def start(*flags: str, env: dict[str, str] | None = None) -> Terminal:
            made = Terminal([*WSCTL, "serve", "--port", "0", *flags], environ | (env or {}))
            stack.callback(made.close)
            return made

        yield start


@pytest.mark.parametrize("way", ALL, ids=lambda way: way.__name__)
async def test_sighup_drains_as_sigterm_does(start_server: StartServer, way: Way) -> None:
    server = way(start_server)
    bob = await join(server.ws_url, "bob")
    server.signal(signal.SIGHUP)
    assert (await receive_type(bob, "shutdown"))["reason"] == "SIGHUP"
    assert server.http("GET", "/health/ready")[0] == 503
    await bob.close()
    assert await asyncio.to_thread(server.wait) == (-signal.SIGTERM if way is embedded else 0)


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("term", ["xterm-256color", "dumb"], ids=["with a bar", "without"])
async def test_a_closed_window_drains_and_what_nobody_reads_harms_nothing(
    terminal: Open, runtime_dir: Path, flags: tuple[str, ...], term: str
) -> None:
    server = terminal(*flags, env={"TERM": term})
    found = re.search(r"serving url=http(://[^\s]+)", server.wait_for("serving url="))
    assert found
    url = "ws" + found[1]
    bob, eve = await join(url, "bob"), await join(url, "eve")
    server.hang_up()
    assert (await receive_type(bob, "shutdown"))["reason"] == "SIGHUP"
    await receive_type(eve, "shutdown")
    await bob.send("still here")
    assert (await receive_type(bob, "message"))["data"] == "still here"
    await bob.close()
    await eve.close()
    assert await asyncio.to_thread(server.process.wait, DEADLINE) == 0
    assert await asyncio.to_thread(os.listdir, runtime_dir) == []


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_one_whose_address_nobody_reads_serves_and_ends_as_any_other(
    start_server: StartServer, flags: tuple[str, ...]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)  # as a window that is closed in the moment before the address is printed
    server = start_server(*flags, stdout=writing)
    os.close(writing)
    bob = await join(server.ws_url, "bob")
    server.signal()
    await receive_type(bob, "shutdown")
    await bob.close()
    assert await asyncio.to_thread(server.wait) == 0


def test_an_error_that_nobody_reads_keeps_its_exit_code(environ: dict[str, str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [*WSCTL, "broadcast", "hello", "--url", "http://127.0.0.1:1"]
    process = popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=writing, stderr=writing)
    os.close(writing)
    assert process.wait(DEADLINE) == ExitCode.UNREACHABLE


async def test_a_drain_that_runs_goes_on_when_the_window_is_closed(
    terminal: Open, environ: dict[str, str]
) -> None:
    server = terminal()
    found = re.search(r"serving url=http(://[^\s]+)", server.wait_for("serving url="))
    assert found
    bob = await join("ws" + found[1], "bob")
    server.type("\x03")
    server.wait_for("1 of 1 connected")
    server.hang_up()
    # Whoever draws a bar that nobody sees must not stop at it: the deadline still comes.
    await asyncio.to_thread(wsctl, "drain", "--timeout", "1", "--no-wait", environ=environ)
    assert (await closed(bob))[0] == 1012
    assert await asyncio.to_thread(server.process.wait, DEADLINE) == 4


async def test_who_asked_not_to_be_hung_up_is_not(start_server: StartServer) -> None:
    server = start_server(command=("nohup", *WSCTL, "serve", "--port", "0"))
    server.signal(signal.SIGHUP)
    bob = await join(server.ws_url, "bob")
    server.signal()
    assert (await receive_type(bob, "shutdown"))["reason"] == "SIGTERM"
    await bob.close()
    assert await asyncio.to_thread(server.wait) == 0
