"""The hub for applications of one's own: `from wsctl import Hub`.

Its settings come from `WSCTL_*`, or under `wsctl serve` from that command's flags.
"""

import json
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import Any, TypeVar, overload

from fastapi import APIRouter, FastAPI

from wsctl.control.disconnecting import Disconnect
from wsctl.control.operations import NOT_CONNECTED, Broadcast, ControlError, Published
from wsctl.errors import NotPublished
from wsctl.log.history import Entry, History, MessageId
from wsctl.log.message_log import read_id
from wsctl.log.selection import selection
from wsctl.messages import Message
from wsctl.server.library.binding import HubBinding
from wsctl.server.websocket.hooks import Client, Handshake, Incoming
from wsctl.settings import Settings, from_environ
from wsctl.topics import has_wildcards, matches, topic_name, topic_pattern

OnConnect = TypeVar("OnConnect", bound=Callable[[Handshake], Any])
OnMessage = TypeVar("OnMessage", bound=Callable[[Client, Incoming], Any])
OnSubscribe = TypeVar("OnSubscribe", bound=Callable[[Client, str], Any])
OnDisconnect = TypeVar("OnDisconnect", bound=Callable[[Client, int, str], Any])

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
"""A lifespan as FastAPI and Starlette take it: what is entered is a state, or None. Their types have one form
for each, and a type of both would be neither."""


class Hub:
    """A hub: the clients of an application, and the messages that they get. A process has one.

    Example:
        hub = Hub()
        app = FastAPI(lifespan=hub.lifespan)
        app.include_router(hub.router)

        @app.post("/prices/{price}")
        async def price(price: float) -> dict[str, object]:
            receipt = await hub.publish({"price": price})
            return {"id": receipt.id, "recipients": receipt.recipients}
    """

    def __init__(self) -> None:
        self._binding = HubBinding(_settings)

    @property
    def router(self) -> APIRouter:
        """The routes of the hub, for `app.include_router(hub.router, prefix=...)`: the WebSocket
        `/ws/{client_id}`."""
        return self._binding.router

    @overload
    def lifespan(self, arg: Lifespan) -> Lifespan: ...

    @overload
    def lifespan(self, arg: FastAPI) -> AbstractAsyncContextManager[Any]: ...

    def lifespan(self, arg: Any) -> Any:
        """Run the hub for as long as an application runs: give it to that as its lifespan. One of your own
        goes within: `hub.lifespan(mine)`; while it starts and ends, the hub runs.

        Raises:
            CannotStart: when the application starts: another hub of this process runs.
            UsageError: when the application starts: a `WSCTL_*` variable cannot be read.

        Example:
            @asynccontextmanager
            async def database(app: FastAPI) -> AsyncIterator[None]:
                async with connected():
                    yield

            app = FastAPI(lifespan=hub.lifespan(database))
        """
        if _is_application(arg):
            return self._run(arg, None)
        return lambda app: self._run(app, arg)

    def on_connect(self, hook: OnConnect) -> OnConnect:
        """Have a function called before a client's handshake is answered. It gets a `Handshake` and returns
        the client's id, or a pair of the id and an identity (JSON), which is then in `Client.identity`; or
        None for the id in the path. It raises `Refuse` to answer with an HTTP status.

        Raises:
            RuntimeError: there is one already, or the hub has started.

        Example:
            @hub.on_connect
            async def who(request: Handshake) -> str:
                user = await user_of(request.headers.get("authorization"))
                if user is None:
                    raise Refuse(401, "sign in first")
                return user.name
        """
        self._add("on_connect", hook)
        return hook

    def on_message(self, hook: OnMessage) -> OnMessage:
        """Have a function called with each message of a client, one after the other. What it returns is
        published in the client's name, to the topic and the clients that the client has named; with None
        nothing is. It raises `Reject` to tell the client why not.

        Raises:
            RuntimeError: there is one already, or the hub has started.

        Example:
            @hub.on_message
            async def said(client: Client, message: Incoming) -> object:
                if len(message.data) > 500:
                    raise Reject("too_long", "a message has 500 characters at most")
                return {"text": message.data}
        """
        self._add("on_message", hook)
        return hook

    def on_subscribe(self, hook: OnSubscribe) -> OnSubscribe:
        """Have a function called with each topic that a client asks for, a name or a pattern: before its
        handshake is answered, and when it subscribes to more. What it returns does not matter. It raises
        `Reject` to refuse the topic, and with it all others of the same handshake or command. A client asks
        only for what its token and the settings allow.

        Raises:
            RuntimeError: there is one already, or the hub has started.

        Example:
            @hub.on_subscribe
            async def may(client: Client, topic: str) -> None:
                if topic.startswith("private.") and topic != f"private.{client.id}":
                    raise Reject("not_yours", "this topic is another client's")
        """
        self._add("on_subscribe", hook)
        return hook

    def on_disconnect(self, hook: OnDisconnect) -> OnDisconnect:
        """Have a function called when a client is disconnected, after what it sent, with the close code and
        the reason. One that moves in an upgrade is not disconnected.

        Raises:
            RuntimeError: there is one already, or the hub has started.

        Example:
            @hub.on_disconnect
            async def gone(client: Client, code: int, reason: str) -> None:
                await hub.publish({"left": client.id})
        """
        self._add("on_disconnect", hook)
        return hook

    async def publish(
        self,
        data: Any,
        to: str | Sequence[str] | None = None,
        *,
        topic: str | None = None,
        key: str | None = None,
    ) -> Published:
        """Publish a message to all clients, with `topic` to those that subscribe to it, with `to` to those of
        them with these ids, and wait until it has its place in the log. `data` is any JSON value. The receipt
        has the message's `id`, and in `recipients` how many connections it was sent to.

        A `key` makes it safe to publish a message again that may have been published: one whose key was seen
        in the last 5 minutes is not, and its receipt has the `id` of the first one, and `repeated`.

        Raises:
            HubNotStarted: the hub does not run.
            NotPublished: the log did not take it, or the server closes its clients.
            ValueError: the data are not JSON or larger than `--max-message-size`, or an id, the topic or the
                key is none.

        Example:
            receipt = await hub.publish({"price": 3}, topic="quotes.eu")
            receipt = await hub.publish("your order is on its way", to=["bob", "eve"])
        """
        addressees = None if to is None else [to] if isinstance(to, str) else list(to)
        control = self._binding.control
        try:
            return await control.publish(Broadcast(data, addressees, topic=topic, key=key))
        except ControlError as error:
            raise _publishing_error(error) from None

    async def disconnect(self, id: str, code: int = 4000, reason: str = "") -> int:  # noqa: A002
        """Close all connections of a client, at all workers and all servers of a Redis, and return how many
        these were. `code` is a close code that servers may use, 4000 to 4499 where the client
        is to reconnect and 4500 to 4999 where it is to stay away; `reason` has 123 bytes of UTF-8 at most.

        Raises:
            HubNotStarted: the hub does not run.
            ValueError: the id is none, the code may not be sent, or the reason is too long.
            ConnectionError: other processes of the server cannot be reached.

        Example:
            await hub.disconnect("bob", code=4500, reason="signed out")
        """
        wanted = Disconnect(id, code, reason)
        service = self._binding.service
        try:
            return (await service.disconnect(wanted, "application")).connections
        except ControlError as error:
            if error.code == NOT_CONNECTED:
                return 0
            raise ConnectionError(str(error)) from None

    def clients(self, topic: str | None = None) -> list[Client]:
        """Return the clients of this process, one for each connection, the one connected longest first; with
        `topic` those that subscribe to it, by whichever pattern.

        Raises:
            HubNotStarted: the hub does not run.
            ValueError: the topic is none.

        Example:
            online = {client.id for client in hub.clients()}
            traders = hub.clients(topic="quotes.eu")
        """
        node = self._binding.node
        found = node.manager.active_connections.values()
        if topic is not None:
            subscribers = set(node.manager.subscriptions.matching(topic_name(topic)))
            return [node.identities.client(c) for c in found if c in subscribers]
        return [node.identities.client(connection) for connection in found]

    def history(
        self, since: str | None = None, limit: int = 100, *, topic: str | None = None
    ) -> list[Message]:
        """Return messages that are kept, oldest first, `limit` at most: the first ones after the message with
        the id `since`, or the newest ones. `topic` is a name or a pattern, of which alone they are then.

        Raises:
            HubNotStarted: the hub does not run.
            LookupError: `since` was never given, or something behind it is kept no more.
            ValueError: `limit` is negative, or the topic is none.

        Example:
            newest = hub.history(limit=1)
            quotes = hub.history(topic="quotes.>")
        """
        if limit < 0:
            raise ValueError("a limit is 0 or more")
        history = self._binding.node.log.history
        pattern = None if topic is None else topic_pattern(topic)
        if since is None:
            entries = _newest(history, pattern)
            return [_message(entry) for entry in entries[max(0, len(entries) - limit) :]]
        at = read_id(since)
        found = None if at is None else _behind(history, at, pattern)
        if found is None:
            raise LookupError(f"{since} is not the id of a message that is kept")
        return [_message(entry) for entry in found[:limit]]

    @asynccontextmanager
    async def _run(self, app: Any, inner: Lifespan | None) -> AsyncIterator[Mapping[str, Any] | None]:
        async with self._binding.running(), inner(app) if inner else nullcontext() as state:
            try:
                yield state
            finally:
                await self._binding.finish_hooks()

    def _add(self, name: str, hook: Callable[..., Any]) -> None:
        if self._binding.has_node:
            raise RuntimeError(f"the hub has started: give it {name} before, where the module is loaded")
        if getattr(self._binding.hooks, name):
            raise RuntimeError(f"the hub has its {name} already: call the second function from the first")
        setattr(self._binding.hooks, name, hook)


