"""Clients that do not read, while much is said to them."""

import asyncio

from tests.soak.actor import Actor
from tests.soak.peer import PATIENCE
from tests.soak.request import ask, content
from wsctl.codes import CloseCode

FODDER = "x" * 30_000
"""What it does not read. It is said to nobody else, and stays in the history beside small messages."""

BUFFER = 4096
"""Bytes that the kernel takes for it: else megabytes vanish before the server notices."""

BREATH = 0.05
"""Seconds between two pieces of fodder: others could not resume from a history that is full of them."""


class Staller(Actor):
    name = "staller"
    pause = 2.0

    async def act(self) -> None:
        client_id = self.next_id()
        async with await self.connect(BUFFER) as peer:
            await self.enter(peer, client_id, CloseCode.TRY_AGAIN_LATER)
            async with asyncio.timeout(PATIENCE):
                while await self._feed(client_id):  # noqa: ASYNC110
                    await asyncio.sleep(BREATH)

    async def _feed(self, client_id: str) -> bool:
        """Whether it is still there."""
        body = {"data": FODDER, "to": [client_id]}
        answer = content(await ask(self.stage.port, "POST", "/api/broadcast", body, self.stage.token))
        return bool(answer) and answer.get("recipients") == 1
