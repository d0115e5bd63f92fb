"""A server in the test's own process that speaks `wsctl.2`: it answers commands as a test says."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from tests.support.fake_server import serving, welcome
from wsctl.client.target import Target

Frame = dict[str, Any]

Answer = Callable[[Frame], Frame | None]
"""The answer to a command, without its `ref`; None: there is none."""


def ok(command: Frame) -> Frame:
    """The answer of a server that does everything."""
    return {"type": "ok"} | ({} if command["type"] == "unsubscribe" else {"id": "7-0"})


def refused(code: str, message: str = "no") -> Answer:
    return lambda _command: {"type": "error", "code": code, "message": message}


class FakeHub:
    """The connections of clients, and what they asked for.

    Attributes:
        queries: the query of each connection, in order.
        commands: what came on all of them, without `ref`.
        answer: how a command is answered; one that is published comes back first, to its sender.
        welcomes: fields of the next welcomes; then those of one that recovered everything.
    """

    def __init__(self, answer: Answer = ok, *welcomes: Frame) -> None:
        self.queries: list[list[tuple[str, str]]] = []
        self.commands: list[Frame] = []
        self.answer = answer
        self.welcomes = list(welcomes)
        self.connection: ServerConnection | None = None
        self._number = 1

    async def __call__(self, connection: ServerConnection) -> None:
        assert connection.request
        self.queries.append(parse_qsl(urlsplit(connection.request.path).query))
        self.connection = connection
        resumes = {"recovered": True} if "since" in dict(self.queries[-1]) else {}
        fields = self.welcomes.pop(0) if self.welcomes else resumes
        await connection.send(json.dumps(json.loads(welcome(id=f"{self._number}-0")) | fields))
        with suppress(ConnectionClosed):
            await self._answer_commands(connection)

    async def _answer_commands(self, connection: ServerConnection) -> None:
        async for text in connection:
            command = json.loads(text)
            ref = command.pop("ref", None)
            self.commands.append(command)
            answer = self.answer(command)
            if answer is None:
                continue
            if command["type"] == "publish" and answer["type"] == "ok":
                answer |= {"id": await self.publish(command.get("data"), command.get("topic"), "bob")}
            await self.send(answer | ({} if ref is None else {"ref": ref}))

    async def publish(self, data: object, topic: str | None = None, sender: str = "eve") -> str:
        """Send a message on the newest connection; return its id."""
        self._number += 1
        frame = {"type": "message", "id": f"{self._number}-0", "ts": 0.0, "from": sender}
        await self.send(frame | ({} if topic is None else {"topic": topic}) | {"data": data})
        return str(frame["id"])

    async def send(self, frame: Frame) -> None:
        """Send a frame on the newest connection."""
        assert self.connection
        await self.connection.send(json.dumps(frame))

    async def cut(self, code: int = 1012) -> None:
        """Close the newest connection."""
        assert self.connection
        await self.connection.close(code, "cut")


@asynccontextmanager
async def serving_hub(hub: FakeHub, *subprotocols: str) -> AsyncIterator[Target]:
    """Run the hub; with other subprotocols it is a server of another release."""
    async with serving(hub, subprotocols=list(subprotocols) or ["wsctl.2", "wsctl"]) as target:
        yield target
