"""What a hostile or broken peer can do: it harms itself only, and leaves no traceback."""

import asyncio
import contextlib
import json
import resource
import select
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import StartServer
from tests.e2e.ways import Way, embedded, module
from tests.support import frames
from tests.support.clients import closed, join, receive_type
from tests.support.fastapi_application import NAME
from tests.support.hostile import FRAMES, HEADS, status_of
from tests.support.raw import RawClient, handshake, heard, masked
from tests.support.server import DEADLINE, ServerProcess
from wsctl.frame import CLOSE, PING, PONG, TEXT

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def server(server: ServerProcess) -> Iterator[ServerProcess]:
    """One that ends well after all that."""
    yield server
    assert server.stop() == 0
    assert server.faults == []


@asynccontextmanager
async def unharmed(server: ServerProcess, *, ends: bool = True) -> AsyncIterator[None]:
    """Another client, before, during and after: it is served all the time, and the log has no traceback."""
    witness = await join(server.ws_url, "witness")
    seen: set[object] = set()
    reading = asyncio.create_task(_read(witness, seen))
    yield
    assert server.http("GET", "/health")[0] == 200
    assert server.api("POST", "/api/broadcast", {"data": "after"})[0] == 200
    await _until(lambda: "after" in seen)
    await witness.close()
    await reading
    assert not ends or await asyncio.to_thread(server.stop) == 0
    assert server.faults == []


async def _read(witness: ClientConnection, seen: set[object]) -> None:
    async for frame in witness:
        seen.add(frames.read(frame).get("data"))


async def publish(server: ServerProcess, size: int) -> None:
    """One broadcast of so many characters."""
    await asyncio.to_thread(server.api, "POST", "/api/broadcast", {"data": "x" * size})


@pytest.mark.parametrize("name", HEADS)
async def test_a_bad_handshake_is_answered_and_closed(server: ServerProcess, name: str) -> None:
    sent, expected = HEADS[name]
    async with unharmed(server, ends=False):
        with RawClient(server.port) as peer:
            await asyncio.to_thread(_send_all, peer, sent)
            answer = await asyncio.to_thread(peer.read_to_end)
        assert status_of(answer) == expected
        assert set(json.loads(answer.partition(b"\r\n\r\n")[2])["error"]) == {"code", "message"}


def _send_all(peer: RawClient, data: bytes) -> None:
    # It may be answered and closed before everything has been sent.
    with contextlib.suppress(ConnectionResetError, BrokenPipeError):
        peer.send(data)


@pytest.mark.parametrize(
    "name",
    ["server\ufe0f", "\u3164", "\uff53\uff45\uff52\uff56\uff45\uff52", "\u0455erver"],
    ids=["a variation selector", "a blank letter", "full width", "Cyrillic"],
)
async def test_an_id_that_looks_like_another_is_refused(server: ServerProcess, name: str) -> None:
    async with unharmed(server, ends=False):
        with RawClient(server.port) as peer:
            peer.send(handshake(f"/ws/{quote(name)}"))
            answer = await asyncio.to_thread(peer.read_head)
    assert status_of(answer) == 400


async def test_a_head_cut_into_bytes_is_bounded_too(server: ServerProcess) -> None:
    async with unharmed(server, ends=False):
        with RawClient(server.port) as peer:
            data = handshake("/ws/x", *(f"X-{n}: {'a' * 200}" for n in range(90)))
            for at in range(0, len(data), 1000):
                await asyncio.to_thread(_send_all, peer, data[at : at + 1000])
            assert status_of(await asyncio.to_thread(peer.read_to_end)) == 431


async def test_a_hundred_headers_and_a_long_head_are_still_fine(server: ServerProcess) -> None:
    async with unharmed(server, ends=False):
        with RawClient(server.port) as peer:
            peer.send(handshake("/ws/x", *(f"X-{n}: {'a' * 150}" for n in range(95))))
            assert status_of(await asyncio.to_thread(peer.read_head)) == 101


