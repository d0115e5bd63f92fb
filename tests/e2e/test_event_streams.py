"""Event streams of real servers, read by hand and by an HTTP client."""

import asyncio
import json
import ssl
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from httpx_sse import aconnect_sse

from tests.conftest import StartServer, running_workers
from tests.support.clients import join
from tests.support.event_streams import StreamClient, dechunked, messages_of, read_events
from tests.support.generations import Generations
from tests.support.issuer import Issuer, bearer
from tests.support.nginx import NginxProcess
from tests.support.programs import need
from tests.support.raw import RawClient
from tests.support.server import DEADLINE, ServerProcess, wsctl

pytestmark = pytest.mark.anyio

Start = Callable[..., Generations]


@pytest.fixture
def start(start_server: StartServer) -> Iterator[Start]:
    """Start a server that can hand over; none of its processes is left at the end."""
    started: list[Generations] = []

    def begin(*flags: str, **how: Any) -> Generations:
        started.append(Generations(start_server("--broadcast-interval", "0", *flags, **how)))
        return started[-1]

    yield begin
    for server in started:
        server.kill()


async def publish(server: Any, data: object, **more: object) -> str:
    status, answer = await asyncio.to_thread(server.api, "POST", "/api/broadcast", {"data": data, **more})
    assert status == 200, answer
    return str(answer["id"])


@pytest.fixture
def quiet(start_server: StartServer) -> ServerProcess:
    return start_server("--broadcast-interval", "0")


async def test_an_http_client_reads_messages_as_they_are_published(quiet: ServerProcess) -> None:
    async with (
        httpx.AsyncClient(timeout=DEADLINE) as client,
        aconnect_sse(client, "GET", f"{quiet.url}/events/bob") as source,
    ):
        events = source.aiter_sse()
        welcome = await anext(events)
        assert (welcome.event, json.loads(welcome.data)["client_id"]) == ("welcome", "bob")
        message_id = await publish(quiet, {"n": 1})
        message = await anext(events)
        assert (message.event, message.id) == ("message", message_id)
        assert json.loads(message.data)["data"] == {"n": 1}


async def test_a_client_that_comes_back_has_what_it_missed(quiet: ServerProcess) -> None:
    async with StreamClient.connect(quiet.port, "/events/bob") as bob:
        await publish(quiet, 1)
        assert await bob.messages(1) == [1]
        last = bob.last_id
    for n in (2, 3):
        await publish(quiet, n)
    async with StreamClient.connect(quiet.port, "/events/bob", Last_Event_ID=last) as bob:
        await publish(quiet, 4)
        assert await bob.messages(3) == [2, 3, 4]
        assert (await bob.event("welcome"))["recovered"] is True


async def test_http_1_0_reads_a_stream_without_chunks(quiet: ServerProcess) -> None:
    async with StreamClient.connect(quiet.port, "/events/bob", version="1.0") as bob:
        await publish(quiet, 1)
        assert await bob.messages(1) == [1]
        assert "transfer-encoding" not in bob.headers


async def test_a_half_read_request_is_waited_for_and_a_pipelined_one_is_not_answered(
    quiet: ServerProcess,
) -> None:
    behind = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    async with StreamClient.connect(quiet.port, "/events/bob", behind=behind) as bob:
        await publish(quiet, 1)
        assert await bob.messages(1) == [1]
        assert bob.text.count(b"HTTP/1.1") == 0

    def in_parts() -> bytes:
        with RawClient(quiet.port) as client:
            client.send(b"GET /events/eve HTTP/1.1\r\nHost: 127.0.0")
            client.send(b".1\r\n\r\n")
            return client.read_head()

    assert b" 200 OK" in await asyncio.to_thread(in_parts)


async def test_a_stream_behind_a_request_with_an_answer_is_one(quiet: ServerProcess) -> None:
    def pipelined() -> tuple[bytes, bytes]:
        with RawClient(quiet.port) as client:
            head = f"Host: 127.0.0.1:{quiet.port}\r\n\r\n"
            first = f"GET /health/live HTTP/1.1\r\n{head}GET /events/bob HTTP/1.1\r\n{head}"
            client.send(first.encode())
            one = client.read_head()
            while not one.endswith(b"\r\n\r\nHTTP/1.1 200 OK\r\n") and b"event-stream" not in one:
                one += client.socket.recv(1)
            return one, client.read_head()

    one, two = await asyncio.to_thread(pipelined)
    assert one.count(b"HTTP/1.1 200 OK") == 2
    assert b"chunked" in two


async def test_a_client_that_ends_its_side_has_left(quiet: ServerProcess) -> None:
    async with StreamClient.connect(quiet.port, "/events/bob") as bob:
        await bob.event("welcome")
        bob.finish()
        await bob.end()
    await asyncio.to_thread(quiet.wait_for_line, "disconnected.*client_id=bob")
    assert quiet.status()["connections"] == 0


