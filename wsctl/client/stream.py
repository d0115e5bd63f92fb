"""The client as a library: the messages of one client id as a stream that reconnects and resumes."""

import asyncio
import inspect
import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

from wsctl.client.commands import CommandRefused
from wsctl.client.connection import ANSWER_TIMEOUT, AsyncCredential, Credential, no_credential
from wsctl.client.events import (
    UNCONFIRMED,
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    end_text,
    is_final,
)
from wsctl.client.inbox import Inbox, InboxEnded
from wsctl.client.session import NO_TOPICS, UNKNOWN_COMMAND, NotConnected, Session, WriteInterrupted
from wsctl.client.stream_events import Connected, Disconnected, EventLog, StreamEvent
from wsctl.client.stream_state import Item, StreamState
from wsctl.client.target import Target, server_url
from wsctl.client.transport import Transport
from wsctl.client_ids import client_id
from wsctl.codes import ErrorCode
from wsctl.errors import UsageError, WsctlError
from wsctl.messages import Message
from wsctl.settings import bearer_token
from wsctl.topics import topic_name, topic_pattern

CONNECT_TIMEOUT = 10.0
"""Seconds that a program waits for a connection, unless it says otherwise: a server that restarts is back
within them."""

TOKEN_TIMEOUT = 10.0
"""Seconds that a function has to give a token: as long as the handshake that it is for."""

Token = str | Callable[[], str | Awaitable[str | None] | None] | None
"""A token, or a function that is asked for one before each attempt to connect; None: there is none."""

OnEvent = Callable[[StreamEvent], object]
"""A function that is told of each event; one that is to be awaited is awaited."""

_log = logging.getLogger("wsctl.client")


class SessionEnded(WsctlError):
    """The end of a stream for good: another attempt to connect would end in the same way.

    Attributes:
        code: the close code of the server (4501: a newer connection has the same id), or the HTTP status with
            which it refused the handshake (401: the token); None when what answers is no wsctl server.
    """

    code: int | None

    def __init__(self, event: Event) -> None:
        match event:
            case Closed(code=code):
                text, self.code = end_text(event), code
            case HandshakeRefused(status=status):
                advice = "; correct token=" if status == HTTPStatus.UNAUTHORIZED else ""
                text, self.code = f"the server {end_text(event)}{advice}", status
            case ConnectFailed():
                text, self.code = event.advised, None
            case _:
                raise TypeError(f"not final: {event}")
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Presence:
    """The clients that are subscribed to a topic.

    Attributes:
        count: how many clients.
        clients: of each, by its id, how many of its connections are subscribed; 1,000 clients at most.
    """

    count: int
    clients: Mapping[str, int]

    @classmethod
    def of(cls, ok: Mapping[str, Any]) -> Self:
        """Read the answer of a server."""
        return cls(int(ok["count"]), {each["client_id"]: each["connections"] for each in ok["clients"]})


class Unconfirmed(WsctlError):
    """A message that may have been published or not: the connection ended before the server's answer, or the
    server does not know."""


