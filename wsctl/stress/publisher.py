"""Messages at a steady rate, from the connected clients in turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from wsctl.client.events import Event
from wsctl.client.session import NotConnected
from wsctl.stress.statistics import RunStatistics

CATCH_UP = 1.0
"""Seconds of publishing that are made up for when the loop was late; the rest is let go."""


class StressClient(Protocol):
    """The part of a `Session` that a stress run needs."""

    def events(self) -> AsyncIterator[Event]: ...
    async def send(self, text: str) -> None: ...
    async def close(self) -> None: ...


class Publisher:
    """Sends messages of `size` bytes, `rate` a second in all, and records them in the statistics."""

    def __init__(
        self,
        clients: Sequence[StressClient],
        statistics: RunStatistics,
        *,
        rate: float,
        size: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clients = clients
        self._statistics = statistics
        self._interval = 1 / rate
        self._size = size
        self._clock = clock
        self._sleep = sleep
        self._sender = -1

    async def run(self) -> None:
        """Publish until cancelled. A client that is not connected is left out: no other client sends for it,
        for the server limits what each may send."""
        due = self._clock()
        while True:
            self._sender = (self._sender + 1) % len(self._clients)
            if self._sender in self._statistics.connected:
                await self._send(self._sender)
            now = self._clock()
            due = max(due + self._interval, now - CATCH_UP)
            await self._sleep(due - now)

    async def _send(self, sender: int) -> None:
        text = self._statistics.send(sender, self._clock(), self._size)
        try:
            await self._clients[sender].send(text)
        except NotConnected:
            self._statistics.ledger.disconnect(sender)
