"""Three servers that share a Redis, a crowd that resumes, and everything that may break, in turn."""

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import uvloop

from tests.conftest import StartServer, StartStore
from tests.support.cluster import Cluster
from tests.support.crowd import Crowd
from tests.support.publishers import Publishers
from tests.support.sizes import Sizes
from tests.support.store import StoreProcess

OUTSIDE, INSIDE = 150, 50
"""Messages a second: published from outside, and sent by clients in turn."""

PATIENCE = 2.0
"""Seconds in which a publisher has its answer, whatever is broken."""

FLAGS = ("--rate", "0", "--history", "50000", "--shutdown-timeout", "3", "--reconnect-window", "1")


class Troubles:
    """What happens to three nodes and their store."""

    def __init__(self, cluster: Cluster, store: StoreProcess, stopped: float) -> None:
        self._cluster = cluster
        self._store = store
        self._stopped = stopped

    def all(self) -> list[Callable[[], None]]:
        """In the order in which they come, each of which is over when it returns."""
        restarts = [partial(self._restart_node, n) for n in range(3)]
        return [*restarts, self._kill_store, self._stop_store]

    def _restart_node(self, n: int) -> None:
        old = self._cluster.nodes[n]
        port = old.port
        old.stop()
        self._cluster.nodes[n] = self._cluster.start(port=port)

    def _kill_store(self) -> None:
        self._store.kill()
        time.sleep(1)
        self._store.restart()

    def _stop_store(self) -> None:
        self._store.stop_process()
        time.sleep(self._stopped)
        self._store.go_on()


@pytest.mark.parametrize("kind", ["valkey"])
def test_a_crowd_that_resumes_misses_nothing_whatever_breaks(
    start_server: StartServer, start_store: StartStore, kind: str, runtime_dir: Path, sizes: Sizes
) -> None:
    store = start_store(kind=kind)
    cluster = Cluster(start_server, store.url, *FLAGS)
    cluster.grow(3)
    uvloop.run(_whatever_breaks(cluster, store, runtime_dir, sizes))


async def _whatever_breaks(cluster: Cluster, store: StoreProcess, folder: Path, sizes: Sizes) -> None:
    async with Crowd(*(node.port for node in cluster.nodes), resumes=True) as crowd:
        await crowd.join(sizes.resuming)
        publishers, over = (
            Publishers(folder, OUTSIDE, lambda: [n.pid for n in cluster.nodes]),
            asyncio.Event(),
        )
        flowing = [asyncio.create_task(publishers.run(over)), asyncio.create_task(crowd.talk(INSIDE, over))]
        for trouble in Troubles(cluster, store, sizes.stopped).all():
            await asyncio.sleep(sizes.pause)
            await asyncio.to_thread(trouble)
        await crowd.until(lambda: len(crowd.ids) >= sizes.flow)
        over.set()
        _, said = await asyncio.gather(*flowing)
        last = await publishers.last()
        await crowd.level_at(last)
        _judge(crowd, publishers, said, sizes)


def _judge(crowd: Crowd, publishers: Publishers, said: int, sizes: Sizes) -> None:
    data = crowd.data()
    assert crowd.faults == []
    assert len(set(data)) == len(data)
    assert sorted(set(crowd.positions())) == crowd.positions()
    there = dict(zip(data, crowd.ids, strict=True))
    assert {text: there.get(text) for text in publishers.accepted} == publishers.accepted
    never = [text for text, why in publishers.refused.items() if "may still be delivered" not in why]
    assert [text for text in never if text in there] == []
    assert crowd.resumed >= sizes.resuming
    figures = {
        "messages": len(data),
        "accepted": len(publishers.accepted),
        "refused": len(publishers.refused),
        "of these never": len(never),
        "unknown": len(publishers.unknown),
        "by clients": [said, sum(text[0] == "i" for text in data)],
        "resumed": crowd.resumed,
        "slowest": round(publishers.slowest, 3),
        "lag": round(publishers.lag, 3),
    }
    print(figures)
    assert publishers.slowest - publishers.lag < PATIENCE, figures
