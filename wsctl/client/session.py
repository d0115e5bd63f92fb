"""The session of a client: connect, receive, and come back when the connection is lost."""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any, TypeVar, cast

from websockets.exceptions import ConnectionClosed, InvalidStatus, InvalidURI, WebSocketException
from websockets.protocol import State

from wsctl.client.commands import COMMANDS, OFFERED, CommandRefused, Commands, encode_command
from wsctl.client.connection import (
    CHECK_ADDRESS,
    OPEN_TIMEOUT,
    PING_INTERVAL,
    AsyncCredential,
    Credential,
    advice,
    close_connection,
    closed_event,
    explain,
    no_credential,
    open_connection,
    refused_event,
)
from wsctl.client.event_stream import UNREACHABLE, EventStreamConnection, open_event_stream
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    Moved,
    Opened,
    Received,
    Waiting,
    end_text,
    is_final,
)
from wsctl.client.frame_state import FrameState, decode_frame
from wsctl.client.pacer import Pacer
from wsctl.client.reconnect import Backoff, Failover, ReconnectSchedule
from wsctl.client.target import Target
from wsctl.client.transport import WANTS_WEBSOCKET, ClientTransport, Transport, Wish
from wsctl.codes import CloseCode, ErrorCode
from wsctl.errors import UsageError, WsctlError

STEADY = 5.0
"""Seconds a connection must have lived for the backoff to start over, and for another move without a
pause: a server that accepts and closes at once, or sends away at once, is not hammered."""

UNWELCOME_TIMEOUT = 0.1
"""Seconds that a server has to answer the close frame of a client that it has not welcomed."""

WEBSOCKET_AGAIN = (300.0, 600.0)
"""Seconds after which a WebSocket is tried again by a client that has none, each at a moment of its own
between them."""

UPGRADE_REQUIRED = "upgrade_required"
"""The code of the answer to a request that has lost its `Upgrade` on the way."""

BY_ITSELF = "left for another connection"
"""The reason of an end that the client has chosen."""

_KEEPALIVE = f"keepalive={PING_INTERVAL:.0f}"
"""The parameter of an event stream that asks for signs of life."""

UNKNOWN_COMMAND = ErrorCode.UNKNOWN_COMMAND

NO_TOPICS = "knows no topics: it is of a release before them"
"""What is wrong with a server that does not speak `wsctl.2`."""

T = TypeVar("T")


class NotConnected(WsctlError):
    """A failure to send, as there is no open connection: nothing was sent."""


class WriteInterrupted(NotConnected):
    """A failure to send, as the connection ended while the message was written, or before it was answered:
    nobody knows whether the server got it."""


