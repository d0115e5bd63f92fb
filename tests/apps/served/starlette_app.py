"""Starlette: a WebSocket that answers each text, and a stream of lines."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from tests.apps.served.stamps import lifespan, stamp, stamps


async def answer(websocket: WebSocket) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_text(stamp())


async def stream(_request: Request) -> StreamingResponse:
    return StreamingResponse((f"data: {text}\n\n" async for text in stamps()), media_type="text/event-stream")


app = Starlette(routes=[WebSocketRoute("/ws", answer), Route("/events", stream)], lifespan=lifespan)
