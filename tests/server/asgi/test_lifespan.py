"""The lifespan with the notice in it."""

import asyncio
from typing import Any

import pytest
from starlette.applications import Starlette

from wsctl.server.asgi.lifespan import ASKED, NOTICE, LifespanWithNotice
from wsctl.server.asgi.notice import EXTENSION, ShutdownState

pytestmark = pytest.mark.anyio


class Host:
    """A server's side of one lifespan."""

    def __init__(self, app: Any, state: ShutdownState) -> None:
        self.sent: list[Any] = []
        self._messages: asyncio.Queue[Any] = asyncio.Queue()
        self.say("lifespan.startup")
        self.task = asyncio.create_task(
            LifespanWithNotice(app, state)({"type": "lifespan"}, self._messages.get, self._take)
        )

    def say(self, kind: str) -> None:
        self._messages.put_nowait({"type": kind})

    async def _take(self, message: Any) -> None:
        self.sent.append(message)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_an_application_that_asks_for_it_gets_the_notice_before_the_shutdown() -> None:
    state, heard = ShutdownState(), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        heard.append(scope["extensions"][EXTENSION].is_set())
        await receive()
        await send({"type": "lifespan.startup.complete", ASKED: True})
        while (message := await receive())["type"] != "lifespan.shutdown":
            heard.append(message)
        await send({"type": "lifespan.shutdown.complete"})

    host = Host(app, state)
    await settle()
    assert host.sent == [{"type": "lifespan.startup.complete"}]
    state.begin(1.0, "SIGTERM")
    await settle()
    state.withdraw()
    await settle()
    state.begin(1.0, "SIGTERM")
    await settle()
    assert heard == [False, NOTICE, NOTICE]
    host.say("lifespan.shutdown")
    await host.task
    assert host.sent[-1] == {"type": "lifespan.shutdown.complete"}


async def test_starlette_is_not_told_and_its_shutdown_comes_when_the_server_says() -> None:
    state = ShutdownState()
    host = Host(Starlette(), state)
    await settle()
    state.begin(1.0, "SIGTERM")
    await settle()
    assert host.sent == [{"type": "lifespan.startup.complete"}]
    host.say("lifespan.shutdown")
    await host.task
    assert host.sent[-1] == {"type": "lifespan.shutdown.complete"}


async def test_other_scopes_pass_as_they_are() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope, receive, send))

    scope = {"type": "http"}
    await LifespanWithNotice(app, ShutdownState())(scope, None, None)  # type: ignore[arg-type]
    assert seen == [({"type": "http"}, None, None)]
