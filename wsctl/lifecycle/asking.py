"""Requests and answers over a channel, in both directions at once."""

import asyncio
from collections.abc import Awaitable, Callable
from itertools import count
from typing import Any

from wsctl.lifecycle.channel import Channel
from wsctl.lifecycle.parcels import Parcel
from wsctl.lifecycle.workers import Reply

Answering = Callable[[str, str, bytes], Awaitable[Reply]]
"""A function that answers a request: method, path with query, body."""

LAST_ANSWERS = 3.0
"""The time for answers that are still to be given, in seconds: longer than the asking process waits."""


class Asking:
    """One end of the exchange. `answering` answers the requests of the other end; it must not raise."""

    def __init__(self, channel: Channel, answering: Answering) -> None:
        self._channel = channel
        self._answering = answering
        self._numbers = count(1)
        self._open: dict[int, asyncio.Future[Reply | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = False

    def begin(self, method: str, path: str, body: bytes = b"") -> "asyncio.Future[Reply | None]":
        """Send a request, in the order of the calls. The answer is None when the other process is gone before
        it answers."""
        future: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()
        if self._over:
            future.set_result(None)
            return future
        number = next(self._numbers)
        self._open[number] = future
        future.add_done_callback(lambda _: self._open.pop(number, None))
        self._channel.send("ask", {"n": number, "method": method, "path": path}, [body])
        return future

    async def ask(
        self, method: str, path: str, body: bytes = b"", patience: float | None = None
    ) -> Reply | None:
        """Send a request and wait for its answer, at most `patience` seconds; without limit unless given.
        None if none came."""
        try:
            async with asyncio.timeout(patience):
                return await self.begin(method, path, body)
        except TimeoutError:
            return None

    def take(self, parcel: Parcel) -> None:
        """Handle an `ask` or an `answer` that arrived."""
        told = parcel.fields
        if parcel.kind == "ask":
            task = asyncio.create_task(self._answer(told, parcel.blobs[0]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        elif (future := self._open.get(told["n"])) and not future.done():
            future.set_result(Reply(told["status"], told["body"]))

    async def answered(self) -> None:
        """Wait until every request of the other end is answered, at most `LAST_ANSWERS` seconds."""
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=LAST_ANSWERS)

    def lost(self) -> None:
        """Answer the open requests with None: nothing arrives any more."""
        self._over = True
        for future in list(self._open.values()):
            if not future.done():
                future.set_result(None)

    async def _answer(self, told: dict[str, Any], body: bytes) -> None:
        reply = await self._answering(told["method"], told["path"], body)
        self._channel.send("answer", {"n": told["n"], "status": reply.status, "body": reply.body})
