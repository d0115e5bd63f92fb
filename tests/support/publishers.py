"""Somebody who publishes wherever there is a server, and keeps account of the answers."""

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.support.server import DEADLINE


class Publishers:
    """Publish "o0", "o1", ... at one process after the other, each over a connection of its own.

    `folder` is where their control sockets are, `pids` tells who they are now, and `topic_of` the topic of
    each text, None for everybody.

    Attributes:
        accepted: id of each that was answered for.
        refused: of each that was not, why.
        unknown: those of which no node has told anything.
        slowest: the longest time in seconds that one of them waited.
        lag: the longest time in seconds by which this process itself was late.
    """

    def __init__(
        self,
        folder: Path,
        rate: float,
        pids: Callable[[], Sequence[int]],
        topic_of: Callable[[str], str | None] = lambda text: None,
    ) -> None:
        self.accepted: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.unknown: set[str] = set()
        self.slowest = self.lag = 0.0
        self._folder = folder
        self._rate = rate
        self._pids = pids
        self._topic_of = topic_of

    async def run(self, over: asyncio.Event) -> None:
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for n in itertools.count():
                if over.is_set():
                    return
                pids = self._pids()
                group.create_task(self.publish(f"o{n}", pids[n % len(pids)]))
                due += 1 / self._rate
                await asyncio.sleep(max(0.0, due - time.monotonic()))
                self.lag = max(self.lag, time.monotonic() - due)

    async def last(self) -> str:
        """A message that was accepted when all the others had been answered for."""
        return await self.accept("last")

    async def accept(self, name: str) -> str:
        """Publish a message that begins with this, again and again until one is accepted; return its text."""
        async with asyncio.timeout(DEADLINE):
            while (text := f"{name} {len(self.refused)} {len(self.unknown)}") not in self.accepted:
                await self.publish(text, self._pids()[0])
        return text

    async def publish(self, text: str, pid: int) -> None:
        """One message at one process."""
        began = time.monotonic()
        try:
            topic = self._topic_of(text)
            answer = await send(self._folder, pid, text, **({"topic": topic} if topic else {}))
        except (OSError, asyncio.IncompleteReadError):
            self.unknown.add(text)
            return
        self.slowest = max(self.slowest, time.monotonic() - began)
        if "id" in answer:
            self.accepted[text] = answer["id"]
        else:
            self.refused[text] = answer["error"]["message"]


async def send(folder: Path, pid: int, data: object, **more: object) -> dict[str, Any]:
    """Publish at the process with that control socket in the folder; its answer.

    Raises:
        OSError, EOFError: there is none.
    """
    reader, writer = await asyncio.open_unix_connection(str(folder / f"{pid}.sock"))
    try:
        body = json.dumps({"data": data, **more}).encode()
        head = b"POST /api/broadcast HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
        writer.write(head % len(body) + body)
        return _read(await reader.read())
    finally:
        writer.close()


def _read(answer: bytes) -> dict[str, Any]:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        raise ConnectionError("the server ended before it had answered")
    try:
        return dict(json.loads(body))
    except ValueError:
        raise AssertionError(answer) from None