class Session:
    """The session of one client id, with one connection at a time; each resumes where the one before it
    ended.

    The session goes to the server `target`, and when that does not take it to one of `others`, which share
    their messages with it; after each connection it tries its own first. Each server gets the `credential` of
    the moment. It begins after the message `since`, where that is known.

    It subscribes to `topics`, at each connection anew. With these, or with `commands`, it speaks `wsctl.2`
    to a server that does; one that does not has no topics, and is no server for a client that wants some.

    With `paced`, sending waits until it is within the rate that the server has named, in the order in which
    it was asked for. The task that iterates over the events does not wait, for it reads what ends the wait.

    The `transport` is a WebSocket unless it says otherwise. With `AUTO` an event stream takes its place where
    something between client and server lets no WebSocket through; one is tried again after some minutes.
    """

    def __init__(
        self,
        target: Target,
        client_id: str,
        *,
        others: Sequence[Target] = (),
        credential: Credential | AsyncCredential = no_credential,
        since: str | None = None,
        topics: Sequence[str] = (),
        commands: bool = False,
        paced: bool = False,
        transport: Transport = Transport.WEBSOCKET,
        uniform: Callable[[float, float], float] = random.uniform,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failover = Failover(target, others)
        self._client_id = client_id
        self._credential = credential
        self._sleep = sleep
        self._clock = clock
        self._backoff = Backoff(uniform)
        self._frame_state = FrameState(since, topics)
        self._commands = Commands()
        self._offers_commands = commands or bool(topics)
        self._paced = paced
        self._pacer = Pacer()
        self._pace_changed = asyncio.Event()
        self._turn = asyncio.Lock()
        self._reader: asyncio.Task[Any] | None = None
        self._closing = asyncio.Event()
        self._reconnect_now = asyncio.Event()
        self._connection: ClientTransport | None = None
        self._transport = transport
        self._uniform = uniform
        self._websocket_at = 0.0
        self._fallback = ""
        self._replaced_at = float("-inf")
        self._ahead: ClientTransport | None = None
        self._first: Any = None
        self._retry = 0.0
        self._moved_at_once = False

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics and patterns that the client subscribes to."""
        return tuple(self._frame_state.topics)

    @property
    def speaks_commands(self) -> bool:
        """True if there is a connection, and each text on it is a command."""
        return self._connection is not None and self._connection.subprotocol == COMMANDS

    async def events(self) -> AsyncGenerator[Event, None]:
        """Yield what happens, in order: connect, and connect again until something is final.

        Ends after a final `Closed`, `HandshakeRefused` or `ConnectFailed`, or after `close()`. Leaving it
        early and closing the generator closes the connection.
        """
        self._reader = asyncio.current_task()
        try:
            async with aclosing(self._attempts()) as attempts:
                async for event in attempts:
                    yield event
        finally:
            if self._ahead is not None:
                await close_connection(self._ahead)
                self._ahead = None

    async def _attempts(self) -> AsyncGenerator[Event, None]:
        while not self._closing.is_set():
            taken, self._retry = False, 0.0
            async with aclosing(self._attempt()) as attempt:
                async for event in attempt:
                    taken = taken or isinstance(event, Opened)
                    yield event
            if self._closing.is_set() or is_final(event):
                return
            if self._ahead is not None:
                continue
            if taken:
                self._failover.reset()
            elif self._failover.advance():
                continue
            if isinstance(event, Moved) and not self._moved_at_once:
                self._moved_at_once = True
                continue
            # The server's figure is the least; the jitter on top keeps a crowd from coming all at once.
            seconds = max(getattr(event, "retry_after", 0.0), self._retry) + self._backoff.pause()
            yield Waiting(seconds)
            self._reconnect_now.clear()
            await self._unless_closing(self._pause(seconds))

    async def send(self, text: str) -> None:
        """Send one message; returns once it is written, which is no receipt. Where commands are spoken, it is
        one.

        Raises:
            NotConnected: there is no open connection.
            WriteInterrupted: it ended meanwhile.
        """
        if self.speaks_commands:
            await self.post("publish", data=text)
        else:
            await self._write(text)

    async def post(self, kind: str, ref: str | None = None, **fields: Any) -> None:
        """Send a command; returns once it is written. The answer is an event, with the same `ref`.

        Raises:
            NotConnected: there is no open connection.
            WriteInterrupted: it ended meanwhile.
            CommandRefused: the server is of a release without commands.
            TypeError, ValueError: the fields are not JSON.
        """
        self._check_commands()
        await self._write(encode_command(kind, fields, ref))

    async def request(self, kind: str, within: float | None = None, **fields: Any) -> dict[str, Any]:
        """Send a command, and return the server's `ok`. Something must iterate over the events meanwhile.
        It has to be answered `within` so many seconds from the moment that the rate lets it be sent.

        Raises:
            TimeoutError: it was not answered in time.
            NotConnected: there is no open connection.
            WriteInterrupted: it ended before the answer.
            CommandRefused: the server refused, or is of a release without commands.
            TypeError, ValueError: the fields are not JSON.
        """
        self._check_commands()
        await self._wait_turn()
        command = self._commands.begin(kind, fields)
        try:
            async with asyncio.timeout(within):
                await self._send(command.text)
                return await command.answer
        finally:
            self._commands.forget(command)
            if command.answer.done() and not command.answer.cancelled():
                command.answer.exception()  # which an error of the writing has gone before
            command.answer.cancel()

    def unsubscribe(self, topics: Sequence[str]) -> None:
        """Leave topics out from the next connection on."""
        self._frame_state.unsubscribe(topics)

    def _check_commands(self) -> None:
        if self._connection and self._frame_state.welcomed and not self.speaks_commands:
            raise CommandRefused(UNKNOWN_COMMAND, f"the server {NO_TOPICS}")

    @property
    def keeps_rate(self) -> bool:
        """True if what is sent is held to a rate that the server has named."""
        return self._paced and self._pacer.limited

    async def _write(self, text: str) -> None:
        await self._wait_turn()
        await self._send(text)

    async def _wait_turn(self) -> None:
        """Wait until one more message may be sent, and count it."""
        self._open_connection()
        if self.keeps_rate and asyncio.current_task() is not self._reader:
            async with self._turn:
                await self._within_rate(self._open_connection())
                self._open_connection()
                self._pacer.sent(self._clock())
        else:
            self._pacer.sent(self._clock())

    async def _send(self, text: str) -> None:
        connection = self._open_connection()
        try:
            await connection.send(text)
        except ConnectionClosed:
            raise WriteInterrupted("the connection ended while a message was written") from None

    def _open_connection(self) -> ClientTransport:
        connection = self._connection
        if connection is None or not self._frame_state.welcomed or connection.state is not State.OPEN:
            raise NotConnected("there is no connection")
        return connection

    async def _within_rate(self, connection: ClientTransport) -> None:
        """Wait until one more message may be sent, or this connection is over."""
        while self._connection is connection and (pause := self._pacer.pause(self._clock())) > 0:
            self._pace_changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._pace_changed.wait()

    def _note_pace(self, frame: dict[str, Any]) -> None:
        """Note what a frame tells of the rate, and of messages that the server has."""
        now = self._clock()
        match frame:
            case {"type": "welcome"} if not self._frame_state.welcomed:
                self._pacer.welcome(frame, now)
            case {"type": "error", "code": ErrorCode.RATE_LIMITED}:
                self._pacer.refused(now)
            case {"type": "ok" | "error"}:
                self._pacer.confirm(now)
            case {"type": "message", "from": self._client_id} if not self.speaks_commands:
                self._pacer.confirm(now)
        self._pace_changed.set()

    def reconnect_now(self) -> None:
        """Make the next attempt now, if one is waited for."""
        self._reconnect_now.set()

    async def _pause(self, seconds: float) -> None:
        over = [
            asyncio.ensure_future(self._sleep(seconds)),
            asyncio.ensure_future(self._reconnect_now.wait()),
        ]
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
            if not self._frame_state.welcomed:
                # A server that drains lets newcomers wait, and reads nothing from them.
                self._connection.close_timeout = UNWELCOME_TIMEOUT
            await self._connection.close()

    async def _attempt(self) -> AsyncGenerator[Event, None]:
        """Yield the events of one connection from the handshake to its end; the last one says how it
        ended."""
        target = self._failover.target
        connection, self._ahead = self._ahead, None
        try:
            connection = connection or await self._unless_closing(self._open(target))
        except InvalidStatus as error:
            yield refused_event(error.response)
            return
        except UsageError as error:
            yield ConnectFailed(str(error))
            return
        except (OSError, ValueError, WebSocketException) as error:
            why = f"cannot connect to {target.name}: {explain(error)}"
            yield ConnectFailed(why, advice=advice(error))
            return
        if connection is None:
            return
        self._connection, began = connection, self._clock()
        self._replaced_at = float("-inf")
        again = self._try_websocket_later(connection)
        try:
            async with aclosing(self._receive_events(connection)) as received:
                async for event in received:
                    yield event
                    self._note_silent(connection, event)
        finally:
            again.cancel()
            if isinstance(connection, EventStreamConnection):
                self._retry = connection.retry or 0.0
            if self._frame_state.welcomed and self._clock() - began >= STEADY:
                self._backoff.reset()
                self._moved_at_once = False
            self._connection = None
            self._pace_changed.set()
            self._frame_state.disconnect()
            self._commands.disconnect(WriteInterrupted("the connection ended before the answer to a command"))
            await close_connection(connection)

    async def _open(self, target: Target) -> ClientTransport:
        """Open a connection of the transport that there is to be."""
        given = self._credential()
        token = await given if isinstance(given, Awaitable) else given
        match self._transport:
            case Transport.EVENT_STREAM:
                return await self._open_stream(target, token)
            case Transport.WEBSOCKET:
                return await self._open_websocket(target, token)
        if self._clock() < self._websocket_at:
            try:
                return await self._open_stream(target, token)
            except Exception:
                self._websocket_at = 0.0
                raise
        return await self._open_either(target, token)

    async def _open_either(self, target: Target, token: str | None) -> ClientTransport:
        try:
            return await self._open_websocket(target, token)
        except (OSError, WebSocketException) as refusal:
            if not _is_in_between(refusal):
                raise
            try:
                connection = await self._open_stream(target, token)
            except InvalidStatus as error:
                raise error if refused_event(error.response).code else refusal from None
            except (OSError, ValueError):
                raise refusal from None
            self._fall_back(_why(refusal))
            return connection

    def _fall_back(self, why: str) -> None:
        """Use event streams for some time."""
        self._fallback, self._websocket_at = why, self._clock() + self._uniform(*WEBSOCKET_AGAIN)

    async def _open_websocket(self, target: Target, token: str | None) -> ClientTransport:
        url = self._frame_state.url(target.websocket(self._client_id))
        subprotocols = OFFERED if self._offers_commands else ()
        return cast("ClientTransport", await open_connection(target, url, token, subprotocols))

    async def _open_stream(
        self, target: Target, token: str | None, topics: Sequence[str] = ()
    ) -> EventStreamConnection:
        path = self._frame_state.url(target.events(self._client_id), topics)
        path += f"{'&' if '?' in path else '?'}{_KEEPALIVE}"
        return await open_event_stream(target, self._client_id, path, token)

    def _try_websocket_later(self, connection: ClientTransport) -> asyncio.Handle:
        """Have a stream that stands in for a WebSocket read the wish for one, when it is time."""
        loop = asyncio.get_running_loop()
        if self._transport is not Transport.AUTO or not isinstance(connection, EventStreamConnection):
            return loop.call_soon(lambda: None)
        return loop.call_later(self._websocket_at - self._clock(), connection.wish, WANTS_WEBSOCKET)

    def _note_silent(self, connection: ClientTransport, event: Event) -> None:
        """Note that a WebSocket was accepted and then nothing came: something in between holds it back."""
        lost = isinstance(event, ConnectFailed) or (
            isinstance(event, Closed) and event.code == CloseCode.ABNORMAL
        )
        if (
            lost
            and self._transport is Transport.AUTO
            and not (self._frame_state.welcomed or is_final(event))
            and not isinstance(connection, EventStreamConnection)
        ):
            self._fall_back("a WebSocket is accepted, and then nothing comes")

    async def _fulfil(self, connection: EventStreamConnection, wish: Wish) -> None:
        """Open a connection that does what the open one cannot, which goes on if there is none; nothing is
        read from it meanwhile, so that the new one begins where it stands."""
        target, self._replaced_at = self._failover.target, self._clock()
        if wish is WANTS_WEBSOCKET:
            await self._try_websocket(connection, target)
            return
        topics = wish.fields.get("topics", ()) if wish.kind == "subscribe" else ()
        try:
            given = self._credential()
            token = await given if isinstance(given, Awaitable) else given
            ahead = await self._open_stream(target, token, topics)
        except InvalidStatus as error:
            refused = refused_event(error.response)
            code, text = refused.code or UNREACHABLE, refused.message
        except (OSError, ValueError, WsctlError) as error:
            code, text = UNREACHABLE, explain(error)
        else:
            self._go_on_with(ahead, connection)
            if wish.kind == "subscribe":
                self._frame_state.subscribe(topics, {})
            if command := self._commands.receive({"type": "ok", "ref": wish.ref}):
                self._commands.forget(command)
            return
        connection.answer({"type": "error", "code": code, "message": text}, wish.ref)

    async def _try_websocket(self, connection: EventStreamConnection, target: Target) -> None:
        websocket = None
        try:
            given = self._credential()
            token = await given if isinstance(given, Awaitable) else given
            websocket = await self._open_websocket(target, token)
            async with asyncio.timeout(OPEN_TIMEOUT):
                self._first = await websocket.recv()
        except (OSError, ValueError, WebSocketException, WsctlError) as error:
            self._fall_back(_why(error))
            self._try_websocket_later(connection)
            if websocket is not None:
                await close_connection(websocket)
            return
        except BaseException:
            if websocket is not None:
                await close_connection(websocket)
            raise
        self._fallback = ""
        self._go_on_with(websocket, connection)

    def _go_on_with(self, ahead: ClientTransport, connection: EventStreamConnection) -> None:
        """Have another connection take the place of a stream, once all that was sent there is answered."""
        self._ahead = ahead
        connection.leave()

    async def _receive_events(self, connection: ClientTransport) -> AsyncGenerator[Event, None]:
        schedule = ReconnectSchedule(connection.close, self._sleep)
        name = self._failover.target.name
        try:
            if self._closing.is_set():
                await self.close()
            while True:
                taken = await self._next_frame(connection)
                if isinstance(taken, Wish) and isinstance(connection, EventStreamConnection):
                    await self._unless_closing(self._fulfil(connection, taken))
                    continue
                if (frame := decode_frame(taken)) is None:
                    break
                if frame.get("type") == "welcome" and self.topics and not self.speaks_commands:
                    # It sends what is for everybody, and nothing of what this client wants.
                    yield ConnectFailed(f"{name} {NO_TOPICS}", advice="update it")
                    return
                event = self._event_of(frame, schedule)
                if isinstance(event, Opened):
                    event = self._with_transport(event, connection)
                    await self._watch_again()
                yield event
            yield ConnectFailed(f"{name} is no wsctl server: it sends something else", True, CHECK_ADDRESS)
        except TimeoutError:
            yield ConnectFailed(f"{name} accepts connections and then says nothing", advice=CHECK_ADDRESS)
        except ConnectionClosed as error:
            if self._ahead is not None:
                yield Moved(BY_ITSELF)
                return
            closed = self._not_by_itself(closed_event(error))
            # Another code than the answer to ours, or none, is what the server has to say.
            yield Moved() if schedule.started and closed.code == CloseCode.NORMAL else closed
        finally:
            schedule.cancel()

    async def _watch_again(self) -> None:
        """Ask on a new connection to be told who comes and goes, for what no address can ask. The answer is
        of no interest."""
        is_stream = isinstance(self._connection, EventStreamConnection)
        if self._frame_state.watched and self.speaks_commands and not is_stream:
            topics = sorted(self._frame_state.watched)
            with suppress(NotConnected):  # which is read next
                await self._write(encode_command("subscribe", {"topics": topics, "events": True}))

    def _with_transport(self, opened: Opened, connection: ClientTransport) -> Opened:
        if isinstance(connection, EventStreamConnection):
            return replace(opened, transport=Transport.EVENT_STREAM, fallback=self._fallback)
        self._fallback = ""
        return opened

    def _not_by_itself(self, closed: Closed) -> Closed:
        """Return the end of a connection. If another one of this client's own has replaced its stream, and
        was then lost, that is no reason to stay away."""
        if closed.code == CloseCode.REPLACED and self._clock() - self._replaced_at < 2 * OPEN_TIMEOUT:
            return Closed(CloseCode.ABNORMAL, "replaced by a connection that was lost")
        return closed

    async def _next_frame(self, connection: ClientTransport) -> Any:
        if self._first is not None and self._ahead is None:
            first, self._first = self._first, None
            return first
        if self._frame_state.welcomed:
            return await connection.recv()
        async with asyncio.timeout(OPEN_TIMEOUT):
            return await connection.recv()

    def _event_of(self, frame: dict[str, Any], schedule: ReconnectSchedule) -> Event:
        if self._paced:
            self._note_pace(frame)
        if frame.get("type") == "shutdown":
            schedule.update(frame)
        if command := self._commands.receive(frame):
            if command.type == "subscribe" and frame.get("type") == "ok":
                fields = command.fields
                self._frame_state.subscribe(fields["topics"], frame, events=bool(fields.get("events")))
            return Received(frame, awaited=True)
        return self._frame_state.receive(frame, self._failover.target.name)

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


def _is_in_between(refusal: Exception) -> bool:
    """Tell whether something between client and server may have refused a WebSocket, and not the server."""
    match refusal:
        case InvalidStatus(response=response):
            return refused_event(response).code in ("", UPGRADE_REQUIRED)
        case ConnectionRefusedError() | socket.gaierror() | ssl.SSLError() | InvalidURI():
            return False
        case OSError():
            return isinstance(refusal, TimeoutError | ConnectionError)
    return True


def _why(refusal: Exception) -> str:
    if isinstance(refusal, InvalidStatus):
        return end_text(refused_event(refusal.response))
    return explain(refusal)
