"""Clients that do not read, while much is said to them."""

import asyncio

from tests.soak.actor import Actor
from tests.soak.fodder import feed
from tests.support.raw_stream import PATIENCE
from wsctl.codes import CloseCode

BUFFER = 4096
"""Bytes that the kernel takes for it: else megabytes vanish before the server notices."""


class Staller(Actor):
    name = "staller"
    pause = 3.0

    async def act(self) -> None:
        client_id = self.next_id()
        async with await self.connect(BUFFER) as peer:
            await self.enter(peer, client_id, CloseCode.TRY_AGAIN_LATER)
            async with asyncio.timeout(PATIENCE):
                await self._stall(client_id)

    async def _stall(self, client_id: str) -> None:
        """Until nobody gets what it does not read; another process may still have to learn of it."""
        known = False
        while True:
            got = await feed(self.stage.port, self.stage.token, client_id)
            if known and 0 in got:
                return
            known = known or 1 in got
            if None in got:  # a store that is slow: the ping may be missed before the queue is full
                self.stage.curtain(client_id)
