"""The live handover: a deploy that nobody notices."""

import asyncio
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect, unix_connect

from tests.conftest import StartServer
from tests.support import frames
from tests.support.clients import closed, join, receive, receive_type
from tests.support.crowd import Crowd
from tests.support.generations import Generations, starting_generations
from tests.support.raw import RawClient, handshake, masked
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.supervisor import Supervisor
from wsctl.frame import CLOSE, CONTINUATION, TEXT

pytestmark = pytest.mark.anyio

Start = Callable[..., Generations]


@pytest.fixture
def start(start_server: StartServer) -> Iterator[Start]:
    """Start a server that can hand over; none of its processes is left at the end."""
    with starting_generations(start_server) as begin:
        yield begin


def publish(server: Generations, data: object, *, pid: int | None = None, **more: object) -> Any:
    """Publish through one of the processes."""
    status, answer = server.api("POST", "/api/broadcast", {"data": data, **more}, pid=pid)
    assert status == 200, answer
    return answer


async def upgraded(server: Generations) -> dict[str, Any]:
    outcome = await asyncio.to_thread(server.upgrade)
    assert outcome["state"] == "done", outcome
    return outcome


async def test_an_open_connection_goes_on_in_a_fresh_process(start: Start) -> None:
    server = start()
    async with connect(f"{server.first.ws_url}/ws/alice") as alice:
        first = await receive_type(alice, "welcome")
        publish(server, "one")
        outcome = await upgraded(server)
        assert (outcome["moved"], outcome["staying"], outcome["error"]) == (1, 0, None)
        assert server.first_ended() == 0
        publish(server, "two")
        await alice.send("three")
        assert [(await receive(alice))["data"] for _ in range(3)] == ["one", "two", "three"]
        assert server.status()["connections"] == 1
        # What was said before the handover can be resumed after it.
        async with connect(f"{server.first.ws_url}/ws/bob?since={first['id']}") as bob:
            assert (await receive(bob))["recovered"] is True
            assert [(await receive(bob))["data"] for _ in range(3)] == ["one", "two", "three"]
    server.first.wait_for_line(r"drained.* handed_over=1\b")


async def test_without_any_history_nothing_is_lost_either(start: Start) -> None:
    server = start("--history", "0")
    async with connect(f"{server.first.ws_url}/ws/alice") as alice:
        publishing = asyncio.create_task(asyncio.to_thread(_publish_on, server, 200))
        await upgraded(server)
        count = await publishing
        await receive_type(alice, "welcome")
        assert [(await receive(alice))["data"] for _ in range(count)] == list(range(count))


def _publish_on(server: Generations, count: int) -> int:
    """So many messages through whoever serves."""
    done = 0
    while done < count:
        try:
            status, _ = server.api("POST", "/api/broadcast", {"data": done, "key": f"the {done}th"})
        except OSError:  # that process has just ended, and did not say what it did: the next one is asked
            continue
        done += status == 200
    return done


async def test_the_signal_and_the_command_hand_over_too_and_after_both_an_old_id_is_resumed(
    start: Start, environ: dict[str, str]
) -> None:
    server = start("--history", "3")
    ids = [publish(server, n)["id"] for n in range(4)]
    async with connect(f"{server.first.ws_url}/ws/alice") as alice:
        server.first.signal(signal.SIGUSR2)
        assert await asyncio.to_thread(server.first_ended) == 0
        second = int(server.first.wait_for_line(r"handover done.* successor=(\d+)").group(1))
        server.wait_until_serving(second)
        done = await asyncio.to_thread(wsctl, "upgrade", environ=environ)
        assert done.returncode == 0, done.stderr
        assert re.match(r"upgraded: moved 1, draining 0, longest silence [\d.]+ m?s", done.stdout)
        third = int(re.search(r"pid (\d+) serves", done.stdout).group(1))  # type: ignore[union-attr]
        server.wait_until_serving(third)
        assert server.status()["generation"] == 3
        said = await asyncio.to_thread(wsctl, "broadcast", "hello", environ=environ)
        assert said.returncode == 0, said.stderr
        assert (await receive_type(alice, "message"))["data"] == "hello"
    for since, recovered, data in ((ids[1], True, [2, 3, "hello"]), (ids[0], False, []), ("1-1", False, [])):
        async with connect(f"{server.first.ws_url}/ws/bob?since={since}") as bob:
            assert (await receive(bob))["recovered"] is recovered
            assert [(await receive(bob))["data"] for _ in data] == data


