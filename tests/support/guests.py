"""Sessions that reconnect and resume, listened to by a test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from tests.support.server import DEADLINE
from wsctl.client.events import Event, Opened, Received
from wsctl.client.session import Session
from wsctl.client.target import Target


class Guest:
    """A session that is listened to.

    Attributes:
        data: of the messages it was given, in their order.
        openings: its welcomes.
        open: set while it is connected.
    """

    def __init__(self, url: str, name: str, **how: Any) -> None:
        self.data: list[object] = []
        self.openings: list[Opened] = []
        self.open = asyncio.Event()
        self.session = Session(Target(url), name, **how)
        self._news = asyncio.Event()

    async def listen(self) -> None:
        async for event in self.session.events():
            self._take(event)
            self._news.set()

    async def until(self, seen: Callable[[], bool]) -> None:
        """Wait until that is so."""
        async with asyncio.timeout(DEADLINE):
            while not seen():
                self._news.clear()
                await self._news.wait()

    def _take(self, event: Event) -> None:
        match event:
            case Opened():
                self.openings.append(event)
                self.open.set()
            case Received({"type": "message", "data": data}):
                self.data.append(data)
            case Received():
                pass
            case _:
                self.open.clear()


@asynccontextmanager
async def listening(
    how: Mapping[str, Any] = MappingProxyType({}), /, **urls: str
) -> AsyncIterator[list[Guest]]:
    """Connected sessions, by name; `how` has what else they are made with."""
    guests = [Guest(url, name, **how) for name, url in urls.items()]
    tasks = [asyncio.create_task(guest.listen()) for guest in guests]
    try:
        async with asyncio.timeout(DEADLINE):
            for guest in guests:
                await guest.open.wait()
        yield guests
    finally:
        await asyncio.gather(*(guest.session.close() for guest in guests))
        await asyncio.gather(*tasks)
