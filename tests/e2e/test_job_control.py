"""Ctrl-Z, fg and signals, in a shell on a terminal."""

import asyncio
import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from anyio import to_thread

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.terminal import Terminal
from wsctl.client.target import is_stopped

pytestmark = pytest.mark.anyio

Shell = Callable[[], Terminal]

WORKERS = 2

WSCTL_WORDS = " ".join(WSCTL)
SHOWN, HIDDEN = b"\x1b[?25h", b"\x1b[?25l"


@pytest.fixture
def shell(environ: dict[str, str]) -> Iterator[Shell]:
    """bash with job control, which says `ready>` and the last exit code."""
    with ExitStack() as stack:

        def start() -> Terminal:
            env = environ | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1", "PS1": "$? ready> "}
            made = Terminal(["bash", "--norc", "--noprofile", "-i"], env)
            stack.callback(made.close)
            made.wait_for("ready>")
            return made

        yield start


def last_line(text: str) -> str:
    return (text.splitlines() or [""])[-1]


def stopped(terminal: Terminal) -> None:
    """Wait until the job is, and the shell asks for more: on a whole terminal."""
    terminal.wait_for("Stopped")
    terminal.wait_for(lambda text: last_line(text).startswith("148 ready>"))
    assert_whole(terminal)


def assert_whole(terminal: Terminal) -> None:
    """The cursor can be seen, and what is typed is shown and taken line by line."""
    assert terminal.raw.rfind(SHOWN) >= terminal.raw.rfind(HIDDEN)
    terminal.type("stty -a | grep -o ' -*icanon\\| -*echo ' | tr -d '\\n'; echo .\r")
    terminal.wait_for(lambda text: bool(re.search(r"^ icanon echo +\.$", text, re.MULTILINE)))


async def test_ctrl_z_suspends_the_client_and_nothing_of_it_is_sent(
    start_server: StartServer, shell: Shell
) -> None:
    server = start_server()
    eve = await join(server.ws_url, "eve")
    terminal = shell()
    terminal.type(f"{WSCTL_WORDS} client --id bob\r")
    terminal.wait_for("connected as bob")
    terminal.type("half\x1a")
    stopped(terminal)
    terminal.type("fg\r")
    terminal.wait_for(lambda text: last_line(text) == "bob> half")
    terminal.type(" a line\r")
    terminal.wait_for("bob: half a line")
    assert (await receive_type(eve, "message"))["data"] == "half a line"
    # Control characters are shown, and sent as they are shown.
    terminal.type("\x1b[200~bell\x07 and \x1b[31mred\x1b[201~")
    terminal.wait_for("bob> bell^G and ^[[31mred")
    terminal.type("\r")
    assert (await receive_type(eve, "message"))["data"] == r"bell\x07 and \x1b[31mred"
    await eve.close()
    terminal.wait_for(lambda text: last_line(text) == "bob>")
    terminal.type("\x04")
    terminal.wait_for(lambda text: last_line(text).startswith("0 ready>"))
    assert_whole(terminal)


def interrupt(terminal: Terminal, signum: int) -> None:
    """Signal the job in the foreground, as somebody else would."""
    os.killpg(os.tcgetpgrp(terminal._master), signum)


def prompted(terminal: Terminal) -> None:
    terminal.wait_for(lambda text: bool(re.match(r"\d+ ready>", last_line(text))))


def enter(terminal: Terminal, line: str, shown: str) -> None:
    """Run a line on an empty screen, until it shows something."""
    mark = f"mark{len(terminal.raw)}"
    terminal.type(f"clear; echo {mark}; {line}\r")
    terminal.wait_for(lambda text: text.startswith(f"{mark}\n") and shown in text)


LIVE = {
    "client --id bob": "connected as bob",
    "status --watch": "serving",
    "stress --clients 2 --duration 1h": "connected     2 of 2",
    "drain": "1 of 1 connected",
}
"""Commands that keep a line or a picture on the screen, and what of it is waited for."""


