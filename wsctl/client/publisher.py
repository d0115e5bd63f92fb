"""Messages at a steady rate, from the connected clients in turn."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Protocol

from wsctl.client.account import Account
from wsctl.client.events import Event
from wsctl.client.session import NotConnected

CATCH_UP = 1.0
"""Seconds of publishing that are made up for when the loop was late; the rest is let go."""


class Client(Protocol):
    """The part of a `Session` that a load needs."""

    def events(self) -> AsyncIterator[Event]: ...
    async def send(self, text: str) -> None: ...
    async def close(self) -> None: ...


class Publisher:
    """Sends messages of `size` bytes, `rate` a second in all, and enters them in the account."""

    def __init__(
        self,
        clients: Sequence[Client],
        account: Account,
        *,
        rate: float,
        size: int,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._clients = clients
        self._account = account
        self._interval = 1 / rate
        self._size = size
        self._clock = clock
        self._sleep = sleep
        self._turn = -1

    async def run(self) -> None:
        """Publish until cancelled. A client that is away leaves its turn out: no other client sends for it,
        for the server limits what each may send."""
        due = self._clock()
        while True:
            self._turn = (self._turn + 1) % len(self._clients)
            if self._turn in self._account.connected:
                await self._send(self._turn)
            now = self._clock()
            due = max(due + self._interval, now - CATCH_UP)
            await self._sleep(due - now)

    async def _send(self, sender: int) -> None:
        text = self._account.send(sender, self._clock(), self._size)
        try:
            await self._clients[sender].send(text)
        except NotConnected:
            self._account.ledger.disconnect(sender)
