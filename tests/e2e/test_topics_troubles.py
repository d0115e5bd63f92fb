"""Clients in many topics whose patterns overlap, while everything breaks in turn: none misses, repeats, or
sees what it did not subscribe to, in whichever home the log is."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer, StartStore
from tests.support.cluster import Cluster
from tests.support.generations import Generations
from tests.support.publishers import Publishers
from tests.support.server import DEADLINE, WSCTL, ServerProcess
from tests.support.sizes import Sizes
from tests.support.topic_crowd import TopicCrowd, topic_of
from tests.support.workers import pids, serving, starting_workers, until, workers

pytestmark = pytest.mark.anyio

OUTSIDE, INSIDE, CHANGES = 100, 50, 20
"""Messages a second, published from outside and by clients in turn; and subscriptions that change."""

FLAGS = ("--rate", "0", "--broadcast-interval", "0", "--history", "50000", "--history-bytes", "256m")


class Flow:
    """Messages that flow to a crowd, and subscriptions that change."""

    def __init__(self, crowd: TopicCrowd, publishers: Publishers, between: int) -> None:
        self._crowd = crowd
        self._publishers = publishers
        self._between = between
        self._levels = 0
        self._changing = asyncio.Event()
        self._over = asyncio.Event()
        self._changes = asyncio.create_task(crowd.change(CHANGES, self._changing))
        self._messages = [
            asyncio.create_task(publishers.run(self._over)),
            asyncio.create_task(crowd.talk(INSIDE, self._over)),
        ]

    async def goes_on(self) -> None:
        """Wait until enough more messages have come, and all have seen the last of them for everybody."""
        crowd, seen = self._crowd, len(self._crowd.texts)
        await crowd.until(lambda: len(crowd.texts) >= seen + self._between)
        await self._level()

    async def change_no_more(self) -> None:
        """Let subscriptions be as they are from here on."""
        self._changing.set()
        await self._changes
        await self.goes_on()

    async def end(self) -> dict[str, int]:
        """End it, and judge what all have seen."""
        self._changing.set()
        self._over.set()
        await asyncio.gather(self._changes, *self._messages)
        await self._level()
        never = {t: w for t, w in self._publishers.refused.items() if "may still be delivered" not in w}
        assert not never.keys() & {text for text, _ in self._crowd.texts.values()}
        return self._crowd.judge(self._publishers.accepted)

    async def _level(self) -> None:
        """Wait until all have seen a message that is published now."""
        self._levels += 1
        text = await self._publishers.accept(f"last {self._levels}")
        await self._crowd.level_behind(self._publishers.accepted[text])


@asynccontextmanager
async def flowing(
    folder: Path, publish_at: Callable[[], list[int]], sizes: Sizes, *ports: int, **how: bool
) -> AsyncIterator[Flow]:
    """While messages flow; in the end everybody has seen what it subscribed to, once, and nothing else."""
    async with TopicCrowd(*ports, **how) as crowd:
        await crowd.join(sizes.in_topics)
        flow = Flow(crowd, Publishers(folder, OUTSIDE, publish_at, topic_of), sizes.between)
        await flow.goes_on()
        yield flow
        print(await flow.end(), crowd.silence)


async def test_upgrades_of_one_process(start_server: StartServer, runtime_dir: Path, sizes: Sizes) -> None:
    server = Generations(start_server(*FLAGS))
    try:
        async with flowing(runtime_dir, lambda: [server.pid], sizes, server.port) as flow:
            for _ in range(sizes.rounds):
                outcome = await asyncio.to_thread(server.upgrade)
                moved = outcome["state"], outcome["moved"], outcome["staying"]
                assert moved == ("done", sizes.in_topics, 0), outcome
                await flow.goes_on()
    finally:
        server.kill()


@pytest.fixture
def start_workers(start_server: StartServer, runtime_dir: Path) -> Iterator[StartServer]:
    """Start a parent with two workers; none of its processes is left at the end."""
    with starting_workers(start_server, runtime_dir) as begin:
        yield begin


async def test_upgrades_of_workers(start_workers: StartServer, runtime_dir: Path, sizes: Sizes) -> None:
    server = start_workers(*FLAGS)
    serve = pids(server)
    async with flowing(runtime_dir, lambda: serve, sizes, server.port) as flow:
        for _ in range(sizes.rounds):
            done = await asyncio.to_thread(_upgrade_workers, server)
            assert (done["state"], done["moved"], done["staying"]) == ("done", sizes.in_topics, 0), done
            serve[:] = pids(server)
            await flow.goes_on()


def _upgrade_workers(server: ServerProcess) -> Any:
    status, _ = server.api("POST", "/api/upgrade")
    assert status == 202
    _, end = server.api("GET", "/api/upgrade", deadline=3 * DEADLINE)
    until(lambda: len(serving(server)) == 2, "two that serve")
    return end["upgrade"]


async def test_a_worker_that_is_killed(start_workers: StartServer, runtime_dir: Path, sizes: Sizes) -> None:
    server = start_workers(*FLAGS)
    stays = workers(server)[0]["pid"]
    async with flowing(runtime_dir, lambda: [stays], sizes, server.port, resumes=True) as flow:
        await flow.change_no_more()
        for _ in range(min(sizes.rounds, 2)):
            goes = next(row["pid"] for row in workers(server) if row["number"] == 2)
            os.kill(goes, signal.SIGKILL)
            await asyncio.to_thread(
                until, lambda old=goes: old not in (now := serving(server)) and len(now) == 2, "anew"
            )
            await flow.goes_on()


async def test_two_nodes_whose_redis_is_away_and_which_restart(
    start_server: StartServer, start_store: StartStore, runtime_dir: Path, sizes: Sizes
) -> None:
    store = start_store()
    flags = [*FLAGS, "--shutdown-timeout", "3", "--reconnect-window", "1"]
    cluster = Cluster(start_server, store.url, *flags)
    cluster.grow(2)
    ports = [node.port for node in cluster.nodes]

    def restart(n: int) -> None:
        cluster.nodes[n].stop()
        cluster.nodes[n] = cluster.start(port=ports[n])

    serve = lambda: [node.pid for node in cluster.nodes]  # noqa: E731
    async with flowing(runtime_dir, serve, sizes, *ports, resumes=True) as flow:
        await flow.change_no_more()
        await asyncio.to_thread(store.kill)
        await asyncio.sleep(sizes.pause)
        await asyncio.to_thread(store.restart)
        await flow.goes_on()
        if sizes.rounds > 1:
            await asyncio.to_thread(store.stop_process)
            await asyncio.sleep(sizes.stopped)
            await asyncio.to_thread(store.go_on)
            await flow.goes_on()
        for n in range(min(sizes.rounds, 2)):
            await asyncio.to_thread(restart, n)
            await flow.goes_on()


async def test_upgrades_of_two_nodes_with_redis(
    start_server: StartServer, start_store: StartStore, runtime_dir: Path, sizes: Sizes
) -> None:
    store = start_store()
    cluster = Cluster(start_server, store.url, *FLAGS)
    nodes = [Generations(cluster.add()) for _ in range(2)]
    ports = [node.port for node in nodes]
    try:
        async with flowing(runtime_dir, lambda: [n.pid for n in nodes], sizes, *ports) as flow:
            for n in range(sizes.rounds):
                outcome = await asyncio.to_thread(nodes[n % 2].upgrade)
                assert (outcome["state"], outcome["staying"]) == ("done", 0), outcome
                await flow.goes_on()
    finally:
        for node in nodes:
            node.kill()


async def test_a_server_with_a_journal_that_is_killed(
    start_server: StartServer, runtime_dir: Path, tmp_path: Path, sizes: Sizes
) -> None:
    flags = (*FLAGS, "--journal", str(tmp_path / "journal"))
    servers = [start_server(*flags)]
    port = servers[0].port

    def restart() -> None:
        os.kill(servers[-1].pid, signal.SIGKILL)
        servers[-1].process.wait(DEADLINE)
        servers.append(start_server(*flags, command=(*WSCTL, "serve", "--port", str(port))))

    serve = lambda: [servers[-1].pid]  # noqa: E731
    async with flowing(runtime_dir, serve, sizes, port, resumes=True) as flow:
        await flow.change_no_more()
        for _ in range(min(sizes.rounds, 2)):
            await asyncio.to_thread(restart)
            await flow.goes_on()
