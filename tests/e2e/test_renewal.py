"""An upgrade of several workers renews their parent too: the same process goes on as the new program."""

import asyncio
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive_type
from tests.support.crowd import order
from tests.support.fork_server import STOPS_IN
from tests.support.processes import can_fork, children
from tests.support.program_copy import ProgramCopy
from tests.support.publishers import Publishers
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.supervisor import Supervisor
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio

CLIENTS = 15
"""Clients among which each of two workers has some."""

RATE = 100.0
"""Messages a second that are published while the parent renews itself."""


AUTHORIZED = {"Authorization": "Bearer secret"}


@pytest.fixture
def program(tmp_path: Path) -> ProgramCopy:
    return ProgramCopy(tmp_path)


FLAGS = ("--workers", "2", "--broadcast-interval", "0")


@pytest.fixture
def server(start_server: StartServer, program: ProgramCopy) -> Iterator[ServerProcess]:
    """A parent with two workers that runs the copy; none of its processes is left at the end."""
    found = start_server(*FLAGS, env={"WSCTL_TOKEN": "secret"}, **program.options)
    yield found
    found.kill()


def until(true: Callable[[], Any], what: str) -> Any:
    """What a look finds, once it finds something."""
    end = time.monotonic() + DEADLINE
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(0.01)
    return found


async def upgrade(server: ServerProcess) -> Any:
    return await asyncio.to_thread(wsctl, "upgrade", environ=server.environ, deadline=2 * DEADLINE)


def pids(server: ServerProcess) -> list[int]:
    return [row["pid"] for row in server.status()["workers"]]


async def crowd(server: ServerProcess) -> list[ClientConnection]:
    return list(await asyncio.gather(*(join(server.ws_url, f"c{n}") for n in range(CLIENTS))))


CANNOT_GO_ON = [
    ("server/workers/parent.py", ("^", "def broken(:\n"), "SyntaxError: invalid syntax"),
    ("server/workers/parent_state.py", ("\nVERSION = 1", "\nVERSION = 0"), "restart it"),
    ("__init__.py", ("^", "import os; os._exit(7)\n"), "it ended with exit code 7"),
]
"""Modules of new programs, what is changed in them, and what is told of it."""


async def test_the_parent_is_the_new_program_in_the_same_process_and_one_that_cannot_go_on_changes_nothing(
    server: ServerProcess, program: ProgramCopy
) -> None:
    before, bob = pids(server), await join(server.ws_url, "bob")
    for number, (module, change, why) in enumerate(CANNOT_GO_ON, 1):
        text = program.change(module, *change)
        failed = await upgrade(server)
        assert failed.returncode == 1
        assert "the new program cannot go on: " in failed.stderr, failed
        assert why in failed.stderr
        pattern = rf"upgrade failed .*{re.escape(why)}"
        await asyncio.to_thread(server.wait_for_line, pattern)
        assert len([line for line in server.lines if "upgrade failed" in line]) == number
        assert not any("Traceback" in line for line in server.lines)
        assert pids(server) == before
        facts = server.status()
        assert (facts["status"], facts["generation"]) == ("serving", 1)
        assert server.api("POST", "/api/broadcast", {"data": number})[1]["recipients"] == 1
        assert (await receive_type(bob, "message"))["data"] == number
        program.restore(module, text)
    program.release("9.2")
    done = await upgrade(server)
    assert done.returncode == 0, (done, server.lines)
    assert f"(pid {server.pid} serves)" in done.stdout
    facts = server.status()
    assert (facts["status"], facts["version"], facts["generation"]) == ("serving", "9.2", 2)
    after = pids(server)
    assert len(after) == 2
    assert not {*after} & {*before}
    assert server.api("POST", "/api/broadcast", {"data": "new"})[1]["recipients"] == 1
    assert (await receive_type(bob, "message"))["data"] == "new"
    shown = await asyncio.to_thread(wsctl, "status", environ=server.environ)
    assert "  workers      2, 1 connected to all" in shown.stdout
    # Workers that end are noticed: they are children of a process that has not started them.
    os.kill(min(after), signal.SIGKILL)
    await asyncio.to_thread(server.wait_for_line, f"a worker died pid={min(after)} signal=SIGKILL")
    server.signal()
    await bob.close()
    assert await asyncio.to_thread(server.wait) == 0
    left = os.listdir(server.environ["WSCTL_RUNTIME_DIR"])
    assert not [name for name in left if name.startswith(f"{server.pid}.")]


