"""Those who do not even become clients: bad heads, slow heads, and more than there is room for."""

import asyncio
import time
from contextlib import suppress

from tests.soak.actor import FULL, Actor
from tests.soak.request import status
from tests.support.hostile import HEADS
from tests.support.raw import handshake
from tests.support.raw_stream import NotWelcomed, RawStream
from wsctl.codes import CloseCode

MAX_HEAD = 16 << 10
"""Bytes of a request head that are read."""


class Knocker(Actor):
    """Bad request heads."""

    name = "knocker"
    pause = 0.2

    async def act(self) -> None:
        began = time.monotonic()
        head = self.rng.choice(sorted(HEADS))
        sent, expected = HEADS[head]
        async with await self.connect() as peer:
            with suppress(OSError):  # it may be answered before all is sent
                await peer.send(sent)
            self.stage.tally.acts[self.name] += 1
            # Who is still sending when he is answered and hung up on, may lose the answer.
            lost = [""] if len(sent) > MAX_HEAD else []
            self.wants(status(await peer.answer()), [str(expected), *lost], began, head)


class Loris(Actor):
    """A head that comes byte by byte and never ends."""

    name = "loris"
    pause = 1.0
    beat = 0.5

    async def act(self) -> None:
        began = time.monotonic()
        self.stage.tally.acts[self.name] += 1
        async with await self.connect() as peer:
            dripping = asyncio.create_task(self._drip(peer))
            try:
                self.wants(status(await peer.answer()), ["408"], began, "a slow head")
                self.stage.tally.counts["slow heads given up"] += 1
            finally:
                dripping.cancel()

    async def _drip(self, peer: RawStream) -> None:
        with suppress(OSError):
            for byte in handshake("/ws/loris", "X-More: " + "x" * 1000):
                await peer.send(bytes([byte]))
                await asyncio.sleep(self.beat)


class Crowd(Actor):
    """As many as the server takes, and some more, all at once; for a moment."""

    name = "crowd"
    pause = 6.0
    most = 1000
    moment = 0.3

    async def act(self) -> None:
        peers: list[RawStream] = []
        try:
            while len(peers) < self.most and not await self._is_full(peers):
                pass
            await asyncio.sleep(self.moment)
        finally:
            for peer in peers:
                peer.reset()

    async def _is_full(self, peers: list[RawStream]) -> bool:
        """Whether one more is turned away."""
        peer = await self.connect()
        peers.append(peer)
        try:
            await self.enter(peer, self.next_id(), CloseCode.ABNORMAL)
        except NotWelcomed as refusal:
            if str(refusal) != FULL:
                raise
            self.stage.tally.counts["found it full"] += 1
            return True
        return False
