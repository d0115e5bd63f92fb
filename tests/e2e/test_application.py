"""`wsctl serve main:app`: an application of one's own is served as uvicorn serves it, and drained."""

import asyncio
import contextlib
import http.client
import json
import signal
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import StartServer, environ_of
from tests.support.bad_applications import HASTY
from tests.support.clients import closed
from tests.support.fastapi_application import NAME
from tests.support.generations import Generations
from tests.support.raw import RawClient
from tests.support.server import DEADLINE, ServerProcess, wsctl

pytestmark = pytest.mark.anyio

FOREVER = ("--shutdown-timeout", "60")


@contextlib.asynccontextmanager
async def client(server: ServerProcess, path: str) -> AsyncIterator[ClientConnection]:
    """A client of the application's own WebSocket."""
    async with connect(f"{server.ws_url}{path}", compression=None, proxy=None) as websocket:
        yield websocket


async def ask(websocket: ClientConnection, text: str = "?") -> str:
    """What it answers."""
    async with asyncio.timeout(DEADLINE):
        await websocket.send(text)
        return str(await websocket.recv())


async def serves(websocket: ClientConnection) -> None:
    """It is answered as ever."""
    assert await ask(websocket, "hello") == "hello"


class Stream:
    """An answer that is read as it comes."""

    def __init__(self, server: ServerProcess, path: str, headers: dict[str, str] | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        self._connection.request("GET", path, headers=headers or {})
        self.answer = self._connection.getresponse()
        self.first = self.answer.readline()

    def to_end(self) -> bytes:
        """What still comes, until the server ends it as HTTP asks for: a cut one is an error."""
        try:
            return self.answer.read()
        finally:
            self._connection.close()

    def is_cut(self) -> bool:
        """Whether it ends without its end."""
        try:
            self.to_end()
        except (http.client.IncompleteRead, ConnectionError):
            return True
        return False


def wait_for_status(server: ServerProcess, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The status, once it is so."""
    until = time.monotonic() + DEADLINE
    while not true(facts := server.status()):
        assert time.monotonic() < until, facts
        time.sleep(0.02)
    return facts


def of_application(server: ServerProcess) -> list[str]:
    """What the application has written."""
    return [line.partition("application: ")[2] for line in server.lines if line.startswith("application: ")]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server for the tests that only ask it something."""
    folder = tmp_path_factory.mktemp("app")
    (folder / "variables").write_text("OF_THE_APPLICATION=from the file\n")
    with tempfile.TemporaryDirectory(prefix="ws") as runtime:
        flags = (f"{NAME.partition(':')[0]}:make", "--factory", "--env-file", str(folder / "variables"))
        more = ("--root-path", "/under", "--access-log", "--log-level", "info")
        server = ServerProcess.start(*flags, *more, environ=environ_of(Path(runtime)))
        try:
            yield server
        finally:
            server.kill()


# Served as uvicorn does


def test_a_factory_with_variables_of_a_file_and_a_root_path_is_served(shared: ServerProcess) -> None:
    status, facts = shared.http(
        "GET", "/facts", headers={"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.1.1.1"}
    )
    assert status == 200
    assert facts == {
        "pid": shared.pid,
        "root_path": "/under",
        "scheme": "https",
        "client": "10.1.1.1",
        "parser": "uvicorn.protocols.http.httptools_impl",
        "state": "at the start",
        "variable": "from the file",
    }
    shared.wait_for_line(r'"GET /under/facts HTTP/1.1" 200')


@pytest.mark.parametrize(
    "path", ["/health", "/health/live", "/metrics", "/api/status", "/ws", "/wsctl.js", "/"]
)
def test_all_public_paths_are_the_applications(shared: ServerProcess, path: str) -> None:
    assert shared.http("GET", path) == (404, {"detail": "Not Found"})


async def test_commands_reach_it_through_the_control_socket(shared: ServerProcess) -> None:
    assert shared.api("GET", "/health")[0] == 200
    shown = wsctl("status", environ=shared.environ)
    assert shown.returncode == 0, shown.stderr
    assert "serving" in shown.stdout


# Zero code: what SIGTERM does


async def test_nothing_is_cut_by_the_first_signal_and_all_is_forced_in_order_at_the_deadline(
    start_server: StartServer,
) -> None:
    server = start_server(NAME, "--shutdown-timeout", "3")
    async with client(server, "/ws/a") as echoing, client(server, "/pushing/b") as pushing:
        await serves(echoing)
        stream = await asyncio.to_thread(Stream, server, "/events")
        # Its connection is kept for another request, which comes during the drain.
        kept = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        kept.request("GET", "/facts")
        kept.getresponse().read()
        server.signal()
        server.wait_for_line("draining .*websockets=2 responses=1")
        kept.request("GET", "/facts")
        answer = kept.getresponse()
        assert json.loads(answer.read())["state"] == "at the start"
        assert answer.getheader("connection") == "close"
        kept.close()
        late = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
        late.request("GET", "/facts")
        assert late.getresponse().getheader("connection") == "close"
        late.close()
        async with client(server, "/ws/newcomer") as newcomer:
            assert (await closed(newcomer))[0] == 1001
        await serves(echoing)
        drain = server.status()["drain"]
        assert (drain["active"], drain["websockets"], drain["responses"]) == (3, 2, 1)
        assert {(r["kind"], r["route"], r["connections"]) for r in drain["routes"]} == {
            ("websocket", "/ws/{room}", 1),
            ("websocket", "/pushing/{room}", 1),
            ("response", "/events", 1),
        }
        assert (await closed(echoing)) == (1012, "the server is restarting: reconnect")
        async with asyncio.timeout(DEADLINE):
            with contextlib.suppress(ConnectionClosed):
                while True:
                    await pushing.recv()
        assert pushing.close_code == 1012
        assert b"data: tick" in await asyncio.to_thread(stream.to_end)
    assert server.wait() == 4
    told = of_application(server)
    # A generator whose answer was cut is closed by the event loop, at a moment of its own.
    told.remove("the stream has ended")
    assert told[0] == "started"
    assert sorted(told[1:-1]) == [
        "a is disconnected with 1012",
        "b gets an OSError: the server is restarting: reconnect",
    ]
    assert told[-1] == "stopped"


async def test_it_ends_with_0_when_all_have_left_by_themselves(start_server: StartServer) -> None:
    server = start_server(NAME, *FOREVER)
    async with client(server, "/ws/a") as echoing, client(server, "/noticed/b?leaves=1") as leaving:
        stream = await asyncio.to_thread(Stream, server, "/noticed-events")
        server.signal()
        assert (await closed(leaving)) == (1012, "bye")
        assert b"data: SIGTERM" in await asyncio.to_thread(stream.to_end)
        await serves(echoing)
    assert server.wait() == 0
    assert of_application(server)[-1] == "stopped"


async def test_requests_that_came_late_are_answered_before_the_end(start_server: StartServer) -> None:
    server = start_server(NAME, *FOREVER)
    async with client(server, "/ws/a"):
        server.signal()
        server.wait_for_line("draining")
        late = asyncio.create_task(asyncio.to_thread(server.http, "GET", "/slow?seconds=1"))
        await asyncio.to_thread(server.wait_for_line, "a slow request")
    assert await late == (200, b"done")
    assert server.wait() == 0


async def test_a_cancelled_drain_withdraws_the_notice_and_a_second_ctrl_c_forces(
    start_server: StartServer,
) -> None:
    server = start_server(NAME, *FOREVER)
    async with client(server, "/noticed/a") as noticed, client(server, "/ws/b") as echoing:
        assert json.loads(await ask(noticed)) == {"is_set": False, "reason": None, "deadline": None}
        assert wsctl("drain", "--no-wait", environ=server.environ).returncode == 0
        told = json.loads(await ask(noticed))
        assert (told["is_set"], told["reason"]) == (True, "requested")
        assert 50 < told["deadline"] <= 60
        assert wsctl("drain", "--cancel", environ=server.environ).returncode == 0
        assert json.loads(await ask(noticed)) == {"is_set": False, "reason": None, "deadline": None}
        async with client(server, "/ws/newcomer") as newcomer:
            await serves(newcomer)
        server.signal(signal.SIGINT)
        server.wait_for_line("draining .*by=SIGINT")
        assert json.loads(await ask(noticed))["reason"] == "SIGINT"
        await asyncio.sleep(1.1)  # sooner it would be the same Ctrl-C
        await serves(echoing)
        server.signal(signal.SIGINT)
        assert [(await closed(each))[0] for each in (noticed, echoing)] == [1012, 1012]
    assert server.wait() == 130
    assert of_application(server)[-1] == "stopped"


async def test_each_route_has_its_policy(start_server: StartServer) -> None:
    policies = ("/events=close", "/noticed/*=notify:2s", "/ws/at-once=close")
    flags = [word for policy in policies for word in ("--drain-policy", policy)]
    server = start_server(NAME, *FOREVER, *flags)
    async with client(server, "/ws/a") as finishing, client(server, "/noticed/b") as noticed:
        async with client(server, "/ws/at-once") as at_once:
            stream = await asyncio.to_thread(Stream, server, "/events")
            server.signal()
            assert (await closed(at_once)) == (1012, "the server is restarting: reconnect")
            await asyncio.to_thread(stream.to_end)
        told = json.loads(await ask(noticed))
        assert 0 < told["deadline"] <= 2
        assert (await closed(noticed))[0] == 1012
        await serves(finishing)
        drain = server.status()["drain"]
        assert (drain["active"], drain["by_policy"], drain["forced"]) == (1, 3, 0)
    assert server.wait() == 0
    server.wait_for_line('how=".*3 closed by policy"')


async def test_closes_at_once_are_spread(start_server: StartServer) -> None:
    server = start_server(NAME, *FOREVER, "--drain-policy", "*=close", "--drain-spread", "1.5")
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client(server, f"/ws/{n}")) for n in range(6)]
        server.signal()
        began = time.monotonic()
        ends: list[float] = []

        async def end(websocket: ClientConnection) -> None:
            assert (await closed(websocket))[0] == 1012
            ends.append(time.monotonic() - began)

        await asyncio.gather(*map(end, clients))
    assert server.wait() == 0
    assert max(ends) - min(ends) > 0.8