@pytest.mark.parametrize(
    "flags", [(), ("--journal", "journal"), ("--journal-sync", "normal", "--journal", "j")]
)
async def test_what_is_published_meanwhile_is_answered_and_nobody_misses_it_or_gets_it_twice(
    start_server: StartServer, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    server = start_server(*FLAGS, *flags, cwd=tmp_path)
    clients = await crowd(server)
    folder, over = Path(server.environ["WSCTL_RUNTIME_DIR"]), asyncio.Event()
    publishers = Publishers(folder, RATE, lambda: [server.pid])
    heard: list[list[str]] = [[] for _ in clients]

    async def listen(client: ClientConnection, texts: list[str]) -> None:
        while not (texts and texts[-1].startswith("last")):
            texts.append((await receive_type(client, "message"))["data"])

    listening = [asyncio.create_task(listen(*each)) for each in zip(clients, heard, strict=True)]
    running = asyncio.create_task(publishers.run(over))
    for _ in range(2):
        done = await upgrade(server)
        assert done.returncode == 0, (done, server.lines)
        assert f"(pid {server.pid} serves)" in done.stdout
    assert server.status()["generation"] == 3
    over.set()
    await running
    await publishers.last()
    await asyncio.gather(*listening)
    print(len(publishers.accepted), publishers.slowest, publishers.lag)
    assert (publishers.refused, publishers.unknown) == ({}, set())
    in_order = sorted(publishers.accepted, key=lambda text: order(publishers.accepted[text]))
    for texts in heard:
        assert texts == in_order
    await asyncio.gather(*(client.close() for client in clients))


@pytest.fixture
def stopping(start_server: StartServer, tmp_path: Path) -> ServerProcess:
    """A parent with two workers; when it renews itself, the new program stops at its start: there is a file
    `here` in the folder then, and it goes on when there is one with the name `go`."""
    if not can_fork(WSCTL, {}):
        pytest.skip("nothing is forked here, and so nothing stops")
    return start_server(*FLAGS, env={"WSCTL_TOKEN": "secret", STOPS_IN: str(tmp_path)})


async def test_a_worker_that_dies_while_the_parent_renews_itself_is_replaced(
    stopping: ServerProcess, tmp_path: Path
) -> None:
    dead, other = pids(stopping)
    upgrading = asyncio.create_task(upgrade(stopping))
    await asyncio.to_thread(until, (tmp_path / "here").exists, "the new program starts")
    os.kill(dead, signal.SIGKILL)
    (tmp_path / "go").touch()
    await asyncio.to_thread(stopping.wait_for_line, f"a worker died pid={dead} signal=SIGKILL")
    assert (await upgrading).returncode == 0
    after = await asyncio.to_thread(until, lambda: len(found := pids(stopping)) == 2 and found, "two workers")
    assert not {dead, other} & set(after)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_while_the_parent_renews_itself_drains_afterwards(
    stopping: ServerProcess, tmp_path: Path, signum: signal.Signals
) -> None:
    bob = await join(stopping.ws_url, "bob")
    upgrading = asyncio.create_task(upgrade(stopping))
    await asyncio.to_thread(until, (tmp_path / "here").exists, "the new program starts")
    stopping.signal(signum)
    (tmp_path / "go").touch()
    assert (await receive_type(bob, "shutdown"))["reason"] == signum.name
    await bob.close()
    assert await asyncio.to_thread(stopping.wait) == 0
    assert "the server was stopped meanwhile" in (await upgrading).stderr


async def test_requests_while_the_parent_renews_itself_wait_and_are_answered(
    stopping: ServerProcess, tmp_path: Path
) -> None:
    bob = await join(stopping.ws_url, "bob")
    upgrading = asyncio.create_task(upgrade(stopping))
    await asyncio.to_thread(until, (tmp_path / "here").exists, "the new program starts")
    over_http = asyncio.create_task(
        asyncio.to_thread(stopping.http, "POST", "/api/broadcast", {"data": 1}, AUTHORIZED)
    )
    local = asyncio.create_task(asyncio.to_thread(stopping.api, "POST", "/api/broadcast", {"data": 2}))
    await asyncio.wait([over_http, local], timeout=0.05)
    assert not local.done()
    (tmp_path / "go").touch()
    for publishing in (over_http, local):
        assert (await publishing)[0] == 200
    heard = {(await receive_type(bob, "message"))["data"] for _ in range(2)}
    assert heard == {1, 2}
    assert (await upgrading).returncode == 0
    await bob.close()


async def test_systemd_hears_of_one_reload_by_the_same_process(
    start_server: StartServer, runtime_dir: Path
) -> None:
    with Supervisor(str(runtime_dir / "notify")) as supervisor:
        watched = {"WATCHDOG_USEC": "20000000"}
        server = start_server(*FLAGS, env=supervisor.environ | watched)
        assert supervisor.hear() == ["READY=1", "STATUS=serving"]
        assert supervisor.hear() == ["WATCHDOG=1"]
        server.signal(signal.SIGUSR2)
        assert (await asyncio.to_thread(supervisor.hear_one, "RELOADING=1"))[0] == "RELOADING=1"
        await asyncio.to_thread(supervisor.hear_one, "WATCHDOG=1")  # as soon as the new program serves
        ready = await asyncio.to_thread(supervisor.hear_one, "READY=1")  # it may be watched again before
        assert ready == ["READY=1", "STATUS=serving"]
        await asyncio.to_thread(server.wait_for_line, "INFO parent renewed version=.* generation=2")
        assert await asyncio.to_thread(server.stop) == 0


async def test_at_a_terminal_the_job_the_lines_of_workers_the_bar_and_ctrl_c_stay(
    environ: dict[str, str],
) -> None:
    terminal = Terminal(["bash", "--norc", "-i"], environ | {"PS1": "ready> "}, columns=120)
    try:
        terminal.wait_for("ready>")
        command = f"clear; {' '.join(WSCTL)} serve --port 0 --workers 2; echo ended with $?\n"
        terminal.type(command)
        found = re.search(r"serving url=http(://\S+)", terminal.wait_for("serving url="))
        assert found
        url = f"ws{found[1]}"
        job = children(terminal.process.pid)
        bob = await join(url, "bob")
        done = await asyncio.to_thread(wsctl, "upgrade", environ=environ, deadline=2 * DEADLINE)
        assert done.returncode == 0, done
        assert children(terminal.process.pid) == job
        terminal.wait_for("generation=2")
        eve = await join(url, "eve")
        terminal.wait_for("INFO connected client_id=eve")  # a worker's line, through the parent
        terminal.type("\x03")
        await receive_type(bob, "shutdown")
        terminal.wait_for("2 of 2 connected")
        await bob.close()
        terminal.wait_for("1 of 2 connected")
        terminal.wait_for(lambda text: "elapsed 0:01" in text)
        terminal.type("\x03")
        assert (await closed(eve))[0] == 1012
        assert "ended with 130" in terminal.wait_for("ended with ")
    finally:
        terminal.close()
