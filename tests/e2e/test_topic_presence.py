"""Who subscribes to a topic, and who is told of it: over workers, and while processes are replaced."""

import asyncio
import itertools
import os
import signal
import ssl
from collections.abc import Awaitable, Callable, Iterator, Sequence
from pathlib import Path

import pytest

from tests.conftest import StartServer, running_workers
from tests.support.clients import closed
from tests.support.command_client import CommandClient, join_with_commands
from tests.support.generations import Generations, starting_generations
from tests.support.publishers import send
from tests.support.server import DEADLINE, ServerProcess, wsctl
from tests.support.workers import pids, serving, until, wait_connected

pytestmark = pytest.mark.anyio

Start = Callable[..., Generations]

RESTLESS = 3
"""Clients that come and go all the time."""

PACE = 0.02
"""Seconds between two times that one of them has gone: without a pause they would take all of a core."""


@pytest.fixture(scope="module")
def parent() -> Iterator[ServerProcess]:
    flags = ("--broadcast-interval", "0", "--rate", "0", "--connections-per-id", "2")
    with running_workers(2, *flags, token="secret") as server:
        yield server


@pytest.fixture
def two_workers(parent: ServerProcess) -> ServerProcess:
    """A parent whose two workers serve and have no clients; each test has topics of its own there."""
    until(lambda: len(serving(parent)) == 2, "two that serve")
    wait_connected(parent, 0)
    return parent


@pytest.fixture
def start(start_server: StartServer) -> Iterator[Start]:
    """Start a server that can hand over; none of its processes is left at the end."""
    with starting_generations(start_server) as begin:
        yield begin


async def join_at(server: ServerProcess, number: int, name: str, *topics: str) -> CommandClient:
    """A client that is with a worker of two."""
    other = pids(server)[2 - number]
    os.kill(other, signal.SIGSTOP)
    try:
        return await join_with_commands(server.ws_url, name, *topics)
    finally:
        os.kill(other, signal.SIGCONT)


async def upgrade(server: ServerProcess) -> None:
    done = await asyncio.to_thread(wsctl, "upgrade", environ=server.environ, deadline=2 * DEADLINE)
    assert done.returncode == 0, done


async def test_clients_hear_who_comes_and_goes_at_other_workers_and_no_upgrade_of_them(
    two_workers: ServerProcess,
) -> None:
    server = two_workers
    watcher = await join_at(server, 1, "watcher")
    answer = await watcher.ask("subscribe", topics=["a.b"], events=True)
    assert answer["id"]
    bo = await join_at(server, 2, "bo", "a.*")
    await watcher.hears(("joined", "a.b", "bo"))
    second = await join_at(server, 1, "bo", "a.b", ">")
    await watcher.until_present("a.b", {"watcher": 1, "bo": 2})
    await upgrade(server)
    assert await watcher.presence("a.b") == await bo.presence("a.b") == {"watcher": 1, "bo": 2}
    for pid in pids(server):
        at = Path(server.environ["WSCTL_RUNTIME_DIR"])
        counts = [(await send(at, pid, "x", topic=topic))["recipients"] for topic in ("a.b", "a.c", "d")]
        assert counts == [3, 2, 1]
    await bo.close()
    await second.ask("unsubscribe", topics=["a.b", ">"])
    await watcher.hears(("joined", "a.b", "bo"), ("left", "a.b", "bo"))
    eve = await join_at(server, 2, "eve", "a.b")
    await watcher.hears(("joined", "a.b", "bo"), ("left", "a.b", "bo"), ("joined", "a.b", "eve"))
    assert await watcher.reads(2) == ["x", "x"]
    await asyncio.gather(*(client.close() for client in (watcher, second, eve)))