async def test_the_lifespan_gets_the_notice_where_it_asks_for_it(start_server: StartServer) -> None:
    server = start_server(NAME.replace(":app", ":noticed_in_lifespan"), *FOREVER)
    async with client(server, "/ws/a"):
        server.signal()
        server.wait_for_line("application: lifespan.shutdown.notice")
    assert server.wait() == 0
    lifespan = [line for line in of_application(server) if line.startswith("lifespan")]
    assert lifespan == ["lifespan.startup", "lifespan.shutdown.notice", "lifespan.shutdown"]


async def test_streams_of_sse_starlette_end_at_the_moment_of_their_policy(start_server: StartServer) -> None:
    server = start_server(NAME, *FOREVER, "--drain-policy", "/sse=notify:1.5s")
    stream = await asyncio.to_thread(Stream, server, "/sse")
    server.signal()
    began = time.monotonic()
    told = await asyncio.to_thread(stream.to_end)
    # Its own watch on signals looks each half second.
    assert 1.3 < time.monotonic() - began < DEADLINE
    assert told.count(b"data: tick") > 10
    assert await asyncio.to_thread(server.wait) == 0
    assert of_application(server)[-2:] == ["the events have ended", "stopped"]


# The bounds of its HTTP connections, with each parser


@pytest.fixture(scope="module", params=["httptools", "h11"])
def bounded(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """A server whose deadlines are a second each."""
    with tempfile.TemporaryDirectory(prefix="ws") as runtime:
        environ = environ_of(Path(runtime)) | {"PARSER": request.param}
        server = ServerProcess.start(NAME, environ=environ, command=HASTY)
        try:
            assert request.param in server.http("GET", "/facts")[1]["parser"]
            yield server
        finally:
            server.kill()


MANY = "".join(f"x-{n}: y\r\n" for n in range(101))


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (f"GET /facts HTTP/1.1\r\nhost: a\r\nx: {'y' * 17_000}\r\n\r\n", 431),
        (f"GET /facts HTTP/1.1\r\nhost: a\r\nx: {'y' * 40_000}", 431),
        (f"GET /{'y' * 17_000} HTTP/1.1\r\nhost: a\r\n\r\n", 431),
        (f"GET /facts HTTP/1.1\r\nhost: a\r\n{MANY}\r\n", 431),
        ("hello there\r\n\r\n", 400),
        ("GET /facts HTTP/1.1\r\nhost: a\r\ncontent-length: x\r\n\r\n", 400),
        ("GET /facts HTTP/1.1\r\nhost: a\r\n", 408),
    ],
    ids=["large", "endless", "long target", "many headers", "no request", "no length", "slow"],
)
def test_a_head_beyond_the_bounds_is_refused(bounded: ServerProcess, sent: str, status: int) -> None:
    with RawClient(bounded.port) as raw:
        raw.send(sent.encode())
        answer = raw.read_to_end()
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert answer.count(b"connection: close") == 1
    assert bounded.http("GET", "/facts")[0] == 200