async def test_a_server_that_ends_while_a_refused_peer_lingers_ends_well(start_server: StartServer) -> None:
    server = start_server()
    with contextlib.ExitStack() as peers:
        for sent, _ in HEADS.values():
            peer = peers.enter_context(RawClient(server.port))
            await asyncio.to_thread(_send_all, peer, sent)
            await asyncio.to_thread(peer.read_head)
        assert await asyncio.to_thread(server.stop) == 0
    assert server.faults == []


async def test_a_head_that_is_not_complete_in_time_is_given_up(server: ServerProcess) -> None:
    async with unharmed(server, ends=False):
        with RawClient(server.port) as silent, RawClient(server.port) as half:
            began = time.monotonic()
            half.send(b"GET /ws/x HTTP/1.1\r\nHost: x\r\n")
            for peer in (silent, half):
                answer = await asyncio.to_thread(peer.read_to_end)
                assert status_of(answer) == 408
                assert 9 < time.monotonic() - began < 15


@pytest.mark.parametrize("name", FRAMES)
async def test_a_bad_frame_is_answered_with_its_close_code(server: ServerProcess, name: str) -> None:
    sent, expected = FRAMES[name]
    async with unharmed(server, ends=False):
        with RawClient(server.port) as peer:
            client_id = name.replace(" ", "-")
            peer.join(client_id)
            await asyncio.to_thread(_send_all, peer, sent)
            peer.finish()  # or the server would wait ten seconds for the answer to its close frame
            await asyncio.to_thread(peer.read_to_end)
        found = await asyncio.to_thread(
            server.wait_for_line, rf"disconnected client_id={client_id} .*code=(\d+) reason=(\S+)"
        )
        assert int(found.group(1)) == expected
        assert found.group(2) != '""'


async def test_the_close_frame_of_a_violation_arrives(server: ServerProcess) -> None:
    async with unharmed(server, ends=False):
        bob = await join(server.ws_url, "bob")
        await bob.send(b"binary")
        assert await closed(bob) == (1003, "binary frames are not accepted: send text")


async def test_above_its_rate_a_client_is_told_and_others_are_not(start_server: StartServer) -> None:
    server = start_server("--rate", "5/s:10")
    async with unharmed(server):
        bob = await join(server.ws_url, "bob")
        for n in range(30):
            await bob.send(str(n))
        told = await receive_type(bob, "error")
        assert told["code"] == "rate_limited"
        assert server.status()["messages"]["received"] < 15
        await bob.close()


async def test_with_publishing_off_a_client_is_told_so(start_server: StartServer) -> None:
    server = start_server("--no-client-publish")
    async with unharmed(server):
        bob = await join(server.ws_url, "bob")
        await bob.send("hello")
        assert (await receive_type(bob, "error"))["code"] == "publish_disabled"
        await bob.close()


async def test_when_full_the_next_client_gets_503_and_retry_after(start_server: StartServer) -> None:
    server = start_server("--max-connections", "2")
    async with unharmed(server):
        bob = await join(server.ws_url, "bob")
        for _ in range(20):
            with RawClient(server.port) as peer:
                peer.send(handshake("/ws/eve"))
                answer = await asyncio.to_thread(peer.read_to_end)
                assert status_of(answer) == 503
                assert b"\r\nretry-after: 5\r\n" in answer
        await bob.close()
        await _until(lambda: server.status()["connections"] == 1)
        eve = await join(server.ws_url, "eve")
        await eve.close()
    assert len([line for line in server.lines if "full" in line]) <= 2


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not await asyncio.to_thread(true):
            await asyncio.to_thread(select.select, [], [], [], 0.02)


def few_files() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))


async def test_idle_connections_cannot_take_the_operators_descriptors(start_server: StartServer) -> None:
    server = start_server(preexec_fn=few_files)
    async with unharmed(server):
        assert server.status()["capacity"] == 36
        peers = [RawClient(server.port) for _ in range(200)]
        await _until(lambda: any("full" in line for line in server.lines))
        assert server.status()["connections"] == 1
        for peer in peers:
            peer.socket.close()
        assert len(server.lines) < 20