async def test_a_handover_under_way_and_one_of_a_draining_server_are_refused(start: Start) -> None:
    server = start()
    async with connect(f"{server.first.ws_url}/ws/alice"):
        upgrade = server.begin_upgrade()
        again, answer = server.api("POST", "/api/upgrade")
        assert (again, answer["error"]["code"]) == (409, "not_now")
        assert "under way" in answer["error"]["message"]
        assert (await asyncio.to_thread(upgrade.outcome))["state"] == "done"
        server.wait_until_serving(upgrade.outcome()["successor"])
        server.api("POST", "/api/drain", {"timeout": 60})
        refused, answer = server.api("POST", "/api/upgrade")
        assert (refused, answer["error"]["code"]) == (409, "not_now")
        assert "draining" in answer["error"]["message"]


async def test_a_drain_while_the_successor_starts_ends_both(start: Start) -> None:
    server = start(cold=True)  # a forked one has started before the signal comes
    successor = server.begin_upgrade().successor
    server.first.signal()
    assert await asyncio.to_thread(server.first_ended) == 0
    server.wait_gone(successor)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


async def test_what_was_half_sent_at_the_move_a_message_or_a_request_is_taken_whole(start: Start) -> None:
    server = start()
    opening = handshake("/ws/halting")
    async with connect(f"{server.first.ws_url}/ws/alice") as alice:
        with (
            RawClient(server.port) as bob,
            RawClient(server.port) as silent,
            RawClient(server.port) as halting,
        ):
            bob.join("bob")
            text = "".join(chr(97 + n % 26) for n in range(60 * 1024))
            thirds = [text[:20_000], text[20_000:40_000], text[40_000:]]
            bob.send(masked(TEXT, thirds[0].encode(), fin=False))
            middle = masked(CONTINUATION, thirds[1].encode(), fin=False)
            bob.send(middle[:7_000])
            halting.send(opening[:40])
            halt = asyncio.create_task(asyncio.to_thread(_send_later, server, halting, opening[40:]))
            await upgraded(server)
            await halt
            bob.send(middle[7_000:] + masked(CONTINUATION, thirds[2].encode()))
            assert (await receive_type(alice, "message"))["data"] == text
            silent.join("silent")
            assert b" 101 " in halting.read_head()
            assert await asyncio.to_thread(server.first_ended) == 0
            assert server.status()["connections"] == 4


async def test_a_client_with_a_full_outbox_gets_the_rest_from_the_successor(start: Start) -> None:
    server = start("--max-queue", "3m", "--max-message-size", "1m")
    bob = RawClient(server.port, receive_buffer=4096)
    with bob:
        bob.join("bob")
        count = await asyncio.to_thread(_fill, server)
        outcome = await upgraded(server)
        assert (outcome["moved"], outcome["staying"]) == (1, 0)
        publish(server, "last")
        data = await asyncio.to_thread(_read_messages, bob)
    assert data == [*(f"{n} " + "x" * 50_000 for n in range(count)), "last"]


def _read_messages(client: RawClient) -> list[Any]:
    """The data of what a client is sent, up to "last"."""
    buffer, found = bytearray(), []
    while "last" not in found:
        buffer += client.socket.recv(65536)
        while len(buffer) >= 4:
            size = buffer[1]
            head = {126: 4, 127: 10}.get(size, 2)
            size = size if head == 2 else int.from_bytes(buffer[2:head])
            if len(buffer) < head + size:
                break
            frame = frames.read(bytes(buffer[head : head + size]))
            del buffer[: head + size]
            if frame["type"] == "message":
                found.append(frame["data"])
    return found


