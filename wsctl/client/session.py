"""The session of a client: connect, receive, and come back when the connection is lost."""

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.protocol import State

from wsctl.client.backoff import Backoff
from wsctl.client.connecting import OPEN_TIMEOUT, ending, handshake, hang_up
from wsctl.client.credential import Credential, nothing
from wsctl.client.departure import Departure
from wsctl.client.events import (
    Closed,
    Degraded,
    Event,
    Failed,
    Moved,
    Opened,
    Received,
    Refused,
    Restored,
    Waiting,
    is_final,
)
from wsctl.client.frames import decoded
from wsctl.client.hearing import Hearing
from wsctl.client.reasons import CHECK_ADDRESS, advice, explained, refusal
from wsctl.client.route import Route
from wsctl.client.target import Target
from wsctl.codes import CloseCode
from wsctl.errors import UsageError

__all__ = [
    "Closed",
    "Degraded",
    "Event",
    "Failed",
    "Moved",
    "NotConnected",
    "Opened",
    "Received",
    "Refused",
    "Restored",
    "Session",
    "Waiting",
]

STEADY = 5.0
"""Seconds a connection must have lived for the backoff to start over, and for another move without a
pause: a server that accepts and closes at once, or sends away at once, is not hammered."""

UNWELCOME_TIMEOUT = 0.1
"""Seconds that a server has to answer the close frame of a client that it has not welcomed."""

T = TypeVar("T")


class NotConnected(Exception):
    """A failure to send, as there is no open connection: nothing was sent."""


class Session:
    """The session of one client id, with one connection at a time; each resumes where the one before it
    ended.

    The session goes to the server `target`, and when that does not take it to one of `others`, which share
    their messages with it; after each connection it tries its own first. Each server gets the `credential` of
    the moment.
    """

    def __init__(
        self,
        target: Target,
        client_id: str,
        *,
        others: Sequence[Target] = (),
        credential: Credential = nothing,
        uniform: Callable[[float, float], float] = random.uniform,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._route = Route(target, others)
        self._client_id = client_id
        self._credential = credential
        self._sleep = sleep
        self._clock = clock
        self._backoff = Backoff(uniform)
        self._hearing = Hearing()
        self._closing = asyncio.Event()
        self._hurry = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._hurried = False

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what happens, in order: connect, and connect again until something is final.

        Ends after a final `Closed`, `Refused` or `Failed`, or after `close()`. Leaving it early and closing
        the generator closes the connection.
        """
        while not self._closing.is_set():
            taken = False
            async with aclosing(self._attempt()) as attempt:
                async for event in attempt:
                    taken = taken or isinstance(event, Opened)
                    yield event
            if self._closing.is_set() or is_final(event):
                return
            if taken:
                self._route.ended()
            elif self._route.turned_away():
                continue
            if isinstance(event, Moved) and not self._hurried:
                self._hurried = True
                continue
            # The server's figure is the least; the jitter on top keeps a crowd from coming all at once.
            seconds = getattr(event, "retry_after", 0.0) + self._backoff.pause()
            yield Waiting(seconds)
            self._hurry.clear()
            await self._unless_closing(self._pause(seconds))

    async def send(self, text: str) -> None:
        """Send one message; returns once it is written, which is no receipt.

        Raises:
            NotConnected: there is no open connection.
        """
        connection = self._connection
        if connection is None or not self._hearing.welcomed or connection.state is not State.OPEN:
            raise NotConnected
        try:
            await connection.send(text)
        except ConnectionClosed:
            raise NotConnected from None

    def hurry(self) -> None:
        """Make the next attempt now, if one is waited for."""
        self._hurry.set()

    async def _pause(self, seconds: float) -> None:
        over = [asyncio.ensure_future(self._sleep(seconds)), asyncio.ensure_future(self._hurry.wait())]
        try:
            await asyncio.wait(over, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in over:
                waiting.cancel()

    async def close(self) -> None:
        """Close normally (1000), whatever the session is doing; `events()` ends. Go on iterating it
        meanwhile: the server's answer stands behind the frames that were not read yet."""
        self._closing.set()
        if self._connection:
            if not self._hearing.welcomed:
                # A server that drains lets newcomers wait, and reads nothing from them.
                self._connection.close_timeout = UNWELCOME_TIMEOUT
            await self._connection.close()

    async def _attempt(self) -> AsyncGenerator[Event, None]:
        """Yield the events of one connection from the handshake to its end; the last one says how it
        ended."""
        target = self._route.target
        url = self._hearing.cursor.url(target.websocket(self._client_id))
        try:
            connection = await self._unless_closing(handshake(target, url, self._credential()))
        except InvalidStatus as error:
            yield refusal(error.response)
            return
        except UsageError as error:
            yield Failed(str(error))
            return
        except (OSError, ValueError, WebSocketException) as error:
            why = f"cannot connect to {target.name}: {explained(error)}"
            yield Failed(why, advice=advice(error))
            return
        if connection is None:
            return
        self._connection, began = connection, self._clock()
        try:
            async with aclosing(self._life(connection)) as life:
                async for event in life:
                    yield event
        finally:
            if self._hearing.welcomed and self._clock() - began >= STEADY:
                self._backoff.reset()
                self._hurried = False
            self._connection = None
            self._hearing.ended()
            await hang_up(connection)

    async def _life(self, connection: ClientConnection) -> AsyncGenerator[Event, None]:
        departure = Departure(connection.close, self._sleep)
        name = self._route.target.name
        try:
            if self._closing.is_set():
                await self.close()
            while (frame := decoded(await self._next(connection))) is not None:
                yield self._read(frame, departure)
            yield Failed(f"{name} is no wsctl server: it sends something else", True, CHECK_ADDRESS)
        except TimeoutError:
            yield Failed(f"{name} accepts connections and then says nothing", advice=CHECK_ADDRESS)
        except ConnectionClosed as error:
            closed = ending(error)
            # Another code than the answer to ours, or none, is what the server has to say.
            yield Moved() if departure.begun and closed.code == CloseCode.NORMAL else closed
        finally:
            departure.cancel()

    async def _next(self, connection: ClientConnection) -> str | bytes:
        if self._hearing.welcomed:
            return await connection.recv()
        async with asyncio.timeout(OPEN_TIMEOUT):
            return await connection.recv()

    def _read(self, frame: dict[str, Any], departure: Departure) -> Event:
        if frame.get("type") == "shutdown":
            departure.hear(frame)
        return self._hearing.take(frame, self._route.target.name)

    async def _unless_closing(self, work: Awaitable[T]) -> T | None:
        """Return the result of `work`, or None when the session was closed before it was there."""
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            closing.cancel()