@pytest.mark.parametrize("command", LIVE)
async def test_a_command_gives_the_terminal_back_whole(
    command: str, start_server: StartServer, shell: Shell
) -> None:
    server = start_server()
    eve = await join(server.ws_url, "eve") if command == "drain" else None
    terminal = shell()
    for signum in (signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP):
        enter(terminal, f"{WSCTL_WORDS} {command}", LIVE[command])
        if signum == signal.SIGHUP:
            for stop in (lambda: terminal.type("\x1a"), lambda: interrupt(terminal, signal.SIGTSTP)):
                stop()
                stopped(terminal)
                enter(terminal, "fg", "bob>" if command.startswith("client") else LIVE[command])
        interrupt(terminal, signum)
        prompted(terminal)
        assert_whole(terminal)
    if eve:
        await eve.close()


async def test_ctrl_z_at_the_bar_of_a_server(shell: Shell) -> None:
    terminal = shell()
    terminal.type(f"{WSCTL_WORDS} serve --port 0\r")
    found = re.search(r"serving url=http(://\S+)", terminal.wait_for("serving url="))
    assert found
    bob = await join(f"ws{found[1]}", "bob")
    terminal.type("\x03")
    terminal.wait_for("1 of 1 connected")
    terminal.type("\x1a")
    stopped(terminal)
    assert "1 of 1 connected" not in terminal.text
    terminal.type("fg\r")
    terminal.wait_for("1 of 1 connected")
    await bob.close()
    terminal.wait_for(lambda text: last_line(text).startswith("0 ready>"))
    assert_whole(terminal)


def worker_pids(parent: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, timeout=DEADLINE, check=True
    )
    pairs = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    return [pid for pid, above in pairs if above == parent]


async def test_ctrl_z_stops_the_workers_with_their_parent_and_fg_lets_all_go_on(
    shell: Shell, environ: dict[str, str]
) -> None:
    terminal = shell()
    terminal.type(f"{WSCTL_WORDS} serve --port 0 --broadcast-interval 0 --workers {WORKERS}\r")
    found = re.search(r"serving url=http(://\S+)", terminal.wait_for("serving url="))
    assert found
    parent = os.tcgetpgrp(terminal._master)
    everybody = [parent, *worker_pids(parent)]
    assert len(everybody) == 1 + WORKERS
    async with await join(f"ws{found[1]}", "bob") as bob:
        terminal.type("\x1a")
        stopped(terminal)
        assert all(map(is_stopped, everybody))
        told = await to_thread.run_sync(lambda: wsctl("status", environ=environ))
        assert told.returncode == 5
        assert told.stderr.count("it is stopped (Ctrl-Z or SIGSTOP)") == WORKERS
        terminal.type("clear; fg\r")
        await becomes(lambda: not any(map(is_stopped, everybody)))
        # With a bar on the screen, that has to give way.
        terminal.type("\x03")
        terminal.wait_for("1 of 1 connected")
        terminal.type("\x1a")
        stopped(terminal)
        assert "1 of 1 connected" not in terminal.text
        assert is_stopped(parent)
        terminal.type("clear; fg\r")
        terminal.wait_for("1 of 1 connected")
        await receive_type(bob, "shutdown")
    terminal.wait_for(lambda text: last_line(text).startswith("0 ready>"))
    assert_whole(terminal)


async def test_who_ends_while_all_are_stopped_leaves_no_worker_behind(shell: Shell) -> None:
    terminal = shell()
    terminal.type(f"{WSCTL_WORDS} serve --port 0 --workers {WORKERS}\r")
    terminal.wait_for("serving url=")
    parent = os.tcgetpgrp(terminal._master)
    workers = worker_pids(parent)
    terminal.type("\x1a")
    stopped(terminal)
    # The kernel lets those go on that are stopped by then. One that is not yet would be stopped afterwards.
    assert all(map(is_stopped, workers))
    os.kill(parent, signal.SIGKILL)
    await becomes(lambda: not any(map(is_there, workers)))


async def becomes(true: Callable[[], bool]) -> None:
    """Wait for what no event tells: the state of processes that are not ours."""
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