def test_an_idle_connection_is_closed(bounded: ServerProcess) -> None:
    with RawClient(bounded.port) as raw:
        raw.send(b"GET /slow?seconds=0 HTTP/1.1\r\nhost: a\r\n\r\n")
        answer = raw.read_to_end()  # it asked for no end
    assert answer.endswith(b"\r\n\r\ndone")


def test_requests_that_come_at_once_are_answered_in_order_and_bodies_are_not_bounded(
    bounded: ServerProcess,
) -> None:
    body = b"x" * (1 << 20)
    head = b"POST /length HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n"
    chunked = b"POST /length HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    last = b"GET /slow?seconds=0 HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
    with RawClient(bounded.port) as raw:
        raw.send(head % len(body) + body + chunked + last)
        answers = raw.read_to_end()
    assert [part.rpartition(b"\r\n\r\n")[2] for part in answers.split(b"HTTP/1.1 200 OK")[1:]] == [
        b"1048576",
        b"3",
        b"done",
    ]


# Wherever it listens, whoever starts it


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_it_is_served_with_tls(
    start_server: StartServer, certificate: tuple[str, str], workers: str
) -> None:
    cert, key = certificate
    tls = ("--ssl-certfile", cert, "--ssl-keyfile", key)
    server = start_server(NAME, *FOREVER, *tls, "--workers", workers)
    trusting = ssl.create_default_context(cafile=cert)
    asked = http.client.HTTPSConnection("127.0.0.1", server.port, context=trusting, timeout=DEADLINE)
    asked.request("GET", "/facts")
    assert json.loads(asked.getresponse().read())["scheme"] == "https"
    asked.close()
    async with connect(f"{server.ws_url}/ws/a", ssl=trusting, compression=None, proxy=None) as websocket:
        await serves(websocket)
        server.signal()
        server.wait_for_line("draining")
        await serves(websocket)
    assert server.wait() == 0, "\n".join(server.lines)


