"""Two servers behind a real nginx, as `wsctl generate nginx` sets it up."""

import asyncio
import http.client
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
import uvloop
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.conftest import StartServer, StartStore
from tests.support.clients import join, receive
from tests.support.cluster import Cluster
from tests.support.crowd import Crowd
from tests.support.event_streams import StreamClient
from tests.support.nginx import NginxProcess
from tests.support.publishers import Publishers
from tests.support.server import DEADLINE, ServerProcess, ask, wsctl

CLIENTS, RATE = 40, 50
"""Clients in all, and messages a second."""

FLAGS = ("--rate", "0", "--reconnect-window", "1", "--shutdown-timeout", "20")

StartNginx = Callable[..., NginxProcess]


@pytest.fixture
def start_nginx(environ: dict[str, str], runtime_dir: Path) -> Iterator[StartNginx]:
    """Start nginx with what `wsctl generate nginx` prints for some flags."""
    with ExitStack() as stack:

        def start(*flags: str) -> NginxProcess:
            made = wsctl("generate", "nginx", *flags, environ=environ)
            assert made.returncode == 0, made.stderr
            folder = runtime_dir / "nginx"
            folder.mkdir()
            nginx = stack.enter_context(NginxProcess(made.stdout, folder))
            assert nginx.check() == ""
            nginx.start()
            return nginx

        yield start


def _upstreams(*servers: ServerProcess) -> list[str]:
    return [word for server in servers for word in ("--upstream", f"127.0.0.1:{server.port}")]


def _get(nginx: NginxProcess, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=DEADLINE)
    return ask(connection, "GET", path, None, {})[0]


def test_no_client_behind_nginx_chooses_its_address(
    start_server: StartServer, start_nginx: StartNginx
) -> None:
    """As in the file for Compose: the server believes whoever connects."""
    server = start_server("--forwarded-allow-ips", "*", "--access-log")
    nginx = start_nginx(*_upstreams(server))

    async def client() -> object:
        said = {"X-Forwarded-For": "6.6.6.6"}
        url = f"ws://127.0.0.1:{nginx.port}/ws/bob"
        async with connect(url, proxy=None, additional_headers=said) as bob:
            await receive(bob)
            (facts,) = server.status()["clients"]
            return facts["address"]

    assert asyncio.run(client()) == "127.0.0.1"
    connection = http.client.HTTPConnection("127.0.0.1", nginx.port, timeout=DEADLINE)
    assert ask(connection, "GET", "/health/ready", None, {"X-Forwarded-For": "6.6.6.6"})[0] == 200
    server.wait_for_line("GET /health/ready")
    assert not [line for line in server.lines if "6.6.6.6" in line]


def test_each_server_in_turn_is_drained_and_nobody_behind_nginx_misses_anything(
    start_server: StartServer, start_store: StartStore, start_nginx: StartNginx, runtime_dir: Path
) -> None:
    cluster = Cluster(start_server, start_store().url, *FLAGS)
    nginx = start_nginx(*_upstreams(*cluster.grow(2)))
    uvloop.run(_a_deploy(cluster, nginx, runtime_dir))


async def _a_deploy(cluster: Cluster, nginx: NginxProcess, folder: Path) -> None:
    async with Crowd(nginx.port, resumes=True) as crowd:
        await crowd.join(CLIENTS)
        over = asyncio.Event()
        publishers = Publishers(folder, RATE, lambda: [node.pid for node in cluster.nodes])
        flowing = asyncio.create_task(publishers.run(over))
        for _ in range(2):
            old = cluster.nodes.pop(0)
            assert await asyncio.to_thread(old.stop) == 0
            cluster.nodes.append(await asyncio.to_thread(cluster.start, port=old.port))
        over.set()
        await flowing
        await crowd.level_at(await publishers.last())
        data = crowd.data()
        assert crowd.faults == []
        assert len(set(data)) == len(data)
        assert set(data) == set(publishers.accepted)
        # With two servers in turn, everybody was closed at least once.
        assert crowd.resumed >= CLIENTS


