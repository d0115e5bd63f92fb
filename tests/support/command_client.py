"""A client that speaks commands, and remembers who comes and goes."""

import asyncio
import json
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.support import frames
from tests.support.server import DEADLINE


class CommandClient:
    """A connection on which commands are sent and answered, one after the other.

    Attributes:
        told: of each frame that says who joined or left: which of these, the topic, the client.
        got: the data of each message.
    """

    def __init__(self, client_id: str, connection: ClientConnection) -> None:
        self.client_id = client_id
        self.connection = connection
        self.told: list[tuple[str, str, str]] = []
        self.got: list[Any] = []
        self._refs = 0

    async def ask(self, kind: str, **fields: Any) -> dict[str, Any]:
        """Send a command; its answer."""
        self._refs += 1
        await self.connection.send(json.dumps({"type": kind, "ref": self._refs, **fields}))
        while (frame := await self.receive()).get("ref") != self._refs:
            pass
        assert frame["type"] == "ok", frame
        return frame

    async def presence(self, topic: str) -> dict[str, int]:
        """The clients that subscribe to a topic, with the number of their connections."""
        answer = await self.ask("presence", topic=topic)
        assert answer["count"] == len(answer["clients"])
        return {each["client_id"]: each["connections"] for each in answer["clients"]}

    async def until_present(self, topic: str, clients: dict[str, int]) -> None:
        """Ask until just these are there: another process may not have said so yet."""
        async with asyncio.timeout(DEADLINE):
            while await self.presence(topic) != clients:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def hears(self, *told: tuple[str, str, str]) -> None:
        """Wait until it was told so often who comes and goes; it is this and nothing else."""
        while len(self.told) < len(told):
            await self.receive()
        assert self.told == list(told)

    async def reads(self, count: int) -> list[Any]:
        """The data of all messages, when there are so many."""
        while len(self.got) < count:
            await self.receive()
        return self.got

    async def receive(self) -> dict[str, Any]:
        """The next frame, waited for."""
        async with asyncio.timeout(DEADLINE):
            frame = frames.read(await self.connection.recv())
        if frame["type"] in ("joined", "left"):
            self.told.append((frame["type"], frame["topic"], frame["client_id"]))
        elif frame["type"] == "message":
            self.got.append(frame["data"])
        return frame

    async def close(self) -> None:
        await self.connection.close()


async def join_with_commands(url: str, client_id: str, *topics: str, **options: Any) -> CommandClient:
    """Connect a client that subscribes to topics from the beginning, and take its welcome."""
    query = "&".join(f"topic={topic}" for topic in topics)
    options = {"subprotocols": ["wsctl.2"], "compression": None, "proxy": None} | options
    client = CommandClient(client_id, await connect(f"{url}/ws/{client_id}?{query}", **options))
    assert client.connection.subprotocol == "wsctl.2"
    frame = await client.receive()
    assert frame["type"] == "welcome", frame
    return client
