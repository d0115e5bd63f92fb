"""A server that is killed again and again while somebody publishes there, each time on the same address."""

import asyncio
import itertools
import json
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from tests.support.guests import Guest
from tests.support.processes import descendants
from tests.support.server import DEADLINE, WSCTL, ServerProcess
from wsctl.log.message_log import read_id

TOKEN = "t0ken"


class KilledServer:
    """A server on a socket that outlives it, so that nobody is turned away between two lives.

    `start` starts one of it with these flags.

    Attributes:
        server: the one that lives, or was the last to.
    """

    def __init__(self, start: Callable[..., ServerProcess], *flags: str) -> None:
        self._start = start
        self._flags = flags
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.server: ServerProcess

    def begin(self) -> None:
        """Start it, and wait until it serves."""
        fd = self._listening.fileno()
        command = (*WSCTL, "serve", "--fd", str(fd))
        self.server = self._start(*self._flags, command=command, pass_fds=[fd], env={"WSCTL_TOKEN": TOKEN})

    def kill(self) -> None:
        """SIGKILL, for all its processes: they can do nothing more."""
        workers = descendants(self.server.pid)
        self.server.signal(signal.SIGKILL)
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        assert self.server.wait() == -signal.SIGKILL

    def close(self) -> None:
        self._listening.close()


class Ledger:
    """What was published, message after message: 0, 1, 2, ...

    Attributes:
        ids: of those that were acknowledged, by number.
        refused: those that were refused.
        unknown: those of which nobody said anything, because the server was killed.
        news: set with each that is acknowledged.
    """

    def __init__(self, port: int) -> None:
        self.ids: dict[int, str] = {}
        self.refused: dict[int, dict[str, Any]] = {}
        self.unknown: set[int] = set()
        self.news = asyncio.Event()
        self._port = port
        self._numbers = itertools.count()

    async def publish(self, rate: float, over: asyncio.Event, *, connections: int = 8) -> None:
        """Publish so many messages a second, over a few connections."""
        async with asyncio.TaskGroup() as group:
            for _ in range(connections):
                group.create_task(self._publish(rate / connections, over))

    async def hears(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        until = len(self.ids) + count
        async with asyncio.timeout(DEADLINE):
            while len(self.ids) < until:
                self.news.clear()
                await self.news.wait()

    async def publish_one(self) -> int:
        """Publish one message, and return its number; whether it was acknowledged, the ledger says."""
        n = next(self._numbers)
        connection = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            await self._ask(*connection, n)
        finally:
            await _close(connection[1])
        return n

    async def _publish(self, rate: float, over: asyncio.Event) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while not over.is_set():
            connection = await asyncio.open_connection("127.0.0.1", self._port)
            try:
                while not over.is_set():
                    await self._ask(*connection, next(self._numbers))
                    due = max(due + 1 / rate, loop.time() - 1)
                    await asyncio.sleep(max(0.0, due - loop.time()))
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                await _close(connection[1])

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, n: int) -> None:
        body = json.dumps({"data": n}).encode()
        self.unknown.add(n)
        writer.write(_HEAD % len(body) + body)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        answer = json.loads(await reader.readexactly(length))
        self.unknown.discard(n)
        if "id" in answer:
            self.ids[n] = answer["id"]
            self.news.set()
        else:
            self.refused[n] = answer["error"]


def check_nothing_is_missed(ledger: Ledger, guests: list[Guest]) -> None:
    """Each guest got each acknowledged message once, in the order of their ids."""
    never = {n for n, why in ledger.refused.items() if why["code"] == "degraded"}
    acknowledged = sorted(ledger.ids, key=lambda n: read_id(ledger.ids[n]) or (0, 0))
    for guest in guests:
        assert len(set(guest.data)) == len(guest.data), "none is repeated"
        assert [n for n in guest.data if n in ledger.ids] == acknowledged, "none is missed"
        assert not never & set(guest.data), "none is published that was refused"
        assert all(opening.recovered for opening in guest.openings[1:]), "and they are told so"


_HEAD = (
    b"POST /api/broadcast HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer t0ken\r\n"
    b"content-type: application/json\r\ncontent-length: %d\r\n\r\n"
)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
