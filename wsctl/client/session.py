"""A client's life on a server: connect, receive, and come back when the connection is lost."""

import asyncio
import json
import random
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, TypeVar

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

from wsctl.client.backoff import Backoff
from wsctl.client.connecting import OPEN_TIMEOUT, handshake, hang_up
from wsctl.client.events import Closed, Event, Failed, Opened, Received, Refused, Waiting, is_final
from wsctl.client.reasons import explained, refusal
from wsctl.client.target import Target
from wsctl.codes import CloseCode

__all__ = [
    "Closed",
    "Event",
    "Failed",
    "NotConnected",
    "Opened",
    "Received",
    "Refused",
    "Session",
    "Waiting",
]

STEADY = 5.0
"""Seconds a connection must have lived for the backoff to start over: a server that accepts and closes
at once is not hammered."""

T = TypeVar("T")


class NotConnected(Exception):
    """There is no open connection: nothing was sent."""


class Session:
    """One client id on one server, one connection at a time."""

    def __init__(
        self,
        target: Target,
        client_id: str,
        *,
        uniform: Callable[[float, float], float] = random.uniform,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._target = target
        self._url = target.websocket(client_id)
        self._sleep = sleep
        self._clock = clock
        self._backoff = Backoff(uniform)
        self._closing = asyncio.Event()
        self._connection: ClientConnection | None = None
        self._welcomed = False

    async def events(self) -> AsyncGenerator[Event, None]:
        """What happens, in order: connects, and connects again until something is final.

        Ends after a final `Closed`, `Refused` or `Failed`, or after `close()`. Who leaves it early and
        closes the generator closes the connection.
        """
        while not self._closing.is_set():
            async with aclosing(self._attempt()) as attempt:
                async for event in attempt:
                    yield event
            if self._closing.is_set() or is_final(event):
                return
            # The server's figure is the least; the jitter on top keeps a crowd from coming all at once.
            seconds = getattr(event, "retry_after", 0.0) + self._backoff.pause()
            yield Waiting(seconds)
            await self._unless_closing(self._sleep(seconds))

    async def send(self, text: str) -> None:
        """Send one message; returns once it is written, which is no receipt.

        Raises:
            NotConnected: there is no open connection.
        """
        if self._connection is None or not self._welcomed:
            raise NotConnected
        try:
            await self._connection.send(text)
        except ConnectionClosed:
            raise NotConnected from None

    async def close(self) -> None:
        """Close normally (1000), whatever the session is about; `events()` ends. Go on iterating it
        meanwhile: the server's answer stands behind the frames that were not read yet."""
        self._closing.set()
        if self._connection:
            await self._connection.close()

    async def _attempt(self) -> AsyncGenerator[Event, None]:
        """One connection from the handshake to its end; the last event says how it ended."""
        try:
            connection = await self._unless_closing(handshake(self._target, self._url))
        except InvalidStatus as error:
            yield refusal(error.response)
            return
        except (OSError, ValueError, WebSocketException) as error:
            yield Failed(f"cannot connect to {self._target.name}: {explained(error)}")
            return
        if connection is None:
            return
        self._connection, began = connection, self._clock()
        try:
            async with aclosing(self._frames(connection)) as frames:
                async for event in frames:
                    yield event
        finally:
            if self._welcomed and self._clock() - began >= STEADY:
                self._backoff.reset()
            self._connection, self._welcomed = None, False
            await hang_up(connection)

    async def _frames(self, connection: ClientConnection) -> AsyncGenerator[Event, None]:
        if self._closing.is_set():
            await connection.close()
        try:
            while True:
                async with asyncio.timeout(None if self._welcomed else OPEN_TIMEOUT):
                    frame = _decoded(await connection.recv())
                if frame is None:
                    yield Failed(f"{self._target.name} is no wsctl server: it sends something else", True)
                    return
                if frame.get("type") == "welcome":
                    self._welcomed = True
                    yield Opened(frame)
                else:
                    yield Received(frame)
        except TimeoutError:
            yield Failed(f"{self._target.name} accepts connections and then says nothing")
        except ConnectionClosed as error:
            yield _closed(error)

    async def _unless_closing(self, work: Awaitable[T]) -> T | None:
        """The result of `work`, or None when the session was closed before it was there."""
        task = asyncio.ensure_future(work)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            await asyncio.wait({task, closing}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            task.cancel()
            closing.cancel()


def _decoded(data: str | bytes) -> dict[str, Any] | None:
    """The JSON object in a frame; None when it holds none."""
    try:
        frame = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) else None


def _closed(error: ConnectionClosed) -> Closed:
    """The server's close frame; without one, what our side knows."""
    if error.rcvd:
        return Closed(error.rcvd.code, error.rcvd.reason)
    reason = error.sent.reason if error.sent else ""
    return Closed(CloseCode.ABNORMAL, reason or "the connection was lost")