async def test_out_of_descriptors_it_goes_on_serving_and_does_not_spin(start_server: StartServer) -> None:
    linux()
    server = start_server()
    async with unharmed(server):
        bob = await join(server.ws_url, "bob")
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (24, 24))
        used, began = _cpu_seconds(server.pid), time.monotonic()
        peers = [RawClient(server.port) for _ in range(100)]
        for n in range(20):
            await bob.send(str(n))
            assert (await receive_type(bob, "message"))["data"] == str(n)
            await asyncio.to_thread(select.select, [], [], [], 0.1)
        assert _cpu_seconds(server.pid) - used < (time.monotonic() - began) / 2
        for peer in peers:
            peer.socket.close()
        await bob.close()
        assert len(server.lines) < 20


def linux() -> None:
    """What the test does to the process from outside, only Linux can."""
    if not hasattr(resource, "prlimit"):
        pytest.skip("needs prlimit and /proc, which Linux has")


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_a_reader_for_whom_too_much_waits_is_cut(start_server: StartServer) -> None:
    server = start_server("--max-queue", "256k")
    async with unharmed(server):
        with RawClient(server.port, receive_buffer=4096) as slow:
            slow.join("slow")
            async with asyncio.timeout(DEADLINE):
                while not any("code=1013" in line for line in server.lines):
                    await publish(server, 60_000)
                    waiting = [c["waiting_bytes"] for c in server.status()["clients"]]
                    assert max(waiting) <= 256 * 1024
                    if server.status()["connections"] == 1:
                        break
            slow.finish()
            data = await asyncio.to_thread(slow.read_to_end)
        assert b"too slow: more than 262144 bytes waited" in data[-200:]


async def test_a_reader_that_stalls_is_cut_after_ten_seconds(start_server: StartServer) -> None:
    server = start_server("--max-queue", "64m")
    async with unharmed(server):
        with RawClient(server.port, receive_buffer=4096) as slow:
            slow.join("slow")
            earliest = time.monotonic()
            while not any(c["waiting_bytes"] for c in server.status()["clients"]):
                earliest = time.monotonic()
                await publish(server, 60_000)
            began = time.monotonic()
            await _until(lambda: server.status()["connections"] == 1)
            ended = time.monotonic()
            assert ended - earliest > 9
            assert ended - began < 14
            slow.finish()
            data = await asyncio.to_thread(slow.read_to_end)
        assert b"too slow: nothing was read for 10 seconds" in data[-200:]


@pytest.mark.parametrize("full", [False, True], ids=["idle", "with a full buffer"])
async def test_a_peer_that_vanished_is_cut_by_keepalive(start_server: StartServer, full: bool) -> None:
    server = start_server("--ping-interval", "1", "--ping-timeout", "1", "--max-queue", "64m")
    async with unharmed(server):
        with RawClient(server.port, receive_buffer=4096) as gone:
            if full:
                # What it missed is more than a kernel takes for a peer that reads nothing.
                _, first = server.api("POST", "/api/broadcast", {"data": "first"})
                for _ in range(90):
                    await publish(server, 60_000)
            gone.join(f"gone?since={first['id']}" if full else "gone")
            await asyncio.to_thread(server.wait_for_line, "client_id=gone .*code=1006 .*ping")


async def test_an_oversized_request_body_is_refused(server: ServerProcess) -> None:
    async with unharmed(server, ends=False):
        status, answer = server.api("POST", "/api/broadcast", {"data": "x" * 200_000})
        assert (status, answer["error"]["code"]) == (413, "too_big")
        for body in (b"", b"{", b"[]", b'{"data":1,"more":2}', b'{"data":NaN}', b"\xff", b"[" * 10_000):
            status, answer = server.api("POST", "/api/broadcast", body)
            assert (status, answer["error"]["code"]) == (400, "bad_request"), body
        status, answer = server.api("POST", "/api/broadcast", {"data": 1, "to": ["-"]})
        assert (status, answer["error"]["code"]) == (400, "bad_request")
        assert server.api("POST", "/api/broadcast", {"data": "\ud800"})[0] in (200, 400)


