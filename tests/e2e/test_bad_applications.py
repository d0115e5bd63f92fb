"""Applications that do what they should not: one line says so, others go on, and the process ends."""

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from tests.conftest import StartServer
from tests.support.bad_applications import HASTY, NAME
from tests.support.clients import closed
from tests.support.generations import Generations
from tests.support.raw import RawClient
from tests.support.server import DEADLINE, ServerProcess
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio

STARTS = r"application: (starts)"
"""How a server is waited for that will not serve."""


def named(attribute: str) -> str:
    return f"{NAME}:{attribute}"


@contextlib.asynccontextmanager
async def client(server: ServerProcess, path: str) -> AsyncIterator[ClientConnection]:
    async with connect(f"{server.ws_url}{path}", compression=None, proxy=None) as websocket:
        yield websocket


async def serves(websocket: ClientConnection) -> None:
    async with asyncio.timeout(DEADLINE):
        await websocket.send("hello")
        assert await websocket.recv() == "hello"


def nothing_left(server: ServerProcess) -> bool:
    """Whether it has removed its files."""
    return not list(Path(server.environ["WSCTL_RUNTIME_DIR"]).glob(f"{server.pid}.*"))


# The start


@pytest.mark.parametrize("attribute", ["hangs_in_startup", "hangs_for_good_in_startup"])
def test_one_that_hangs_in_its_start_is_given_up(attribute: str, start_server: StartServer) -> None:
    server = start_server(named(attribute), "--startup-timeout", "1", serving=STARTS, command=HASTY)
    assert server.wait() == 3
    says = f"{named(attribute)} was not ready within 1 seconds: --startup-timeout gives it more"
    assert [line for line in server.lines if says in line], server.lines
    assert nothing_left(server)


@pytest.mark.parametrize("attribute", ["hangs_in_startup", "hangs_for_good_in_startup"])
def test_a_server_can_be_stopped_while_its_application_hangs_in_its_start(
    attribute: str, start_server: StartServer
) -> None:
    server = start_server(named(attribute), serving=STARTS, command=HASTY)
    assert server.stop() == 0
    assert nothing_left(server)


async def test_a_successor_whose_application_hangs_in_its_start_leaves_the_old_server_serving(
    start_server: StartServer, tmp_path: Path
) -> None:
    file = tmp_path / "changing_application.py"
    file.write_text(f"from {NAME} import app\n")
    flags = ("changing_application:app", "--app-dir", str(tmp_path), "--startup-timeout", "1")
    server = Generations(start_server(*flags))
    try:
        async with client(server.first, "/echo") as old:
            await asyncio.to_thread(file.write_text, f"from {NAME} import hangs_in_startup as app\n")
            outcome = await asyncio.to_thread(server.begin_upgrade().outcome)
            assert outcome["state"] == "failed"
            assert "changing_application:app was not ready within 1 seconds" in outcome["error"]
            await serves(old)
    finally:
        server.kill()


async def test_a_successor_whose_application_starts_slowly_has_the_time_of_a_start_beside_its_own(
    start_server: StartServer, tmp_path: Path
) -> None:
    fault, module = tmp_path / "fault", tmp_path / "slow_application.py"
    fault.write_text("nothing")
    module.write_text(f"from {NAME} import app\n")
    command = (sys.executable, "-m", "tests.support.faulty", "serve", "--port", "0")
    flags = ("slow_application:app", "--app-dir", str(tmp_path), "--startup-timeout", "60")
    env = {"FAULT_FILE": str(fault), "READY_TIMEOUT": "2"}
    server = Generations(start_server(*flags, env=env, command=command))
    try:
        await asyncio.to_thread(module.write_text, f"from {NAME} import starts_slowly as app\n")
        assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
    finally:
        server.kill()


# While it serves


async def test_one_that_raises_or_closes_twice_harms_nobody_else(start_server: StartServer) -> None:
    server = start_server(named("app"), "--shutdown-timeout", "60")
    async with client(server, "/echo") as other:
        assert server.http("GET", "/raises")[0] == 500
        for path, code in (("/raises", 1006), ("/closes-twice", 4000)):
            async with client(server, path) as bad:
                await bad.send("now")
                assert (await closed(bad))[0] in (code, 1011)
        await serves(other)
        server.signal()
        server.wait_for_line("draining")
        await serves(other)
    assert server.wait() == 0