def connect(
    url: str | Sequence[str],
    *,
    id: str,  # noqa: A002 - what everybody calls it
    topics: Sequence[str] = (),
    since: str | None = None,
    token: "Token" = None,
    on_event: "OnEvent | None" = None,
    receive: bool = True,
    timeout: float | None = CONNECT_TIMEOUT,
    transport: str = Transport.WEBSOCKET,
) -> "MessageStream":
    """Connect a client to a wsctl server, to receive and publish messages.

        import asyncio
        from wsctl import connect


        async def main():
            async with connect("http://127.0.0.1:8000", id="bob") as messages:
                await messages.publish("hello")
                async for m in messages:
                    print(m.id, m.sender, m.data)


        asyncio.run(main())

    The stream reconnects and resumes by itself: messages come in their order, none twice, and none is missing
    unless `on_event` is told of a `Lost`. It leaves a draining server at the moment that the server names.

    Args:
        url: the address of the server: http, https, ws or wss, with the path under which a proxy serves it.
            Of several, which share their messages, the others are tried when the first takes no client.
        id: the client id. A newer connection with the same id ends this one.
        topics: the topics to subscribe to, or patterns of them: `*` is any segment, `>` at the end any rest.
            Messages without a topic come to everybody. The subscriptions hold at each reconnect, and one
            `since` resumes them all.
        since: the id of the last message that was seen; what came after it follows. Without it the stream
            begins with what is published after the connection.
        token: the token to show, or a function, also an async one, that is asked for it before each attempt;
            one that fails or takes more than 10 seconds is asked again at the next attempt.
        on_event: a function, also an async one, that is told of each event in its place among the messages,
            by the task that iterates. What it raises is raised from the iteration.
        receive: False for a program that only publishes: what arrives is dropped, and `on_event` is told of
            events as they happen.
        timeout: the seconds that `async with` and `publish` wait for a connection; None: without end.
        transport: `"websocket"`; `"event-stream"` for server-sent events, which pass where no WebSocket does;
            `"auto"` for these only where something in between refuses a WebSocket, which is tried again after
            some minutes. Over a stream `watch` and `presence` are refused, and `subscribe` opens it anew, so
            that messages come to the new topics from the last message on that was seen.

    Raises:
        ValueError: an argument cannot be meant; the message says which.
    """
    others: Sequence[str] = ()
    if not isinstance(url, str):
        url, *others = url or [""]
    try:
        first, *rest = [Target(server_url(one, "url", "token=")) for one in (url, *others)]
        name = client_id(id)
        credential = credential_of(token)
    except UsageError as error:
        raise ValueError(str(error)) from None
    wanted = patterns_of(topics)
    if timeout is not None and not timeout > 0:
        raise ValueError(f"timeout is {timeout}: give seconds above 0, or None to wait without end")
    if since == "":
        raise ValueError("since is empty: give the id of a message, or None")
    try:
        chosen = Transport(transport)
    except ValueError:
        known = ", ".join(repr(str(each)) for each in Transport)
        raise ValueError(f"transport is {transport!r}: give one of {known}") from None
    session = Session(
        first,
        name,
        others=rest,
        credential=credential,
        since=since,
        topics=wanted,
        commands=True,
        paced=True,
        transport=chosen,
    )
    return MessageStream(session, name, on_event=on_event, receive=receive, timeout=timeout)


