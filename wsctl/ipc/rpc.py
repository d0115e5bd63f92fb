"""Requests and replies over a channel, in both directions at once."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any, NamedTuple

from wsctl.ipc.channel import Channel
from wsctl.ipc.framing import Packet


class Reply(NamedTuple):
    """An answer of the control API: HTTP status and JSON object."""

    status: int
    body: dict[str, Any]


RequestHandler = Callable[[str, str, bytes], Awaitable[Reply]]
"""A function that answers a request: method, path with query, body."""

FINISH_TIMEOUT = 3.0
"""The time for answers that are still to be given, in seconds: longer than the asking process waits."""


class RpcPeer:
    """One end of the exchange. `handler` answers the requests of the other end; it must not raise."""

    def __init__(self, channel: Channel, handler: RequestHandler) -> None:
        self._channel = channel
        self._handler = handler
        self._numbers = count(1)
        self._calls: dict[int, asyncio.Future[Reply | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._disconnected = False

    def start_call(self, method: str, path: str, body: bytes = b"") -> "asyncio.Future[Reply | None]":
        """Send a request, in the order of the calls. The answer is None when the other process is gone before
        it answers."""
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        if self._disconnected:
            future.set_result(None)
            return future
        number = next(self._numbers)
        self._calls[number] = future
        future.add_done_callback(lambda _: self._calls.pop(number, None))
        self._channel.send("ask", {"n": number, "method": method, "path": path}, [body])
        return future

    async def call(
        self, method: str, path: str, body: bytes = b"", patience: float | None = None
    ) -> Reply | None:
        """Send a request and wait for its answer, at most `patience` seconds; without limit unless given.
        None if none came."""
        try:
            async with asyncio.timeout(patience):
                return await self.start_call(method, path, body)
        except TimeoutError:
            return None

    def receive(self, packet: Packet) -> None:
        """Handle an `ask` or an `answer` that arrived."""
        fields = packet.fields
        if packet.kind == "ask":
            task = asyncio.create_task(self._answer(fields, packet.blobs[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (future := self._calls.get(fields["n"])) and not future.done():
            future.set_result(Reply(fields["status"], fields["body"]))

    async def finish(self) -> None:
        """Wait until every request of the other end is answered, at most `FINISH_TIMEOUT` seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=FINISH_TIMEOUT)

    def disconnect(self) -> None:
        """Answer the open requests with None: nothing arrives any more."""
        self._disconnected = True
        for future in list(self._calls.values()):
            if not future.done():
                future.set_result(None)

    async def _answer(self, fields: dict[str, Any], body: bytes) -> None:
        reply = await self._handler(fields["method"], fields["path"], body)
        self._channel.send("answer", {"n": fields["n"], "status": reply.status, "body": reply.body})
