"""A service whose hub has hooks, for servers under test. It writes what happens on standard error."""

import asyncio
from typing import Any

from fastapi import FastAPI

from tests.support.fastapi_application import tell
from wsctl import Client, Handshake, Hub, Incoming, Refuse, Reject

NAME = "tests.support.hooked_application:app"
"""The name by which a server finds it."""

hub = Hub()
app = FastAPI(lifespan=hub.lifespan)
app.include_router(hub.router, prefix="/rooms/{room}")


@hub.on_connect
async def who(request: Handshake) -> tuple[str, dict[str, Any]] | None:
    """The user of the header; some are kept waiting, some make it fail."""
    user = request.headers.get("X-User")
    if user is None:
        raise Refuse(401, "sign in first")
    tell(f"{user} asks")
    await asyncio.sleep(0)
    if user == "slow":
        await asyncio.Event().wait()
    if user == "broken":
        raise LookupError("no such table")
    if user == "nobody":
        return None
    facts = {"room": request.path_params["room"], "colour": request.query.get("colour")}
    return user, facts


@hub.on_message
async def said(client: Client, message: Incoming) -> object:
    """What was said, with what is known of the client."""
    if message.data == "forbidden":
        raise Reject("no_such_word", "mind your words")
    if message.data == "break":
        raise ZeroDivisionError
    if message.data == "quiet":
        return None
    await asyncio.sleep(0.01 if message.data == "wait" else 0)
    text = message.data if message.topic is None else [message.topic, *client.topics, message.data]
    return {"text": text, "of": client.identity}


@hub.on_subscribe
async def may(client: Client, topic: str) -> None:
    """One topic is for one client; one makes it fail."""
    await asyncio.sleep(0)
    if topic == "broken":
        raise LookupError("no such table")
    if topic.startswith("own.") and topic != f"own.{client.id}":
        raise Reject("not_yours", f"{topic} is another client's")


@hub.on_disconnect
async def gone(client: Client, code: int, reason: str) -> None:
    """Write who it was."""
    tell(f"{client.id} is gone with {code}, {client.identity}")


@app.get("/clients")
async def clients() -> list[list[Any]]:
    """Who is connected, and what is known of each."""
    return [[client.id, client.identity] for client in hub.clients()]
