"""The connections of an application of one's own are counted, wherever connections are shown."""

import asyncio
import json
import re
import signal
import socket
import time
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from tests.conftest import StartServer
from tests.support.application import write_application
from tests.support.clients import closed
from tests.support.scrapes import Scrape, complaints, scraped
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio


def open_stream(server: ServerProcess, path: str) -> socket.socket:
    """A request whose answer has begun."""
    sock = socket.create_connection(("127.0.0.1", server.port), DEADLINE)
    sock.sendall(f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
    received = b""
    while b"hello" not in received:
        received += sock.recv(4096)
    return sock


def counts(scrape: Scrape) -> list[float | None]:
    own = "wsctl_application_connections"
    return [
        scrape("wsctl_connections"),
        *(scrape(own, kind=kind) for kind in ("websocket", "response")),
        *(scrape(f"{own}_ended_total", reason=reason) for reason in ("left", "policy", "forced")),
        scrape(f"{own}_aborted_total"),
    ]


async def test_health_status_metrics_and_log_tell_the_same_of_an_application(
    start_server: StartServer, tmp_path: Path
) -> None:
    flags = ("--shutdown-timeout", "5m", "--drain-policy", "/ws/closed=close", "--max-connections", "50")
    server = start_server(*write_application(tmp_path), *flags)
    assert counts(scraped(server))[:3] == [0, 0, 0]
    assert server.http("GET", "/")[0] == 200
    one = await connect(f"{server.ws_url}/ws/a", open_timeout=DEADLINE)
    two = await connect(f"{server.ws_url}/ws/closed", open_timeout=DEADLINE)
    with open_stream(server, "/stream") as stream:
        for client in (one, two):
            await client.send("hello")
            assert await client.recv() == "heard"

        facts = json.loads(wsctl("status", "--json", environ=server.environ).stdout)
        assert facts["connections"] == server.api("GET", "/health")[1]["connections"] == 3
        own = facts["application"]
        assert (own["websockets"], own["responses"]) == (2, 1)
        assert {(each["kind"], each["route"], each["connections"]) for each in own["routes"]} == {
            ("websocket", "/ws/a", 1),
            ("websocket", "/ws/closed", 1),
            ("response", "/stream", 1),
        }
        text = wsctl("status", environ=server.environ).stdout
        assert "connections  3, which take 2 of 50 places" in text
        assert "application  2 WebSockets, 1 response: " in text
        assert counts(scraped(server)) == [3, 2, 1, 1, 0, 0, 0]  # the first request has its answer
        assert complaints(scraped(server).families) == []

        server.signal()
        assert (await closed(two))[0] == 1012
        server.wait_for_line(r"draining.* websockets=2 responses=1")
        assert counts(scraped(server))[:5] == [2, 1, 1, 1, 1]
        assert scraped(server)("wsctl_drain_clients", state="by_policy") == 1
        text = wsctl("status", environ=server.environ).stdout
        assert "2 of 3 connected" in text
        assert "(1 WebSocket, 1 response: " in text
        server.api("POST", "/api/drain", {"timeout": 0})
        assert (await closed(one))[0] == 1012
        while stream.recv(4096):
            pass
    assert server.wait() == 4
    server.wait_for_line(r"drained.* forced=2")


async def test_the_bar_on_a_terminal_shows_kinds_and_routes(environ: dict[str, str], tmp_path: Path) -> None:
    terminal = Terminal([*WSCTL, "serve", "--port", "0", *write_application(tmp_path)], environ, columns=60)
    try:
        screen = await asyncio.to_thread(terminal.wait_for, lambda text: "url=" in text)
        port = re.search(r"url=http://127.0.0.1:(\d+)", screen)
        assert port
        client = await connect(f"ws://127.0.0.1:{port[1]}/ws/a", open_timeout=DEADLINE)
        terminal.type("\x03")
        await asyncio.to_thread(terminal.wait_for, "application: 1 WebSocket: /ws/a 1")
        await client.close()
        assert await asyncio.to_thread(terminal.wait) == 0
    finally:
        terminal.close()


async def test_workers_tell_the_connections_of_all(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server(*write_application(tmp_path), "--workers", "2", "--shutdown-timeout", "0")
    clients = [await connect(f"{server.ws_url}/ws/{n}", open_timeout=DEADLINE) for n in range(6)]
    for client in clients:
        await client.send("hello")
        assert await client.recv() == "heard"
    end = time.monotonic() + DEADLINE
    while (status := server.status())["application"]["websockets"] != 6:
        assert time.monotonic() < end, status
    assert status["connections"] == sum(worker["connections"] for worker in status["workers"]) == 6
    server.signal(signal.SIGTERM)
    for client in clients:
        assert (await closed(client))[0] == 1012
    assert server.wait() == 4
