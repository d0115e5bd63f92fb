"""Clients that send what one must not send, or too much of it."""

from contextlib import suppress

from tests.soak.actor import Actor
from tests.support.hostile import FRAMES


class Flooder(Actor):
    name = "flooder"
    pause = 0.4

    async def act(self) -> None:
        fault = self.rng.choice(sorted(FRAMES))
        sent, code = FRAMES[fault]
        async with await self.connect() as peer:
            await self.enter(peer, self.next_id(), code)
            with suppress(OSError):  # it may be closed before all is sent
                await peer.send(sent)
            await peer.ended()