def _settings() -> tuple[Settings, Mapping[str, str]]:
    return from_environ(os.environ), os.environ


def _is_application(arg: Any) -> bool:
    """Tell an application, for which the lifespan is to run, from a lifespan: that has no routes."""
    return hasattr(arg, "routes")


def _publishing_error(error: ControlError) -> Exception:
    wrong_input = error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return ValueError(str(error)) if wrong_input else NotPublished(error.code, str(error))


def _message(entry: Entry) -> Message:
    (payload,) = entry.batch.payloads
    frame = json.loads(payload)
    return Message(frame["id"], frame["ts"], frame["from"], frame["data"], entry.to, topic=entry.topic)


def _newest(history: History, pattern: str | None) -> list[Entry]:
    """Return what is kept, oldest first: everything, or of the topics that a pattern matches."""
    if pattern is None:
        return history.entries()
    if not has_wildcards(pattern):
        return history.of(pattern)
    return [entry for entry in history.entries() if entry.topic and matches(pattern, entry.topic)]


def _behind(history: History, seen: MessageId, pattern: str | None) -> list[Entry] | None:
    """Return what is kept behind a message, everything or of the topics that a pattern matches; None if that
    is not all."""
    if pattern is None:
        return history.since(seen)
    found = history.select(seen, selection((pattern,), ()))
    return list(found.entries) if found.recovered else None