async def test_clients_of_a_worker_that_was_killed_have_left(two_workers: ServerProcess) -> None:
    server = two_workers
    watcher = await join_at(server, 1, "watcher")
    await watcher.ask("subscribe", topics=["killed"], events=True)
    bo = await join_at(server, 2, "bo", "killed")
    await watcher.hears(("joined", "killed", "bo"))
    os.kill(pids(server)[1], signal.SIGKILL)
    await watcher.hears(("joined", "killed", "bo"), ("left", "killed", "bo"))
    assert await watcher.presence("killed") == {"watcher": 1}
    await asyncio.to_thread(until, lambda: len(serving(server)) == 2, "it serves again")
    again = await join_at(server, 2, "bo", "killed")
    await again.until_present("killed", {"watcher": 1, "bo": 1})
    await asyncio.gather(watcher.close(), again.close(), bo.close())


async def test_the_oldest_of_too_many_connections_is_closed_at_whichever_worker(
    two_workers: ServerProcess,
) -> None:
    server = two_workers
    oldest = await join_at(server, 1, "bo", "many")
    second = await join_at(server, 2, "bo", "many")
    newest = await join_at(server, 2, "bo", "many")
    assert (await closed(oldest.connection))[0] == 4501
    await newest.until_present("many", {"bo": 2})

    def is_counted() -> bool:
        facts = server.status()
        return (facts["connections"], facts["client_ids"]) == (2, 1)

    await asyncio.to_thread(until, is_counted, "the workers have reported them")
    await asyncio.gather(second.close(), newest.close())


async def test_watchers_hear_each_change_once_while_processes_hand_over(start: Start) -> None:
    server = start()
    url = server.first.ws_url
    watcher = await join_with_commands(url, "watcher")
    await watcher.ask("subscribe", topics=["a"], events=True)
    bo = await join_with_commands(url, "bo", "a")
    told = [("joined", "a", "bo")]
    await watcher.hears(*told)
    for n in range(2):
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["state"], outcome["moved"]) == ("done", 2), outcome
        guest = await join_with_commands(url, f"guest{n}", "*")
        await guest.close()
        told += [("joined", "a", f"guest{n}"), ("left", "a", f"guest{n}")]
        await watcher.hears(*told)
        assert await bo.presence("a") == {"watcher": 1, "bo": 1}
    await bo.close()
    await watcher.hears(*told, ("left", "a", "bo"))
    await watcher.close()


async def test_those_who_stay_with_the_old_process_and_those_with_the_new_one_see_each_other(
    start: Start, certificate: tuple[str, str]
) -> None:
    """Connections stay whose TLS ends in the process."""
    cert, key = certificate
    server = start("--ssl-certfile", cert, "--ssl-keyfile", key, "--connections-per-id", "2")
    url, trusting = f"wss://127.0.0.1:{server.port}", ssl.create_default_context(cafile=cert)
    stays = await join_with_commands(url, "stays", ssl=trusting)
    await stays.ask("subscribe", topics=["a"], events=True)
    outcome = await asyncio.to_thread(server.upgrade)
    assert (outcome["state"], outcome["staying"]) == ("done", 1), outcome
    new = await join_with_commands(url, "new", "b", ssl=trusting)
    await new.ask("subscribe", topics=["a"], events=True)
    assert await stays.presence("a") == await new.presence("a") == {"stays": 1, "new": 1}
    await stays.ask("subscribe", topics=["b"])
    again = await join_with_commands(url, "stays", "*", ssl=trusting)
    assert await new.presence("a") == {"stays": 2, "new": 1}
    old, now = server.first.pid, server.pid
    for pid in (old, now):
        for topic, count in (("a", 3), ("b", 3), ("c", 1)):
            body = {"data": "x", "topic": topic}
            assert server.api("POST", "/api/broadcast", body, pid=pid)[1]["recipients"] == count
        to_one = {"data": "y", "topic": "b", "to": ["stays"]}
        assert server.api("POST", "/api/broadcast", to_one, pid=pid)[1]["recipients"] == 2
    assert await new.reads(4) == ["x"] * 4
    assert await stays.reads(6) == ["x", "x", "y"] * 2
    await again.close()
    await stays.ask("unsubscribe", topics=["a"])
    await new.hears(("left", "a", "stays"))
    await stays.hears(("joined", "a", "new"))
    third = await join_with_commands(url, "stays", "c", ssl=trusting)
    fourth = await join_with_commands(url, "stays", "c", ssl=trusting)
    assert (await closed(stays.connection))[0] == 4501
    await asyncio.gather(*(client.close() for client in (new, third, fourth)))