async def _knock(nginx: NginxProcess) -> int:
    """How often a newcomer was turned away with 1001 before there was a welcome."""
    for refused in range(20):
        async with connect(f"ws://127.0.0.1:{nginx.port}/ws/new", compression=None, proxy=None) as client:
            try:
                assert (await receive(client))["type"] == "welcome"
            except ConnectionClosed:
                assert client.close_code == 1001
            else:
                return refused
    raise AssertionError("never let in")


@pytest.mark.anyio
async def test_beside_a_server_that_drains_newcomers_find_the_other_and_the_whole_is_ready(
    start_server: StartServer, start_nginx: StartNginx
) -> None:
    servers = [start_server("--shutdown-timeout", "60") for _ in range(2)]
    nginx = start_nginx(*_upstreams(*servers))
    async with await join(servers[0].ws_url, "stays"), await join(servers[1].ws_url, "stays"):
        servers[0].signal()
        servers[0].wait_for_line("draining")
        turned_away = sum([await _knock(nginx) for _ in range(4)])
        assert turned_away > 0
        assert _get(nginx, "/health/ready") == 200
        servers[1].signal()
        servers[1].wait_for_line("draining")
        assert _get(nginx, "/health/ready") == 503
    for server in servers:
        assert await asyncio.to_thread(server.wait) == 0
    assert _get(nginx, "/health/ready") == 502


@pytest.mark.anyio
async def test_who_finds_one_server_full_is_let_in_by_the_other(
    start_server: StartServer, start_nginx: StartNginx
) -> None:
    servers = [start_server("--max-connections", "2") for _ in range(2)]
    nginx = start_nginx(*_upstreams(*servers))
    async with (
        await join(servers[0].ws_url, "a"),
        await join(servers[0].ws_url, "b"),
        await join(f"ws://127.0.0.1:{nginx.port}", "c"),
        await join(f"ws://127.0.0.1:{nginx.port}", "d"),
    ):
        assert [server.status()["connections"] for server in servers] == [2, 2]


@pytest.mark.anyio
async def test_a_root_path_is_the_proxy_s(start_server: StartServer, start_nginx: StartNginx) -> None:
    server = start_server("--root-path", "/chat room", "--broadcast-interval", "0")
    nginx = start_nginx(*_upstreams(server), "--root-path", "/chat room")
    async with await join(f"ws://127.0.0.1:{nginx.port}/chat%20room", "bob%2B1"):
        (client,) = server.status()["clients"]
        assert client["client_id"] == "bob+1"
    async with StreamClient.connect(nginx.port, "/chat%20room/events/bob%2B1") as stream:
        welcome = await stream.event("welcome")
        assert welcome["client_id"] == "bob+1"
        at = f"http://127.0.0.1:{nginx.port}/chat%20room/publish?id=eve"
        async with httpx.AsyncClient() as eve:
            published = await eve.post(at, json={"data": "at once"}, timeout=DEADLINE)
        assert published.status_code == 200, published.text
        assert await stream.messages(1) == ["at once"]
        assert stream.last_id == published.json()["id"]
    for path in ("/health/ready", "/health", "/"):
        assert _get(nginx, f"/chat%20room{path}") == 200
    assert _get(nginx, "/health") == 404


@pytest.mark.anyio
async def test_a_unix_socket_with_an_odd_name_is_reached(
    start_server: StartServer, start_nginx: StartNginx, runtime_dir: Path
) -> None:
    path = str(runtime_dir / 'a "$b" \\c')
    server = start_server("--uds", path, serving='url="(unix:)')
    nginx = start_nginx("--uds", path)
    async with await join(f"ws://127.0.0.1:{nginx.port}", "bob", origin=f"http://127.0.0.1:{nginx.port}"):
        assert server.status()["connections"] == 1
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0


@pytest.mark.anyio
async def test_a_server_with_tls_of_its_own_is_reached(
    start_server: StartServer, start_nginx: StartNginx, certificate: tuple[str, str]
) -> None:
    tls = ("--ssl-certfile", certificate[0], "--ssl-keyfile", certificate[1])
    server = start_server(*tls)
    nginx = start_nginx(*_upstreams(server), *tls)
    async with await join(f"ws://127.0.0.1:{nginx.port}", "bob"):
        (client,) = server.status()["clients"]
    assert client["address"].startswith("127.0.0.1")