async def test_a_newer_connection_takes_its_id_and_the_older_one_is_told_to_stay_away(
    quiet: ServerProcess,
) -> None:
    async with StreamClient.connect(quiet.port, "/events/bob") as first:
        await first.event("welcome")
        async with StreamClient.connect(quiet.port, "/events/bob") as second:
            await second.event("welcome")
            await first.end()
            assert (first.is_whole, first.last_id) == (True, "final")
            assert json.loads(first.events[-1].data)["code"] == 4501
    async with StreamClient.connect(quiet.port, "/events/bob", Last_Event_ID="final") as third:
        assert (third.status, await third.end()) == (204, b"")


async def test_head_and_options_connect_nobody(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--allow-origin", "https://app.example")
    origin = {"Origin": "https://app.example"}
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        head = await client.head("/events/bob", headers=origin)
        assert (head.status_code, head.headers["content-type"]) == (200, "text/event-stream")
        assert head.headers["access-control-allow-origin"] == "https://app.example"
        preflight = await client.options(
            "/events/bob", headers=origin | {"Access-Control-Request-Method": "GET"}
        )
        assert preflight.status_code == 204
        assert preflight.headers["access-control-allow-methods"] == "GET"
        assert "last-event-id" in preflight.headers["access-control-allow-headers"]
        foreign = await client.options("/events/bob", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in foreign.headers
        assert (await client.post("/events/bob")).status_code == 405
    assert "connected client_id" not in "\n".join(server.lines)


async def test_a_drain_asks_each_stream_to_come_back_and_ends_it_then(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--reconnect-window", "2")
    async with StreamClient.connect(server.port, "/events/bob") as bob:
        await bob.event("welcome")
        server.signal()
        notice = await bob.event("shutdown")
        assert 0 <= notice["reconnect_in_s"] <= 2
        await bob.end()
        assert bob.is_whole
        assert json.loads(bob.events[-1].data)["code"] == 1012
        assert bob.retry is not None
        assert 500 <= bob.retry <= 1500
    assert await asyncio.to_thread(server.wait) == 0


async def test_while_a_server_drains_a_new_stream_is_sent_away(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--shutdown-timeout", "30")
    async with StreamClient.connect(server.port, "/events/bob") as bob:
        await bob.event("welcome")
        server.signal()
        await bob.event("shutdown")
        async with StreamClient.connect(server.port, "/events/eve") as eve:
            await eve.end()
            assert [event.type for event in eve.events] == ["shutdown", "close"]
            assert eve.is_whole


async def test_an_open_stream_goes_on_in_a_fresh_process(start: Start) -> None:
    server = start()
    async with (
        StreamClient.connect(server.port, "/events/bob") as bob,
        StreamClient.connect(server.port, "/events/old", version="1.0") as old,
    ):
        await bob.event("welcome")
        await publish(server, 1)
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["state"], outcome["moved"], outcome["staying"]) == ("done", 2, 0), outcome
        await publish(server, 2)
        assert await bob.messages(2) == [1, 2]
        assert await old.messages(2) == [1, 2]
        assert [event.type for event in bob.events] == ["welcome", "message", "message"]


async def test_workers_share_what_streams_get() -> None:
    with running_workers(2, "--broadcast-interval", "0", token="events") as server:
        async with (
            StreamClient.connect(server.port, "/events/a") as a,
            StreamClient.connect(server.port, "/events/b") as b,
        ):
            await a.event("welcome")
            await b.event("welcome")
            await publish(server, 1)
            assert await a.messages(1) == [1]
            assert await b.messages(1) == [1]


async def test_an_upgrade_of_workers_closes_no_stream() -> None:
    secret = {"WSCTL_TOKEN": "events"}
    with running_workers(2, "--broadcast-interval", "0", token="events") as server:
        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(StreamClient.connect(server.port, f"/events/c{n}"))
                for n in range(8)
            ]
            for client in clients:
                await client.event("welcome")
            await publish(server, 1)
            done = await asyncio.to_thread(wsctl, "upgrade", environ=dict(server.environ) | secret)
            assert done.returncode == 0, done
            assert "moved 8, draining 0" in done.stdout
            last = await publish(server, 2)
            for client in clients:
                await client.until(lambda client: client.last_id == last)
                assert messages_of(client.events) == [1, 2]
                assert not client.is_over


async def test_credentials_come_in_a_header_or_by_leave_in_the_address_and_are_asked_for_again(
    start_server: StartServer, tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    server = start_server("--broadcast-interval", "0", "--auth-query", *issuer.flags)
    token, short = issuer.token("bob"), issuer.token("bob", 2.0)
    async with StreamClient.connect(server.port, "/events/bob", **bearer(token)) as bob:
        await bob.event("welcome")
    async with StreamClient.connect(server.port, f"/events/bob?access_token={quote(short)}") as bob:
        await bob.event("welcome")
        await bob.end()
        assert json.loads(bob.events[-1].data)["code"] == 4403
        assert bob.last_id != "final"
    async with StreamClient.connect(server.port, f"/events/bob?access_token={quote(short)}") as bob:
        assert bob.status == 401
        assert bob.headers["www-authenticate"].startswith("Bearer")
    async with StreamClient.connect(server.port, "/events/bob", Cookie=f"access_token={token}") as bob:
        assert bob.status == 401


async def test_a_stream_over_tls_drains_beside_the_successor(
    start: Start, certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    server = start("--ssl-certfile", cert, "--ssl-keyfile", key)
    trusting = ssl.create_default_context(cafile=cert)
    async with StreamClient.connect(server.port, "/events/bob", tls=trusting) as bob:
        await bob.event("welcome")
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["moved"], outcome["staying"]) == (0, 1)
        await publish(server, "to both")
        assert await bob.messages(1) == ["to both"]
        assert "reconnect_in_s" in await bob.event("shutdown")
        await bob.end()
        assert json.loads(bob.events[-1].data)["code"] == 1012
        assert bob.is_whole


async def test_who_subscribes_by_a_stream_is_present_in_a_topic(quiet: ServerProcess) -> None:
    async with StreamClient.connect(quiet.port, "/events/bob?topic=news.*") as bob:
        await bob.event("welcome")
        for topic in ("news.a", "other"):
            await publish(quiet, topic, topic=topic)
        await publish(quiet, "all")
        assert await bob.messages(2) == ["news.a", "all"]
        status, answer = await asyncio.to_thread(quiet.api, "GET", "/api/topics")
        assert status == 200
        assert {row["topic"]: row["subscribers"] for row in answer["topics"]} == {"news.a": 1, "other": 0}


async def test_operators_see_how_many_connections_are_streams(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server("--broadcast-interval", "0", env={"WSCTL_TOKEN": "for-metrics"})
    async with (
        StreamClient.connect(server.port, "/events/bob") as bob,
        StreamClient.connect(server.port, "/events/old", version="1.0") as old,
        await join(server.ws_url, "eve"),
    ):
        await bob.event("welcome")
        await old.event("welcome")
        status = server.status()
        assert (status["connections"], status["streams"]) == (3, 2)
        _, text = server.http("GET", "/metrics", None, bearer("for-metrics"))
        assert b'wsctl_clients{transport="stream"} 2.0' in text
        assert b'wsctl_clients{transport="websocket"} 1.0' in text
        shown = await asyncio.to_thread(wsctl, "status", "--clients", environ=environ)
        assert "streams      2 of the connections" in shown.stdout
        kinds = {line.split()[0]: line.split()[-1] for line in shown.stdout.splitlines()[-3:]}
        assert kinds == {"bob": "stream", "old": "stream", "eve": "websocket"}


BUFFERING = """
server {{
    listen 80;
    location / {{
        proxy_pass http://127.0.0.1:{port};
        proxy_buffering on;
        proxy_cache off;
    }}
}}
"""


async def test_curl_behind_an_nginx_that_buffers_sees_each_message_at_once(
    quiet: ServerProcess, runtime_dir: Path
) -> None:
    need("curl")
    folder = runtime_dir / "nginx"
    folder.mkdir()
    with NginxProcess(BUFFERING.format(port=quiet.port), folder) as nginx:
        nginx.start()
        url = f"http://127.0.0.1:{nginx.port}/events/bob"
        curl = await asyncio.create_subprocess_exec(
            "curl", "--no-buffer", "--silent", url, stdout=asyncio.subprocess.PIPE
        )
        assert curl.stdout
        try:
            async with asyncio.timeout(DEADLINE):
                await curl.stdout.readuntil(b"event: welcome\n")
                for n in range(3):
                    await publish(quiet, n)
                    found = await curl.stdout.readuntil(b"\n\n")
                    while b"event: message" not in found:
                        found = await curl.stdout.readuntil(b"\n\n")
                    assert json.loads(found.partition(b"data: ")[2])["data"] == n
        finally:
            curl.terminate()
            await curl.wait()


async def test_a_slow_reader_is_cut_behind_a_whole_event_and_resumes_where_it_was(
    start_server: StartServer,
) -> None:
    server = start_server("--broadcast-interval", "0", "--max-queue", "100000", "--history-bytes", "64m")

    def join_and_read_nothing() -> RawClient:
        client = RawClient(server.port, receive_buffer=4096)
        client.send(f"GET /events/bob HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n\r\n".encode())
        assert b" 200 " in client.read_head()
        return client

    count = 200
    with await asyncio.to_thread(join_and_read_nothing) as slow:
        for n in range(count):
            await publish(server, [n, "x" * 60_000])
        body, rest = dechunked(await asyncio.to_thread(slow.read_to_end))
    assert rest == b""
    events = read_events(body).events
    assert json.loads(events[-1].data)["code"] == 1013
    seen = [data[0] for data in messages_of(events)]
    assert seen == list(range(len(seen)))
    assert len(seen) < count
    async with StreamClient.connect(server.port, "/events/bob", Last_Event_ID=events[-1].last_id) as bob:
        missed = await bob.messages(count - len(seen))
        assert [data[0] for data in missed] == list(range(len(seen), count))