async def test_it_is_served_on_a_unix_socket(start_server: StartServer, runtime_dir: Path) -> None:
    path = str(runtime_dir / "public")
    server = start_server(NAME, "--shutdown-timeout", "1", "--uds", path)
    async with unix_connect(path, "ws://localhost/ws/a", compression=None) as websocket:
        await serves(websocket)
        server.signal()
        assert (await closed(websocket))[0] == 1012
    assert server.wait() == 4


async def test_workers_serve_and_drain_it(start_server: StartServer) -> None:
    server = start_server(NAME, "--workers", "2", "--shutdown-timeout", "2")
    async with (
        client(server, "/ws/a") as one,
        client(server, "/ws/b") as other,
        client(server, "/ws/c") as left,
    ):
        for each in (one, other, left):
            await serves(each)
        server.signal()
        server.wait_for_line("draining .*websockets=3")
        await left.close()
        await serves(one)
        assert [(await closed(each))[0] for each in (one, other)] == [1012, 1012]
    assert server.wait() == 4
    assert [line for line in of_application(server) if line == "stopped"] == ["stopped"] * 2


# Starts that fail


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere_to_be_found:app"], "there is no module nowhere_to_be_found in /"),
        (["written_application:other"], "has no other: write the name of the variable that holds"),
        (["written_application:ap"], "the module written_application has no ap: did you mean app?"),
        (["written_application:app", "--env-file", "nowhere"], "--env-file nowhere: there is no such file"),
        (["written_application:number"], "which is no ASGI application"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(
    arguments: list[str], says: str, environ: dict[str, str], written: Path
) -> None:
    written.write_text("app = print\nnumber = 3\n")
    ended = wsctl("serve", *arguments, "--app-dir", str(written.parent), "--port", "0", environ=environ)
    assert ended.returncode == 3
    (line,) = ended.stderr.splitlines()
    assert says in line


FAILING = [
    ("import nothing_of_that_name\n", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    (
        "from fastapi import FastAPI\n\n\n"
        "async def lifespan(app):\n    raise RuntimeError('no database')\n    yield\n\n\n"
        "app = FastAPI(lifespan=lifespan)\n",
        "RuntimeError: no database",
    ),
]
"""Code that fails when it is imported, and when it starts."""


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize(("code", "says"), FAILING, ids=["import", "start"])
def test_code_that_fails_shows_one_line_and_the_last_ones_of_its_traceback(
    code: str, says: str, workers: str, environ: dict[str, str], written: Path
) -> None:
    written.write_text(code)
    arguments = ("written_application:app", "--app-dir", str(written.parent), "--workers", workers)
    ended = wsctl("serve", *arguments, "--port", "0", environ=environ)
    assert ended.returncode == 3
    lines = ended.stderr.splitlines()
    assert lines[0].startswith("wsctl: written_application")
    assert says in lines[0]
    assert lines[-1] == f"  {says}"
    assert any(str(written) in line for line in lines)
    assert len(lines) <= 9


# Upgrades


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The module of an application that can change between two processes."""
    file = tmp_path / "written_application.py"
    file.write_text("from tests.support.fastapi_application import app\n")
    return file


@pytest.fixture
def start_written(start_server: StartServer, written: Path) -> Iterator[Callable[..., Generations]]:
    with contextlib.ExitStack() as stack:

        def start(*flags: str) -> Generations:
            folder = str(written.parent)
            server = Generations(start_server("written_application:app", "--app-dir", folder, *flags))
            stack.callback(server.kill)
            return server

        yield start


async def test_an_upgrade_drains_the_old_connections_beside_the_new_process(
    start_written: Callable[..., Generations],
) -> None:
    server = start_written(*FOREVER)
    first = server.first
    async with client(first, "/noticed/a") as noticed, client(first, "/ws/b") as old:
        stream = await asyncio.to_thread(Stream, first, "/noticed-events")
        upgrade = await asyncio.to_thread(server.upgrade)
        assert (upgrade["state"], upgrade["staying"]) == ("done", 3)
        assert first.http("GET", "/facts")[1]["pid"] == server.pid != first.pid
        assert json.loads(await ask(noticed))["reason"] == "handover"
        assert b"data: handover" in await asyncio.to_thread(stream.to_end)
        async with client(first, "/ws/c") as new:
            await serves(new)
            await serves(old)
            assert server.status(first.pid)["drain"]["websockets"] == 2
            assert server.status()["status"] == "serving"
            await noticed.close()
            await old.close()
            assert await asyncio.to_thread(server.first_ended) == 0
            await serves(new)


@pytest.mark.parametrize(
    ("code", "says"),
    FAILING,
    ids=["import", "start"],
)
async def test_new_code_that_fails_leaves_the_old_server_serving_and_says_why(
    code: str, says: str, start_written: Callable[..., Generations], written: Path
) -> None:
    server = start_written(*FOREVER)
    async with client(server.first, "/ws/a") as old:
        await asyncio.to_thread(written.write_text, code)
        upgrade = await asyncio.to_thread(wsctl, "upgrade", environ=server.first.environ)
        assert upgrade.returncode == 1
        first, *traceback = upgrade.stderr.partition("wsctl: ")[2].splitlines()
        assert says in first
        assert str(written) in "".join(traceback)
        assert server.first.http("GET", "/facts")[1]["pid"] == server.first.pid
        await serves(old)
        server.first.wait_for_line(f"handover failed.*{says}")
        # The cure needs no restart.
        await asyncio.to_thread(written.write_text, "from tests.support.fastapi_application import app\n")
        assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