class MessageStream:
    """The messages of one client id, from `connect`: to be entered once, and iterated by one task at a time.

    At most 100 messages wait for a program that reads slowly. Then nothing more is read from the server: TCP
    holds it back, and what it has for this client waits there (`--max-queue`). If that takes too long, the
    server closes the connection with 1013, and the stream resumes when the program goes on; until then
    nothing can be published either. A program that reads nothing connects with `receive=False`.

    Attributes:
        id: the client id.
    """

    def __init__(
        self,
        session: Session,
        client_id: str,
        *,
        on_event: OnEvent | None = None,
        receive: bool = True,
        timeout: float | None = CONNECT_TIMEOUT,
        inbox: Inbox | None = None,
    ) -> None:
        self.id = client_id
        self._session = session
        self._on_event = on_event
        self._wants_messages = receive
        self._timeout = timeout if timeout != math.inf else None
        self._state = StreamState()
        self._event_log = EventLog(client_id)
        self._inbox = inbox or Inbox()
        self._receiving: asyncio.Task[None] | None = None
        self._iterating = False
        self._left = False
        self._begun = False
        self._ready = asyncio.Event()  # connected, or over
        self._end: Exception | None = None

    async def __aenter__(self) -> Self:
        """Connect: what is published from here on is received.

        Raises:
            NotConnected: there was no connection in time.
            SessionEnded: there will be none.
        """
        if self._receiving:
            raise RuntimeError("a stream is entered once: call connect() for each 'async with'")
        self._receiving = asyncio.create_task(self._receive())
        try:
            await self._wait_ready(self._deadline())
            if self._end and not self._begun:
                raise self._end
        except BaseException:
            await self._leave(self._receiving)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the connection normally (1000)."""
        if self._receiving:
            await self._leave(self._receiving)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        """Return the next message, waited for. A task that is cancelled meanwhile loses none.

        Raises:
            StopAsyncIteration: the `async with` was left.
            SessionEnded: the stream is over for good.
            RuntimeError: another task waits for a message, or the stream was not entered.
        """
        if not self._receiving:
            raise RuntimeError("the stream is not open: use 'async with connect(...) as messages'")
        if not self._wants_messages:
            raise RuntimeError("the stream was connected with receive=False: leave that out to iterate")
        if self._iterating:
            raise RuntimeError("two tasks iterate over one stream: connect one of its own for each, or share")
        self._iterating = True
        try:
            while not isinstance(item := await self._next(), Message):
                await self._tell(item)
            return item
        finally:
            self._iterating = False

    @property
    def topics(self) -> tuple[str, ...]:
        """The topics and patterns that are subscribed to."""
        return self._session.topics

    async def publish(
        self,
        data: Any,
        topic: str | None = None,
        to: str | Sequence[str] | None = None,
        key: str | None = None,
        *,
        traceparent: str | None = None,
    ) -> str | None:
        """Publish a message, and return its id once the server has it; it waits for a connection first, and
        as long as the rate of the server demands: a burst is published in the order of the calls.

        Without a topic it is for everybody, this client included; with one for the subscribers of that. It is
        sent once at most, unless it has a `key`: then it is sent again when a connection ended before the
        answer, since the server publishes one with the same key once within 5 minutes.

        A server of a release before topics takes texts for everybody alone, and gives no receipt: then this
        returns None when the text is written. What such a server refuses is told by a `Rejected`.

        Args:
            data: a text, or any JSON value.
            topic: the name of a topic.
            to: the client ids, or the one, that alone are to get it, where the server permits that.
            key: a name for this message, of 1 to 128 characters, that no other one of this client has. What
                was published with it already is not published again, and the id is that of the first.
            traceparent: the trace context (W3C) of the caller, for a server with `--tracing`. A server of
                an earlier release refuses it (`bad_command`).

        Raises:
            CommandRefused: the server refused; its `code` says why.
            NotConnected: there was no connection in time; nothing was sent, or it had a `key`, with which it
                can be tried again.
            Unconfirmed: the connection ended before the answer, or the server does not know: the message may
                have been published.
            SessionEnded: the stream is over for good; nothing was sent.
            TypeError, ValueError: an argument cannot be sent.

        Example:
            await messages.publish({"price": 3}, topic="quotes.eu")
        """
        only = [to] if isinstance(to, str) else None if to is None else list(to)
        name = None if topic is None else topic_name(topic)
        fields = {"data": data, "topic": name, "to": only, "key": key, "traceparent": traceparent}
        _check_json(data)
        deadline = self._deadline()
        while True:
            await self._wait_open(deadline)
            try:
                if self._session.speaks_commands:
                    ok = await self._request("publish", **fields)
                else:
                    ok = await self._publish_text(fields)
            except WriteInterrupted:
                if key is not None:  # the server knows it again
                    self._ready.clear()
                    continue
                text = "the connection ended before the server had answered: it may have been published"
                raise Unconfirmed(text) from None
            except NotConnected:
                self._ready.clear()  # the event that says so has not been read yet
            except CommandRefused as refusal:
                # Others use the same id. The rate is kept from here on, and nothing was published.
                if refusal.code != ErrorCode.RATE_LIMITED or not self._session.keeps_rate:
                    raise
            else:
                return None if ok is None else str(ok.get("id", ""))

    async def subscribe(self, *topics: str) -> None:
        """Subscribe to further topics, or patterns of them, as of now: what is published to them after this
        returns comes, at the connections after this one too.

        Raises:
            CommandRefused: the server refused, and nothing has changed; its `code` says why.
            NotConnected: there was no connection in time.
            SessionEnded: the stream is over for good.
            ValueError: a text is no topic and no pattern.

        Example:
            await messages.subscribe("orders.eu.*", "chat.>")
        """
        wanted = patterns_of(topics)
        if wanted:
            await self._repeat("subscribe", self._deadline(), topics=wanted)

    async def watch(self, *topics: str) -> None:
        """Subscribe to topics, without wildcards, and be told by a `Joined` and a `Left` who else begins and
        ceases to be subscribed to them. While there is no connection nothing is told: `presence` says who is
        there.

        Raises:
            CommandRefused: the server refused, and nothing has changed; its `code` says why.
            NotConnected: there was no connection in time.
            SessionEnded: the stream is over for good.
            ValueError: a text is no topic.

        Example:
            await messages.watch("chat.lobby")
        """
        wanted = [topic_name(topic) for topic in patterns_of(topics)]
        if wanted:
            await self._repeat("subscribe", self._deadline(), topics=wanted, events=True)

    async def presence(self, topic: str) -> Presence:
        """Return who is subscribed to a topic, by whichever pattern.

        Raises:
            CommandRefused: the server refused: the client may not subscribe to it, for instance.
            NotConnected: there was no connection in time.
            SessionEnded: the stream is over for good.
            RuntimeError: `on_event` of a stream with `receive=False` has called it: that waits for nothing.
            ValueError: the text is no topic.

        Example:
            there = await messages.presence("chat.lobby")
            print(there.count, "bob" in there.clients)
        """
        ok = await self._repeat("presence", self._deadline(), topic=topic_name(topic))
        if ok is None:
            raise RuntimeError("presence() waits for an answer, which this function keeps from being read")
        return Presence.of(ok)

    async def unsubscribe(self, *topics: str) -> None:
        """End subscriptions, each as it was made. What the server had sent before it knew of this may still
        come.

        Raises:
            CommandRefused: the server refused; the next connection has the subscriptions no more.
            NotConnected: there was no connection in time; the next one has them no more.
            SessionEnded: the stream is over for good.
            ValueError: a text is no topic and no pattern.
        """
        unwanted = patterns_of(topics)
        self._session.unsubscribe(unwanted)
        if unwanted:
            await self._repeat("unsubscribe", self._deadline(), topics=unwanted)

    async def _repeat(self, kind: str, deadline: float | None, **fields: Any) -> dict[str, Any] | None:
        """Send a command that may be repeated, until it is answered; return the answer."""
        while True:
            await self._wait_open(deadline)
            try:
                return await self._request(kind, **fields)
            except NotConnected:
                self._ready.clear()

    async def _request(self, kind: str, **fields: Any) -> dict[str, Any] | None:
        """Send a command and wait for the answer: all that stands before it is read meanwhile. The task that
        reads does not wait for itself: then None is returned once it is written."""
        if asyncio.current_task() is self._receiving:
            await self._session.post(kind, **fields)
            return None
        try:
            with self._inbox.unlimited():
                return await self._session.request(kind, ANSWER_TIMEOUT, **fields)
        except TimeoutError:
            raise Unconfirmed(f"the server has not answered within {ANSWER_TIMEOUT:g} s") from None
        except CommandRefused as refusal:
            if refusal.code == UNCONFIRMED:
                raise Unconfirmed(str(refusal)) from None
            raise

    async def _publish_text(self, fields: Mapping[str, Any]) -> dict[str, Any] | None:
        """Publish to a server of a release before topics, which answers nothing."""
        data = fields["data"]
        if not isinstance(data, str) or any(fields[name] is not None for name in ("topic", "to", "key")):
            text = f"the server {NO_TOPICS}, and takes texts for everybody alone; update it"
            raise CommandRefused(UNKNOWN_COMMAND, text)
        await self._session.send(data)
        return None

    async def _wait_open(self, deadline: float | None) -> None:
        """Wait for a connection.

        Raises:
            NotConnected: there is none in time, or the stream is not open.
            SessionEnded: there will be none.
        """
        if self._receiving and not self._left:
            await self._wait_ready(deadline)
        if self._left or not self._receiving:
            raise NotConnected("the stream is not open: use it inside its 'async with'")
        if self._end:
            raise self._end

    async def _receive(self) -> None:
        """Pass on what the session tells, until it is over."""
        try:
            async with aclosing(self._session.events()) as events:
                async for event in events:
                    for item in self._state.receive(event):
                        await self._pass_on(item)
                    if is_final(event):
                        self._end = SessionEnded(event)
        except Exception as error:
            self._end = error
        finally:
            self._inbox.end()
            self._ready.set()

    async def _pass_on(self, item: Item) -> None:
        match item:
            case Connected():
                self._begun = True
                self._ready.set()
            case Disconnected():
                self._ready.clear()
        if not (isinstance(item, Message) or self._left):
            self._event_log.write(item)
        if self._wants_messages:
            await self._inbox.put(item)
        elif not isinstance(item, Message):
            await self._tell(item)

    async def _next(self) -> Item:
        try:
            return await self._inbox.get()
        except InboxEnded:
            raise self._end or StopAsyncIteration from None

    async def _tell(self, event: StreamEvent) -> None:
        if self._on_event:
            answer = self._on_event(event)
            if inspect.isawaitable(answer):
                await answer

    def _deadline(self) -> float | None:
        """Return the time of the loop until which a connection is waited for."""
        return None if self._timeout is None else asyncio.get_running_loop().time() + self._timeout

    async def _wait_ready(self, deadline: float | None) -> None:
        """Wait until there is a connection, or will be none."""
        try:
            async with asyncio.timeout_at(deadline):
                await self._ready.wait()
        except TimeoutError:
            raise NotConnected(f"not connected within {self._timeout:g} s: {self._why()}") from None

    def _why(self) -> str:
        if self._inbox.full:
            waiting = f"{self._inbox.waiting} messages wait for the program, and it does not read them"
            return f"{waiting}: iterate over them, or connect with receive=False"
        return self._state.why or "no answer in time"

    async def _leave(self, receiving: "asyncio.Task[None]") -> None:
        self._left = True
        self._inbox.close()
        try:
            await self._session.close()
            await receiving
        finally:
            receiving.cancel()


def patterns_of(topics: Sequence[str]) -> list[str]:
    """Return topics and patterns, checked.

    Raises:
        ValueError: one is neither.
    """
    if isinstance(topics, str):
        raise ValueError(f"topics is a text: write [{topics!r}]")
    return [topic_pattern(topic) for topic in topics]


def _check_json(data: object) -> None:
    """Check what is to be published.

    Raises:
        TypeError: JSON has no such thing.
        ValueError: JSON has no such number, or UTF-8 cannot carry the text.
    """
    try:
        json.dumps(data, ensure_ascii=False, allow_nan=False).encode()
    except UnicodeEncodeError:
        raise ValueError("the text has half a surrogate pair in it, which cannot be sent") from None


def credential_of(token: Token, timeout: float = TOKEN_TIMEOUT) -> Credential | AsyncCredential:
    """Return the credential that a program has given; `timeout` is in seconds.

    Raises:
        UsageError: a text that is no token.
    """
    if token is None:
        return no_credential
    if isinstance(token, str):
        text = bearer_token(token, "token")
        return lambda: text

    async def ask() -> str | None:
        try:
            async with asyncio.timeout(timeout):
                answer = token()
                given = await answer if inspect.isawaitable(answer) else answer
            if not isinstance(given, str | None):
                raise TypeError(f"{type(given).__name__} is no text")
        except Exception as error:
            _log.debug("token() failed", exc_info=True)
            why = f"{type(error).__name__}: {error}".rstrip(": ")
            raise UsageError(f"token() gave no token: {why}") from error
        return None if given is None else bearer_token(given, "what token() gave")

    return ask
