"""Clients that come, stay for a while and leave as one should."""

import asyncio
import time

from tests.soak.actor import Actor
from tests.support.raw_stream import RawStream
from wsctl.codes import CloseCode

LONGEST = 1.5
"""Seconds that one stays: less than a ping takes to be missed, for they do not answer any."""

BACKWARDS = "replaced by an older connection"
"""Of two that come within moments to two processes, either may be the newer one to the store; one process
knows better."""

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
            began = time.monotonic()
            await second.join(client_id)
            self.stage.tally.acts["replacer"] += 1
            ended, stays = await _first_to_end(first, second)
            if ended != CloseCode.REPLACED and self.stage.weather.fair(began):
                self.stage.tally.fault(f"{client_id} came twice, and was ended with {ended}")
            if stays is first:
                self.stage.tally.counts[BACKWARDS] += 1
            await stays.leave()


async def _first_to_end(first: RawStream, second: RawStream) -> tuple[int, RawStream]:
    """How one of two ended, and the other one."""
    ends = {asyncio.create_task(peer.ended()): peer for peer in (first, second)}
    try:
        done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in ends:
            task.cancel()
        await asyncio.gather(*ends, return_exceptions=True)
    over = done.pop()
    return over.result(), second if ends[over] is first else first