async def test_code_that_blocks_the_loop_in_a_drain_is_named_and_the_drain_goes_on(
    start_server: StartServer,
) -> None:
    server = start_server(named("app"), "--shutdown-timeout", "60")
    async with client(server, "/echo") as other:
        server.signal()
        server.wait_for_line("draining")
        blocking = asyncio.create_task(asyncio.to_thread(server.http, "GET", "/blocks?seconds=3.5"))
        found = await asyncio.to_thread(server.wait_for_line, r"the event loop is blocked.* (\w+) \((.*)\)")
        assert found[1] == "block_the_loop"
        assert re.fullmatch(r".*bad_applications\.py:\d+", found[2])
        assert (await blocking)[0] == 200
        await asyncio.to_thread(server.wait_for_line, "the event loop runs again .*block_the_loop.*for_s=")
        await serves(other)
    assert server.wait() == 0


@pytest.mark.parametrize("order", ["before the signal", "after it"])
async def test_code_that_blocks_the_loop_for_ever_cannot_keep_the_process(
    order: str, start_server: StartServer
) -> None:
    server = start_server(named("app"), "--shutdown-timeout", "1", command=HASTY)
    async with client(server, "/echo") as other:
        await serves(other)
        if order == "after it":
            server.signal()
            server.wait_for_line("draining")
        blocking = asyncio.create_task(asyncio.to_thread(server.http, "GET", "/blocks?seconds=3600"))
        await asyncio.to_thread(server.wait_for_line, "application: blocks")
        server.signal()
        assert await asyncio.to_thread(server.wait) == 4
        with pytest.raises(ConnectionResetError):
            await blocking
        assert (await closed(other))[0] == 1006
    server.wait_for_line("the process ends, as its drain has: the event loop is blocked by block_the_loop")
    assert nothing_left(server)


async def test_a_terminal_has_its_cursor_back_after_a_loop_that_was_blocked_for_ever(
    environ: dict[str, str],
) -> None:
    terminal = Terminal([*HASTY, named("app"), "--shutdown-timeout", "1"], environ)
    try:
        url = re.findall(r"http://[\d.:]+", terminal.wait_for("http://"))[-1]
        async with connect(f"{url.replace('http', 'ws')}/echo", proxy=None):
            terminal.type("\x03")
            terminal.wait_for(lambda _: terminal.screen.cursor.hidden)
            with RawClient(int(url.rpartition(":")[2])) as raw:
                raw.send(b"GET /blocks?seconds=3600 HTTP/1.1\r\nhost: a\r\n\r\n")
                assert await asyncio.to_thread(terminal.wait) == 4
        assert not terminal.screen.cursor.hidden
    finally:
        terminal.close()


# The end


async def test_one_that_ignores_everything_is_cut_and_one_that_swallows_that_is_left(
    start_server: StartServer,
) -> None:
    server = start_server(named("app"), "--shutdown-timeout", "1", command=HASTY)
    paths = ("/deaf", "/stubborn", "/echo")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(server, path)) for path in paths]
        undecided = asyncio.create_task(refused(server, "/undecided"))
        await asyncio.to_thread(server.wait_for_line, "application: undecided")
        server.signal()
        assert [(await closed(each))[0] for each in clients] == [1012] * 3
        assert await undecided == 503
    assert await asyncio.to_thread(server.wait) == 4
    server.wait_for_line("application: the deaf one has ended")
    server.wait_for_line("the application does not return at /stubborn, though it was cancelled")
    server.wait_for_line("drained .*forced=2 aborted=2 ")
    server.wait_for_line("the process ends without tasks of the application")
    assert nothing_left(server)


async def refused(server: ServerProcess, path: str) -> int:
    """The status with which a handshake is answered."""
    with pytest.raises(InvalidStatus) as answer:
        await connect(f"{server.ws_url}{path}", proxy=None)
    return answer.value.response.status_code


@pytest.mark.parametrize(
    ("attribute", "says"),
    [
        ("hangs_in_shutdown", "the application's lifespan did not shut down within 1 seconds"),
        (
            "fails_in_shutdown",
            "the application's lifespan failed at its end: RuntimeError: raised at the end",
        ),
        ("leaves_a_thread", "the process ends without threads of the application: never-ends, which did not"),
        ("leaves_a_task", "the process ends without tasks of the application, which did not end within"),
    ],
)
def test_what_does_not_end_with_the_server_is_named_and_left(
    attribute: str, says: str, start_server: StartServer
) -> None:
    server = start_server(named(attribute), command=HASTY)
    assert server.http("GET", "/") == (200, b"well")
    assert server.stop() == 0
    assert [line for line in server.lines if says in line], server.lines
    assert nothing_left(server)


def test_work_in_threads_and_at_exit_is_finished(start_server: StartServer) -> None:
    server = start_server(named("leaves_work"))
    assert server.stop() == 0
    assert server.lines[-2:] == ["application: the thread is done", "application: at exit"]
