"""A service with a hub, for servers under test."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, WebSocket

from wsctl import Hub

NAME = "tests.support.hub_application:app"
"""The name by which a server finds it."""

hub = Hub()


@asynccontextmanager
async def _lifespan(_: FastAPI) -> AsyncIterator[None]:
    await hub.publish("started")
    yield
    print("application: stopped", flush=True)


app = FastAPI(lifespan=hub.lifespan(_lifespan))


@app.websocket("/rooms/{room}/ws/own")
async def own(websocket: WebSocket, room: str) -> None:
    """A WebSocket of its own, at a path that would be a client's."""
    await websocket.accept()
    await websocket.send_text(f"own in {room}")
    await websocket.receive()


app.include_router(hub.router, prefix="/rooms/{room}")


@app.get("/health")
async def health() -> dict[str, bool]:
    """A path that wsctl's own application has, too."""
    return {"own": True}


@app.post("/publish")
async def publish(wanted: dict[str, Any]) -> dict[str, Any]:
    """Publish with the arguments that came."""
    receipt = await hub.publish(**wanted)
    return {"id": receipt.id, "recipients": receipt.recipients}


@app.post("/disconnect/{client}")
async def disconnect(client: str) -> int:
    """Disconnect a client."""
    return await hub.disconnect(client, 4500, "signed out")


@app.get("/clients")
async def clients() -> dict[str, Any]:
    """Who is connected to which process."""
    return {"pid": os.getpid(), "clients": [client.id for client in hub.clients()]}


@app.get("/history")
async def history() -> list[Any]:
    """The data that are kept."""
    return [message.data for message in hub.history()]
