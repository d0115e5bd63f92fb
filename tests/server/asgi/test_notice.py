"""The notice that an application gets."""

import asyncio
from typing import Annotated

import httpx
import pytest
from fastapi import Depends, FastAPI, WebSocket
from starlette.requests import Request

from wsctl.server.asgi.notice import EXTENSION, ShutdownNotice, ShutdownState, shutdown_notice

pytestmark = pytest.mark.anyio


Notice = Annotated[ShutdownNotice, Depends(shutdown_notice)]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(clock: Clock) -> ShutdownState:
    return ShutdownState(clock)


async def test_a_notice_tells_when_why_and_how_long(state: ShutdownState, clock: Clock) -> None:
    notice = ShutdownNotice(state)
    assert (notice.is_set(), notice.deadline, notice.reason) == (False, None, None)
    state.begin(30.0, "SIGTERM")
    clock.now += 10
    assert (notice.is_set(), notice.deadline, notice.reason) == (True, 20.0, "SIGTERM")
    clock.now += 21
    assert notice.deadline == 0.0


async def test_a_policy_that_closes_earlier_is_the_deadline(state: ShutdownState, clock: Clock) -> None:
    notice = ShutdownNotice(state)
    state.begin(30.0, "requested")
    notice.closes_at = clock.now + 5
    assert notice.deadline == 5.0
    notice.closes_at = clock.now + 50
    assert notice.deadline == 30.0


async def test_whoever_waits_is_woken_and_a_cancelled_drain_unsets_it(state: ShutdownState) -> None:
    notice = ShutdownNotice(state)
    waiting = asyncio.create_task(notice.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    state.begin(1.0, "requested")
    await waiting
    state.withdraw()
    assert (notice.is_set(), notice.deadline, notice.reason) == (False, None, None)


async def test_a_server_that_gives_no_notice_never_ends_anything() -> None:
    notice = shutdown_notice({"type": "http", "extensions": {EXTENSION: "of another kind"}})
    assert (notice.is_set(), notice.deadline, notice.reason) == (False, None, None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await notice.wait()


async def test_a_scope_and_a_connection_have_the_same_notice(state: ShutdownState) -> None:
    notice = ShutdownNotice(state)
    scope = {"type": "http", "headers": [], "extensions": {EXTENSION: notice}}
    assert shutdown_notice(scope) is notice
    assert shutdown_notice(Request(scope)) is notice


async def test_it_is_a_dependency_of_fastapi(state: ShutdownState) -> None:
    app = FastAPI()
    notices: list[ShutdownNotice] = []

    @app.get("/")
    async def page(notice: Notice) -> bool:
        return notice.is_set()

    @app.websocket("/ws")
    async def socket(websocket: WebSocket, notice: Notice) -> None:
        notices.append(notice)

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
        assert (await client.get("/")).json() is False
        schema = (await client.get("/openapi.json")).json()
    assert "parameters" not in schema["paths"]["/"]["get"]
    notice = ShutdownNotice(state)
    scope = {"type": "websocket", "path": "/ws", "headers": [], "extensions": {EXTENSION: notice}}
    await app({**scope, "query_string": b"", "subprotocols": []}, None, None)  # type: ignore[arg-type]
    assert notices == [notice]