def _fill(server: Generations) -> int:
    """Publish until more than two megabytes wait for the client."""
    count = 0
    while server.api("GET", "/api/status?clients=true")[1]["clients"][0]["waiting_bytes"] < 2 << 20:
        publish(server, f"{count} " + "x" * 50_000)
        count += 1
    return count


async def test_those_who_are_behind_and_read_get_each_byte_once(start: Start) -> None:
    # Small buffers on both sides, so that the kernel takes more at every moment of the move.
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 << 10)
        listening.bind(("127.0.0.1", 0))
        fd = listening.fileno()
        flags = ("--fd", str(fd), "--max-queue", "3m", "--max-message-size", "1m")
        server = start(*flags, command=(*WSCTL, "serve"), pass_fds=[fd])
    readers = [RawClient(server.port, receive_buffer=8 << 10) for _ in range(60)]
    try:
        for n, client in enumerate(readers):
            client.join(f"c{n}")
        for n in range(12):
            publish(server, f"{n} " + "x" * 20_000)
        upgrade = server.begin_upgrade()
        await asyncio.to_thread(server.first.wait_for_line, "handover moving")
        reading = asyncio.gather(*(asyncio.to_thread(_read_messages, client) for client in readers))
        outcome = await asyncio.to_thread(upgrade.outcome)
        assert (outcome["state"], outcome["moved"]) == ("done", len(readers))
        server.wait_until_serving(outcome["successor"])
        publish(server, "last")
        expected = [*(f"{n} " + "x" * 20_000 for n in range(12)), "last"]
        assert all(data == expected for data in await reading)
    finally:
        for client in readers:
            client.socket.close()


async def test_who_is_too_far_behind_stays_and_resumes_at_the_successor(start: Start) -> None:
    server = start("--max-queue", "64m", "--max-message-size", "1m")
    first = publish(server, "first")
    with RawClient(server.port, receive_buffer=4096) as bob:
        bob.join("bob")
        while server.api("GET", "/api/status?clients=true")[1]["clients"][0]["waiting_bytes"] <= 4 << 20:
            publish(server, "x" * 900_000)
        outcome = await upgraded(server)
        assert (outcome["moved"], outcome["staying"]) == (0, 1)
        assert server.status(server.first.pid)["status"] == "draining"
    assert await asyncio.to_thread(server.first_ended) == 0
    async with connect(f"{server.first.ws_url}/ws/bob?since={first['id']}", max_size=None) as again:
        assert (await receive(again))["recovered"] is True
        assert (await receive(again))["data"] == "x" * 900_000


async def test_who_closes_just_then_is_answered(start: Start) -> None:
    server = start()
    leavers = [RawClient(server.port) for _ in range(300)]
    for n, client in enumerate(leavers):
        client.join(f"c{n}")
    upgrade = server.begin_upgrade()
    for client in leavers:
        client.send(masked(CLOSE, (1000).to_bytes(2)))
        await asyncio.sleep(0.005)
    outcome = await asyncio.to_thread(upgrade.outcome)
    assert outcome["state"] == "done"
    server.wait_until_serving(outcome["successor"])
    ends = [await asyncio.to_thread(client.read_to_end) for client in leavers]
    assert all(end.endswith(b"\x88\x02\x03\xe8") for end in ends)
    assert server.status()["connections"] == 0
    for client in leavers:
        client.socket.close()


async def test_nobody_who_connects_meanwhile_is_refused(start: Start) -> None:
    server = start()
    over = asyncio.Event()
    connected = 0

    async def come_and_go(name: str) -> None:
        nonlocal connected
        while not over.is_set():
            client = await join(server.first.ws_url, f"{name}{connected}")
            connected += 1
            await client.send("here")
            assert (await receive_type(client, "message"))["data"] == "here"
            await client.close()

    comers = [asyncio.create_task(come_and_go(name)) for name in "abcd"]
    for _ in range(2):
        await upgraded(server)
    over.set()
    await asyncio.gather(*comers)
    assert connected > 20


