"""The lifespan of an application that is not ours, with the notice in it.

An application that answers `lifespan.startup.complete` with `"wsctl.shutdown_notice": True` also gets
`lifespan.shutdown.notice` when a drain begins. Nobody else may: Starlette takes whatever comes second for the
shutdown.
"""

import asyncio

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wsctl.server.asgi.notice import EXTENSION, ShutdownNotice, ShutdownState

ASKED = "wsctl.shutdown_notice"
"""The field by which an application asks for the message."""

NOTICE: Message = {"type": "lifespan.shutdown.notice"}


FAILED = ("lifespan.startup.failed", "lifespan.shutdown.failed")
"""The messages with which an application says that it has failed. Their text is kept from uvicorn, which
would log it in one line of its own."""


class LifespanWithNotice:
    """An application whose lifespan scope has the notice, in front of `app`.

    Attributes:
        failure: what the application says about why its start or its shutdown failed, in most cases a
            traceback.
    """

    def __init__(self, app: ASGIApp, state: ShutdownState) -> None:
        self.failure = ""
        self._app = app
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return

        async def send_failure_apart(message: Message) -> None:
            if message["type"] in FAILED:
                self.failure = message.get("message", "")
                message = {"type": message["type"]}
            await send(message)

        messages = _LifespanMessages(self._state, receive, send_failure_apart)
        extensions = {**(scope.get("extensions") or {}), EXTENSION: ShutdownNotice(self._state)}
        try:
            await self._app({**scope, "extensions": extensions}, messages.receive, messages.send)
        finally:
            messages.end()


class _LifespanMessages:
    """The messages of one lifespan. What the server sends is gathered in a queue from when the application
    has asked for the notice, which goes into the same queue."""

    def __init__(self, state: ShutdownState, receive: Receive, send: Send) -> None:
        self._state = state
        self._receive = receive
        self._send = send
        self._queue: asyncio.Queue[Message] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []

    async def receive(self) -> Message:
        return await (self._queue.get() if self._tasks else self._receive())

    async def send(self, message: Message) -> None:
        if message["type"] == "lifespan.startup.complete" and message.get(ASKED):
            self._tasks = [asyncio.create_task(self._forward()), asyncio.create_task(self._watch())]
        await self._send({name: value for name, value in message.items() if name != ASKED})

    def end(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _forward(self) -> None:
        while True:
            await self._queue.put(await self._receive())

    async def _watch(self) -> None:
        """Give notice once for each drain: one that was cancelled is followed by another."""
        while True:
            await self._state.began.wait()
            await self._queue.put(NOTICE)
            await self._state.withdrawn.wait()