class Watcher:
    """A client that watches a topic, and what it has heard of who is there."""

    def __init__(self, client: CommandClient) -> None:
        self.client = client
        self.there: set[str] = set()
        self._heard = 0

    async def hears(self, there: set[str]) -> None:
        """Wait until it has heard that just these are there; each joined and left by turns."""
        while not await self._is_up_to(there):
            await self.client.receive()

    async def _is_up_to(self, there: set[str]) -> bool:
        told = self.client.told
        for kind, topic, name in told[self._heard :]:
            self._heard += 1
            assert (topic, name in self.there) == ("a", kind == "left"), told[: self._heard]
            self.there ^= {name}
        return self.there == there


async def come_and_go(url: str, name: str, enough: asyncio.Event) -> CommandClient:
    """Subscribe and end that again in each way there is; in the end be there."""
    client = await join_with_commands(url, name)
    for n in itertools.count():
        await client.ask("subscribe", topics=[("a", "*", ">")[n % 3]])
        await client.ask("unsubscribe", topics=["a", "*", ">"])
        guest = await join_with_commands(url, f"guest-of-{name}", "a")
        await guest.close()
        if enough.is_set():
            break
        await asyncio.sleep(PACE)
    await client.ask("subscribe", topics=["*"])
    return client


async def check_upgrades(
    url: str, upgrade: Callable[[], Awaitable[object]], watchers: Sequence[Watcher]
) -> None:
    """Upgrade while clients come and go, of whom all watchers hear."""
    names = [f"c{n}" for n in range(RESTLESS)]
    enough = asyncio.Event()
    restless = [asyncio.create_task(come_and_go(url, name, enough)) for name in names]
    reading = [asyncio.create_task(watcher.hears({*names, "nobody"})) for watcher in watchers]
    await upgrade()
    enough.set()
    clients = await asyncio.gather(*restless)
    for watcher, task in zip(watchers, reading, strict=True):
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled(), task.exception()
        own = watcher.client.client_id
        await watcher.hears({*names, *(other.client.client_id for other in watchers)} - {own})
    assert len(watchers[0].client.told) > RESTLESS
    await asyncio.gather(*(client.close() for client in (*clients, *(w.client for w in watchers))))


async def watch(client: CommandClient) -> Watcher:
    """Let a client watch; it asks who is there already."""
    await client.ask("subscribe", topics=["a"], events=True)
    watcher = Watcher(client)
    watcher.there = set(await client.presence("a")) - {client.client_id}
    return watcher


async def test_watchers_hear_of_each_client_once_that_comes_or_goes_in_an_upgrade(
    start: Start,
) -> None:
    server = start("--rate", "0")
    url = server.first.ws_url
    watchers = [await watch(await join_with_commands(url, f"w{n}")) for n in range(2)]

    async def upgrade() -> None:
        assert (await asyncio.to_thread(server.upgrade))["state"] == "done"

    await check_upgrades(url, upgrade, watchers)


async def test_so_do_watchers_at_all_workers(two_workers: ServerProcess) -> None:
    server = two_workers
    watchers = [await watch(await join_at(server, number, f"w{number}")) for number in (1, 2)]
    await watchers[1].client.until_present("a", {"w1": 1, "w2": 1})
    watchers[1].there = {"w1"}
    watchers[1].client.told.clear()
    await check_upgrades(server.ws_url, lambda: upgrade(server), watchers)
