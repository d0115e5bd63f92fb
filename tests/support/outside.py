"""Somebody who publishes to whatever process serves, over one connection as long as it lasts."""

import asyncio
import json
import time
from typing import Any

from tests.support.generations import Generations


class Outside:
    """Publishes "o0", "o1", ... at a rate, through the control socket.

    Attributes:
        accepted: what a server has answered for with an id, and to how many clients it went.
    """

    def __init__(self, server: Generations, rate: float) -> None:
        self.accepted: dict[str, int] = {}
        self._server = server
        self._interval = 1 / rate
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._pid = 0
        self._n = 0

    async def run(self, over: asyncio.Event) -> None:
        """Until `over`. What a process that ends does not answer is not counted on."""
        due = time.monotonic()
        while not over.is_set():
            text = f"o{self._n}"
            self._n += 1
            try:
                answer = await self._publish(text)
            except (OSError, asyncio.IncompleteReadError):
                self._hang_up()
            else:
                if "id" in answer:
                    self.accepted[text] = answer["recipients"]
            due = max(due + self._interval, time.monotonic() - 1)
            await asyncio.sleep(max(0.0, due - time.monotonic()))
        self._hang_up()

    async def _publish(self, text: str) -> Any:
        if self._pid != self._server.pid:
            self._hang_up()
        if not self._streams:
            self._pid = self._server.pid
            path = self._server.folder / f"{self._pid}.sock"
            self._streams = await asyncio.open_unix_connection(str(path))
        reader, writer = self._streams
        body = json.dumps({"data": text}).encode()
        writer.write(
            b"POST /api/broadcast HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body)
        )
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        size = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        return json.loads(await reader.readexactly(size))

    def _hang_up(self) -> None:
        if self._streams:
            self._streams[1].close()
            self._streams = None
