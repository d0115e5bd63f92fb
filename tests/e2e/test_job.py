"""A server in the foreground of a shell stays in its job, whichever process serves."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.clients import closed, join, receive_type
from tests.support.processes import children
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio

MOST_MEMORY = 20_000
"""KiB of a waiter, pages that it shares included: a server has three times as many."""


class Shell:
    """bash with job control on a terminal, and a server that was typed into it."""

    def __init__(self, environ: dict[str, str]) -> None:
        self.environ = environ
        self.terminal = Terminal(["bash", "--norc", "-i"], environ | {"PS1": "ready> "}, columns=120)
        self.terminal.wait_for("ready>")
        self.terminal.type(f"clear; {' '.join(WSCTL)} serve --port 0; echo ended with $?\n")
        found = re.search(r"serving url=http(://\S+)", self.terminal.wait_for("serving url="))
        assert found
        self.url = "ws" + found[1]
        (self.job,) = children(self.terminal.process.pid)

    def upgrade(self) -> int:
        """The pid of the process that serves then, the one before done with its work."""
        done = wsctl("upgrade", environ=self.environ, deadline=2 * DEADLINE)
        found = re.search(r"pid (\d+) serves", done.stdout)
        assert found, done
        _look(lambda: "waiter.py" in Path(f"/proc/{self.job}/cmdline").read_text())
        return int(found[1])

    def close(self) -> None:
        for path in Path(self.environ["WSCTL_RUNTIME_DIR"]).glob("*.sock"):
            _end(int(path.stem))
        for pid in children(self.terminal.process.pid):
            _end(pid)
        self.terminal.close()


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _fact(pid: int, name: str) -> str:
    found = re.search(rf"^{name}:\s+(\S+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return found[1]


def _waits_for_signals(pid: int) -> bool:
    """Whether a process that blocks its signals waits for one: the kernel lets those through meanwhile."""
    return not int(_fact(pid, "SigBlk"), 16) & 1 << signal.SIGTERM - 1


async def until(true: Callable[[], bool]) -> None:
    await asyncio.to_thread(_look, true)


def _look(true: Callable[[], bool]) -> None:
    give_up = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


@pytest.fixture
def shell(environ: dict[str, str]) -> Iterator[Shell]:
    with ExitStack() as stack:
        made = Shell(environ)
        stack.callback(made.close)
        yield made


async def test_after_upgrades_ctrl_c_drains_with_a_bar_and_the_shell_gets_the_exit_code(shell: Shell) -> None:
    screen = shell.terminal
    bob = await join(shell.url, "bob")
    for _ in range(2):
        serving = await asyncio.to_thread(shell.upgrade)
        assert children(screen.process.pid) == {shell.job}
    await until(lambda: children(shell.job) == {serving})  # one waiter, and who serves
    assert int(_fact(shell.job, "VmRSS")) < MOST_MEMORY
    screen.wait_for(lambda text: text.count("drained") == 2)
    assert "ended with " not in screen.text
    screen.type("\x03")
    await receive_type(bob, "shutdown")
    screen.wait_for("1 of 1 connected")
    await bob.close()
    assert "ended with 0" in screen.wait_for("ended with ")


async def test_after_an_upgrade_the_job_is_stopped_and_goes_on_in_front_and_ctrl_c_twice_forces(
    shell: Shell,
) -> None:
    serving = await asyncio.to_thread(shell.upgrade)
    shell.terminal.type("\x1a")
    shell.terminal.wait_for("Stopped")
    await until(lambda: _fact(serving, "State") == _fact(shell.job, "State") == "T")
    shell.terminal.type("fg\n")
    bob = await join(shell.url, "bob")
    await until(lambda: _waits_for_signals(shell.job))  # until then the next one stops the waiter alone
    os.kill(shell.job, signal.SIGTSTP)  # and so when the process is told alone
    await until(lambda: _fact(serving, "State") == _fact(shell.job, "State") == "T")
    shell.terminal.type("fg\n")
    await until(lambda: _fact(serving, "State") != "T")
    shell.terminal.type("\x03")
    await receive_type(bob, "shutdown")
    shell.terminal.wait_for("elapsed 0:01")
    shell.terminal.type("\x03")
    assert (await closed(bob))[0] == 1012
    shell.terminal.wait_for(lambda text: text.rstrip().endswith("ready>"))
    shell.terminal.type("echo it ended with $?\n")
    assert "it ended with 130" in shell.terminal.wait_for("it ended with 1")


async def test_what_the_process_of_the_job_is_told_is_meant_for_who_serves(shell: Shell) -> None:
    await asyncio.to_thread(shell.upgrade)
    bob = await join(shell.url, "bob")
    os.kill(shell.job, signal.SIGUSR2)
    shell.terminal.wait_for(lambda text: text.count("handover done") == 2)
    os.kill(shell.job, signal.SIGTERM)
    assert (await receive_type(bob, "shutdown"))["reason"] == "SIGTERM"
    await bob.close()
    assert "ended with 0" in shell.terminal.wait_for("ended with ")


async def test_a_killed_server_is_told_to_the_shell_as_one(shell: Shell) -> None:
    os.kill(await asyncio.to_thread(shell.upgrade), signal.SIGKILL)
    assert "ended with 137" in shell.terminal.wait_for("ended with ")


async def test_who_kills_the_process_of_the_job_means_the_server(shell: Shell) -> None:
    serving = await asyncio.to_thread(shell.upgrade)
    bob = await join(shell.url, "bob")
    os.kill(shell.job, signal.SIGKILL)
    assert (await receive_type(bob, "shutdown"))["reason"] == "SIGHUP"
    await bob.close()
    await until(lambda: not Path(f"/proc/{serving}").exists())
