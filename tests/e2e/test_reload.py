"""`--reload`: changed code serves at once, and broken code changes nothing."""

import asyncio
import os
import re
import signal
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive
from tests.support.generations import Generations
from tests.support.processes import children, run
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio

APPLICATION = """
import asyncio, os

VERSION = {version!r}
{more}

async def app(scope, receive, send):
    await {{"lifespan": lifespan, "http": http, "websocket": websocket}}[scope["type"]](scope, receive, send)

async def lifespan(scope, receive, send):
    await receive()
    while os.path.exists("hold"):
        await asyncio.sleep(0.01)
    await send({{"type": "lifespan.startup.complete"}})
    await receive()
    await send({{"type": "lifespan.shutdown.complete"}})

async def http(scope, receive, send):
    await send({{"type": "http.response.start", "status": 200}})
    await send({{"type": "http.response.body", "body": VERSION.encode()}})

async def websocket(scope, receive, send):
    await receive()
    await send({{"type": "websocket.accept"}})
    await send({{"type": "websocket.send", "text": VERSION}})
    notice = scope["extensions"]["wsctl.shutdown"]
    await notice.wait()
    await send({{"type": "websocket.send", "text": f"{{notice.reason}} {{notice.deadline <= 1}}"}})
    while (await receive())["type"] != "websocket.disconnect":
        pass
"""


class Code:
    """The application's file, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.save("one")

    def save(self, version: str, more: str = "") -> None:
        """Save the whole file in one step, as editors do."""
        written = self.folder / "main.new"
        written.write_text(APPLICATION.format(version=version, more=more))
        written.replace(self.folder / "main.py")


@pytest.fixture
def code(tmp_path: Path) -> Code:
    return Code(tmp_path)


@pytest.fixture
def server(code: Code, start_server: StartServer) -> Iterator[ServerProcess]:
    """The application, served with `--reload`."""
    command = (*WSCTL, "serve", "main:app", "--port", "0", "--reload")
    started = start_server(command=command, cwd=code.folder)
    yield started
    Generations(started).kill()


def version(server: ServerProcess) -> str:
    """What serves now."""
    code, body = server.http("GET", "/")
    assert code == 200
    return str(body.decode())


async def count(server: ServerProcess, pattern: str, wanted: int) -> list[str]:
    """The lines that match, once there are so many."""
    found = []

    def is_there() -> bool:
        found[:] = [line for line in server.lines if re.search(pattern, line)]
        return len(found) >= wanted

    await asyncio.to_thread(look, is_there)
    return found


def look(true: Callable[[], bool]) -> None:
    """Wait for what no event tells."""
    give_up = time.monotonic() + 2 * DEADLINE
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def processes(environ: Mapping[str, str]) -> list[int]:
    """The processes that operators can reach."""
    return [int(path.stem) for path in Path(environ["WSCTL_RUNTIME_DIR"]).glob("*.sock")]


async def test_saved_code_serves_and_connections_have_a_second(server: ServerProcess, code: Code) -> None:
    assert version(server) == "one"
    async with connect(f"{server.ws_url}/") as bob:
        assert await bob.recv() == "one"
        code.save("two")
        assert await bob.recv() == "reload True"
        assert (await closed(bob))[0] == 1012
    (line,) = await count(server, "reloaded", 1)
    assert "INFO reloaded files=main.py elapsed_s=" in line
    assert version(server) == "two"
    code.save("three")
    await count(server, "reloaded", 2)
    assert version(server) == "three"
    # One line for each reload, whatever else goes on in it.
    assert [line.split()[2:4] for line in server.lines[2:]] == [["reloaded", "files=main.py"]] * 2
    # Whoever waits for the process that was started waits for the one that serves.
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, DEADLINE) == 0


async def test_broken_code_changes_nothing_and_the_next_save_tries_again(
    server: ServerProcess, code: Code
) -> None:
    async with connect(f"{server.ws_url}/") as bob:
        assert await bob.recv() == "one"
        code.save("two", "def broken(:")
        (line,) = await count(server, "not reloaded", 1)
        assert "files=main.py" in line
        assert "main cannot be imported: SyntaxError" in line
        assert "def broken(:" in [line.strip() for line in server.lines]
        code.save("two", "1 / 0")
        assert "ZeroDivisionError" in (await count(server, "not reloaded", 2))[1]
        code.save("two", "async def lifespan(*_): raise OSError('no database')\ndel asyncio")
        assert version(server) == "one"
        code.save("three")
        assert await bob.recv() == "reload True"
    await count(server, "INFO reloaded", 1)
    assert version(server) == "three"


async def test_what_is_saved_during_a_reload_is_reloaded_after_it(server: ServerProcess, code: Code) -> None:
    hold = code.folder / "hold"
    hold.touch()
    code.save("two")
    await asyncio.to_thread(look, lambda: len(processes(server.environ)) == 2)  # it has imported its code
    for name in ("three", "four"):
        code.save(name)
    assert version(server) == "one"
    hold.unlink()
    await count(server, "reloaded", 2)
    assert version(server) == "four"


async def test_with_tls_too(code: Code, start_server: StartServer, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    flags = ("--port", "0", "--reload", "--ssl-certfile", cert, "--ssl-keyfile", key)
    server = start_server(command=(*WSCTL, "serve", "main:app", *flags), cwd=code.folder)
    trusting = ssl.create_default_context(cafile=cert)
    async with connect(f"{server.ws_url}/", ssl=trusting) as bob:
        assert await bob.recv() == "one"
        code.save("two")
        assert await bob.recv() == "reload True"
        assert (await closed(bob))[0] == 1012
    async with connect(f"{server.ws_url}/", ssl=trusting) as bob:
        assert await bob.recv() == "two"
        await count(server, "INFO reloaded", 1)
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, DEADLINE) == 0


HUB = """
from fastapi import FastAPI
from wsctl import Hub

