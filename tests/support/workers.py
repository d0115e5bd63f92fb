"""Parents of workers under test, and what they tell of their workers."""

import asyncio
import contextlib
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection

from tests.support.clients import join
from tests.support.server import DEADLINE, ServerProcess

StartServer = Callable[..., ServerProcess]

AT_ONCE = 8
"""Clients that come together, of which two or three workers mostly get some each."""


@contextmanager
def starting_workers(start_server: StartServer, folder: Path) -> Iterator[StartServer]:
    """Start parents with two workers, or so many; none of their processes is left at the end. Their control
    sockets are in the folder."""
    started: list[ServerProcess] = []

    def begin(*flags: str, workers: int = 2, **how: Any) -> ServerProcess:
        more = ("--workers", str(workers), "--broadcast-interval", "0")
        started.append(start_server(*more, *flags, **how))
        return started[-1]

    try:
        yield begin
    finally:
        for server in started:
            server.kill()
        for path in folder.glob("*.sock"):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(path.stem), signal.SIGKILL)


def workers(server: ServerProcess) -> list[dict[str, Any]]:
    """Number, pid, status and connections of each, as the parent tells."""
    found: list[dict[str, Any]] = server.status()["workers"]
    return found


def pids(server: ServerProcess) -> list[int]:
    return [row["pid"] for row in workers(server)]


def until(true: Any, what: str) -> Any:
    """What a look finds, once it finds something."""
    end = time.monotonic() + DEADLINE
    while not (found := true()):
        assert time.monotonic() < end, what
        time.sleep(0.05)
    return found


def serving(server: ServerProcess) -> list[int]:
    return [row["pid"] for row in workers(server) if row["status"] == "serving"]


async def crowd(server: ServerProcess, count: int) -> list[ClientConnection]:
    return list(await asyncio.gather(*(join(server.ws_url, f"c{n}") for n in range(count))))


async def spread(server: ServerProcess, least: int = 1) -> list[ClientConnection]:
    """Clients, until each worker has at least so many.

    Some come at once: of those that come one by one an idle worker seldom gets another than the one before,
    and the parent hears within a second how many each has.
    """
    clients: list[ClientConnection] = []
    while len(clients) < 200:
        names = [f"s{len(clients) + n}" for n in range(AT_ONCE)]
        clients += await asyncio.gather(*(join(server.ws_url, name) for name in names))
        await asyncio.to_thread(wait_connected, server, len(clients))
        if min(row["connections"] for row in workers(server)) >= least:
            return clients
    raise AssertionError(f"they are all with one worker: {workers(server)}")


def wait_connected(server: ServerProcess, count: int) -> None:
    until(lambda: server.status()["connections"] == count, f"{count} connections")


def lines(server: ServerProcess, pattern: str) -> list[str]:
    return [line for line in server.lines if re.search(pattern, line)]
