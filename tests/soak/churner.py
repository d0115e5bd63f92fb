"""Clients that come, stay for a while and leave as one should."""

import time

from tests.soak.actor import Actor
from wsctl.codes import CloseCode

LONGEST = 1.5
"""Seconds that one stays: less than a ping takes to be missed, for they do not answer any."""

TWICE = 0.25
"""How many of them come a second time with the same id, which ends their first connection."""


class Churner(Actor):
    name = "churner"
    pause = 0.1

    async def act(self) -> None:
        client_id = self.next_id()
        if self.rng.random() < TWICE:
            await self._again(client_id)
            return
        async with await self.connect() as peer:
            await self.enter(peer, client_id, CloseCode.NORMAL)
            if await peer.stay(self.rng.uniform(0, LONGEST)) is None:
                await peer.leave()

    async def _again(self, client_id: str) -> None:
        async with await self.connect() as first, await self.connect() as second:
            # Their two ends may be told in either order.
            await self.enter(first, client_id, CloseCode.REPLACED, CloseCode.NORMAL)
            await second.join(client_id)
            self.stage.tally.acts["replacer"] += 1
            began = time.monotonic()
            code = await first.ended()
            if code != CloseCode.REPLACED and self.stage.weather.fair(began):
                self.stage.tally.fault(f"{client_id} was replaced, and ended with {code}")
            await second.leave()