hub = Hub()
app = FastAPI(lifespan=hub.lifespan)
app.include_router(hub.router)

@hub.on_message
async def said(client, message):
    return f"{message.data} VERSION"
"""


async def test_clients_of_a_hub_go_on_with_the_new_code_and_notice_nothing(
    tmp_path: Path, start_server: StartServer
) -> None:
    file = tmp_path / "main.py"
    file.write_text(HUB.replace("VERSION", "one"))
    saved = file.stat().st_mtime_ns
    command = (*WSCTL, "serve", "main:app", "--port", "0", "--reload", "--broadcast-interval", "0")
    server = start_server(command=command, cwd=tmp_path, env={"PYTHONDONTWRITEBYTECODE": ""})
    bob = await join(server.ws_url, "bob")
    for name in ("one", "two"):
        if name == "two":
            file.write_text(HUB.replace("VERSION", name))
            os.utime(file, ns=(saved, saved))  # Python cannot tell it from the first by size and second
            await count(server, "INFO reloaded", 1)
        await bob.send("hello")
        assert (await receive(bob))["data"] == f"hello {name}"
    await bob.close()
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, DEADLINE) == 0


NAMESPACE = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
"""The command in front of one that is to be process 1, as in a container."""


async def test_in_a_container_the_first_process_stays(code: Code, start_server: StartServer) -> None:
    if (await asyncio.to_thread(run, [*NAMESPACE, "true"], timeout=DEADLINE)).returncode:
        pytest.skip("this machine makes no namespaces for us")
    command = (*NAMESPACE, *WSCTL, "serve", "main:app", "--port", "0", "--reload")
    server = start_server(command=command, cwd=code.folder)
    code.save("two")
    await count(server, "INFO reloaded", 1)
    assert version(server) == "two"
    (first,) = children(server.pid)
    os.kill(first, signal.SIGTERM)
    assert await asyncio.to_thread(server.process.wait, DEADLINE) == 0


@pytest.mark.parametrize("flags", [("--reload",), ()])
async def test_at_a_terminal_ctrl_c_and_the_bar_are_those_of_the_process_that_serves(
    flags: tuple[str, ...], code: Code, environ: dict[str, str]
) -> None:
    terminal = Terminal(["bash", "--norc", "-i"], environ | {"PS1": "ready> "}, columns=140)
    try:
        terminal.wait_for("ready>")
        words = " ".join([*WSCTL, "serve", "main:app", "--app-dir", str(code.folder), "--port", "0", *flags])
        terminal.type(f"cd {code.folder}; clear; {words}; echo ended with $?\n")
        found = re.search(r"serving url=http(://\S+)", terminal.wait_for("serving url="))
        assert found
        if flags:
            code.save("two")
            terminal.wait_for("INFO reloaded")
            code.save("two", "1 / 0")
            terminal.wait_for("ZeroDivisionError: division by zero")
            code.save("three")
            terminal.wait_for(lambda text: text.count("INFO reloaded") == 2)
        else:
            code.save("three")
            done = await asyncio.to_thread(wsctl, "upgrade", environ=environ, deadline=2 * DEADLINE)
            assert done.returncode == 0, done
        # A predecessor that still ends passes Ctrl-C on as SIGTERM, and the waiter as what it is.
        (job,) = children(terminal.process.pid)
        await asyncio.to_thread(look, lambda: "waiter.py" in Path(f"/proc/{job}/cmdline").read_text())
        await asyncio.to_thread(look, lambda: len(children(job)) == 1)
        async with connect(f"ws{found[1]}/") as bob:
            assert await bob.recv() == "three"
            terminal.type("\x03")
            assert await bob.recv() == "SIGINT False"
            terminal.wait_for("1 of 1 connected")
        assert "ended with 0" in terminal.wait_for("ended with ")
    finally:
        for pid in processes(environ):
            os.kill(pid, signal.SIGKILL)
        terminal.close()