def _send_later(server: Generations, client: RawClient, rest: bytes) -> None:
    """Send the rest when the move has begun."""
    server.first.wait_for_line("handover moving")
    client.send(rest)


async def test_on_a_unix_socket_too(start: Start, runtime_dir: Path) -> None:
    path = runtime_dir / "s"
    server = start("--uds", str(path), serving=r"url=unix:(\S+)")
    async with unix_connect(str(path), "ws://localhost/ws/alice") as alice:
        await upgraded(server)
        assert await asyncio.to_thread(server.first_ended) == 0
        publish(server, "moved")
        assert (await receive_type(alice, "message"))["data"] == "moved"
        async with unix_connect(str(path), "ws://localhost/ws/bob") as bob:
            assert (await receive(bob))["type"] == "welcome"


class Encrypted:
    """A server that ends TLS itself, so that its clients cannot move."""

    def __init__(self, start: Start, certificate: tuple[str, str], *flags: str) -> None:
        cert, key = certificate
        self.server = start("--ssl-certfile", cert, "--ssl-keyfile", key, *flags)
        self.trusting = ssl.create_default_context(cafile=cert)

    def connect(self, client_id: str) -> connect:
        url = f"wss://127.0.0.1:{self.server.port}/ws/{client_id}"
        return connect(url, ssl=self.trusting, proxy=None, compression=None)


async def test_who_cannot_move_drains_beside_the_successor_and_hears_everything(
    start: Start, certificate: tuple[str, str]
) -> None:
    tls = Encrypted(start, certificate)
    server = tls.server
    async with tls.connect("alice") as alice:
        first = await receive_type(alice, "welcome")
        outcome = await upgraded(server)
        assert (outcome["moved"], outcome["staying"]) == (0, 1)
        told = await receive_type(alice, "shutdown")
        assert 0 <= told["reconnect_in_s"] <= 10
        refused, answer = server.api("POST", "/api/upgrade")
        assert refused == 409
        assert "the process before this one still drains" in answer["error"]["message"]
        old, new = server.status(server.first.pid), server.status()
        assert (old["status"], old["connections"], old["generation"]) == ("draining", 1, 1)
        assert (new["status"], new["connections"], new["generation"]) == ("serving", 0, 2)
        async with tls.connect("bob") as bob:
            assert (await receive(bob))["type"] == "welcome"
            # From either process and either client, to both.
            assert publish(server, 1)["recipients"] == 2
            assert publish(server, 2, pid=server.first.pid)["recipients"] == 2
            await alice.send("3")
            assert (await receive_type(bob, "message"))["data"] == 1
            await bob.send("4")
            assert publish(server, "for alice", to=["alice"])["recipients"] == 1
            assert publish(server, "for bob", to=["bob"], pid=server.first.pid)["recipients"] == 1
            heard = {}
            for name, client in (("alice", alice), ("bob", bob)):
                heard[name] = [
                    await receive_type(client, "message") for _ in range(5 if name == "alice" else 4)
                ]
            assert [m["data"] for m in heard["alice"]][:2] == [1, 2]
            assert {m["data"] for m in heard["alice"]} == {1, 2, "3", "4", "for alice"}
            assert {m["data"] for m in heard["bob"]} == {2, "3", "4", "for bob"}
            both = [[m["id"] for m in heard[name] if "to" not in m] for name in ("alice", "bob")]
            assert both[0][1:] == both[1]
        await alice.close()
    assert await asyncio.to_thread(server.first_ended) == 0
    async with tls.connect(f"alice?since={first['id']}") as alice:
        assert (await receive(alice))["recovered"] is True
        assert [(await receive(alice))["data"] for _ in range(5)] == [m["data"] for m in heard["alice"]]


