"""FastAPI: a WebSocket that answers each text, and an event stream of its own kind."""

from collections.abc import AsyncIterator

from fastapi import FastAPI, WebSocket
from fastapi.sse import EventSourceResponse

from tests.apps.served.stamps import lifespan, stamp, stamps

app = FastAPI(lifespan=lifespan)


@app.websocket("/ws")
async def answer(websocket: WebSocket) -> None:
    await websocket.accept()
    async for _ in websocket.iter_text():
        await websocket.send_text(stamp())


@app.get("/events", response_class=EventSourceResponse)
async def stream() -> AsyncIterator[str]:
    async for text in stamps():
        yield text