@pytest.mark.parametrize("path", ["/api/broadcast", "/api/drain"])
async def test_who_hangs_up_in_the_middle_of_a_body_is_no_news(start_server: StartServer, path: str) -> None:
    server = start_server(env={"WSCTL_TOKEN": "secret"})
    async with unharmed(server):
        for _ in range(20):
            with RawClient(server.port) as peer:
                head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n"
                peer.send(f"{head}Expect: 100-continue\r\nContent-Length: 100\r\n\r\n".encode())
                # The body is being waited for.
                assert status_of(await asyncio.to_thread(peer.read_head)) == 100
                peer.send(b'{"data":')
        assert server.status()["drain"] is None


async def test_an_id_cannot_forge_a_log_line(start_server: StartServer) -> None:
    server = start_server("--access-log", "--log-level", "debug")
    async with unharmed(server):
        with RawClient(server.port) as peer:
            peer.send(
                b"GET /x%0a2026-01-01T00:00:00Z%20INFO%20forged%1b[2J HTTP/1.1\r\nHost: localhost\r\n\r\n"
            )
            assert status_of(await asyncio.to_thread(peer.read_head)) == 404
        bob = await join(server.ws_url, "b%C2%B7ob".replace("%C2%B7", "@"))
        await bob.close(reason="x\n2026-01-01T00:00:00Z INFO forged")
        await asyncio.to_thread(server.wait_for_line, "disconnected client_id=b@ob")
    assert not [line for line in server.lines if line.startswith("2026-01-01") or "\x1b" in line]


async def test_who_only_answers_pings_can_still_send_when_it_has_something_to_say(
    start_server: StartServer,
) -> None:
    server = start_server("--rate", "0.001/s:1", "--ping-interval", "0.1", "--broadcast-interval", "0")
    with RawClient(server.port) as bob:
        await asyncio.to_thread(bob.join, "bob")
        stream, answered = b"", 0
        while answered < 3:
            stream += await asyncio.to_thread(bob.socket.recv, 65536)
            pings = sum(opcode == PING for opcode, _ in heard(stream))
            bob.send(masked(PONG, b"") * (pings - answered))
            answered = pings
        async with await join(server.ws_url, "eve") as eve:
            bob.send(masked(TEXT, b"the first of its life"))
            assert (await receive_type(eve, "message"))["data"] == "the first of its life"


@pytest.mark.parametrize("way", [module, embedded])
async def test_a_message_too_big_is_refused_before_it_has_come(start_server: StartServer, way: Way) -> None:
    server = way(start_server, "--max-message-size", "64k", "--broadcast-interval", "0")
    unfinished = [
        b"\x81\xff" + (8 << 20).to_bytes(8) + bytes(4),
        masked(TEXT, bytes(40_000), fin=False) + masked(0, bytes(40_000), fin=False),
    ]
    for n, data in enumerate(unfinished):
        with RawClient(server.port) as client:
            await asyncio.to_thread(client.join, f"c{n}")
            client.send(data)
            *_, (opcode, payload) = heard(await asyncio.to_thread(client.read_to_end))
            assert (opcode, payload[:2]) == (CLOSE, (1009).to_bytes(2))
    async with await join(server.ws_url, "bob") as bob:
        await bob.send("x" * 65536)
        assert len((await receive_type(bob, "message"))["data"]) == 65536


READ_AHEAD = 8 << 20
"""Bytes, far more than the server reads ahead, and than what the kernel keeps of both sides."""


@pytest.mark.parametrize(
    ("flags", "target"), [((), "/publish?id=eager"), ((NAME,), "/length")], ids=["own routes", "application"]
)
async def test_requests_whose_turn_has_not_come_are_not_read_into_memory(
    start_server: StartServer, flags: tuple[str, ...], target: str
) -> None:
    server = start_server(*flags)
    head = (
        f"POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n\r\n"
    )
    many, sent, answers = memoryview((head.encode() + b"x") * 20_000), 0, 0
    with RawClient(server.port) as peer:
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 16)
        peer.socket.setblocking(False)
        while answers < 60:
            await asyncio.sleep(0.001)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += peer.socket.send(many[sent % len(many) :])
                    assert sent < READ_AHEAD
            with contextlib.suppress(BlockingIOError):
                answers += peer.socket.recv(1 << 16).count(b"HTTP/1.1 ")