async def test_a_newer_connection_at_the_successor_replaces_the_one_that_stayed(
    start: Start, certificate: tuple[str, str]
) -> None:
    tls = Encrypted(start, certificate)
    async with tls.connect("alice") as older:
        await upgraded(tls.server)
        async with tls.connect("alice") as newer:
            assert (await closed(older))[0] == 4501
            assert await asyncio.to_thread(tls.server.first_ended) == 0
            publish(tls.server, "only one")
            assert (await receive_type(newer, "message"))["data"] == "only one"


async def test_when_the_successor_dies_later_those_who_stayed_go_on(
    start: Start, certificate: tuple[str, str]
) -> None:
    tls = Encrypted(start, certificate)
    server = tls.server
    async with tls.connect("alice") as alice, tls.connect("bob") as bob:
        await upgraded(server)
        os.kill(server.pid, signal.SIGKILL)
        server.first.wait_for_line("the successor is gone")
        await alice.send("still")
        assert (await receive_type(bob, "message"))["data"] == "still"
        publish(server, "here", pid=server.first.pid)
        assert (await receive_type(alice, "message"))["data"] == "still"
        assert (await receive_type(alice, "message"))["data"] == "here"
        # Its address is free for whoever is started next.
        server.wait_gone(server.pid)
        await asyncio.to_thread(_wait_until_refused, server.port)


def _wait_until_refused(port: int) -> None:
    """Wait until nobody listens: the kernel takes a killed process apart in its own time."""
    until = time.monotonic() + DEADLINE
    while True:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return
        assert time.monotonic() < until, "somebody listens"
        time.sleep(0.01)


async def test_who_comes_late_to_the_old_process_is_the_newer_one(start: Start) -> None:
    server = start()
    opening = handshake("/ws/alice")
    async with connect(f"{server.first.ws_url}/ws/alice") as older, Crowd(server.port) as crowd:
        await crowd.join(500)
        with RawClient(server.port) as newer:
            newer.send(opening[:30])
            late = asyncio.create_task(asyncio.to_thread(_send_later, server, newer, opening[30:]))
            await upgraded(server)
            await late
            assert (await closed(older))[0] == 4501
            assert b" 101 " in newer.read_head()
            publish(server, "to the newer one", to=["alice"])
            data = b""
            while b"to the newer one" not in data:
                data += newer.socket.recv(65536)


async def test_systemd_is_told_of_the_new_main_process(start: Start, runtime_dir: Path) -> None:
    with Supervisor(str(runtime_dir / "notify")) as systemd:
        server = start(env={"NOTIFY_SOCKET": str(runtime_dir / "notify")})
        systemd.hear_one("READY=1")
        async with connect(f"{server.first.ws_url}/ws/alice"):
            outcome = await upgraded(server)
            assert any(line.startswith("MONOTONIC_USEC=") for line in systemd.hear_one("RELOADING=1"))
            said = [systemd.hear_one("READY=1"), systemd.hear_one("READY=1")]
            # Only the first process is believed until it has named the second.
            assert sum(f"MAINPID={outcome['successor']}" in lines for lines in said) == 1
        assert await asyncio.to_thread(server.first_ended) == 0
        assert not any("STOPPING=1" in lines for lines in systemd.heard())


async def test_what_stops_the_server_while_it_moves_stops_its_successor(start: Start) -> None:
    server = start()
    async with Crowd(server.port) as crowd:
        await crowd.join(1000)
        upgrade = server.begin_upgrade()
        await asyncio.to_thread(server.first.wait_for_line, "handover moving")
        server.first.signal()
        outcome = await asyncio.to_thread(upgrade.outcome)
        server.first.wait_for_line("draining reason=SIGTERM active=1000")
        assert await asyncio.to_thread(server.first_ended) == 0
        assert server.status(outcome["successor"])["drain"]["reason"] == "SIGTERM"
