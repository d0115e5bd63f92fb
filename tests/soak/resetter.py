"""Clients that are gone without a word."""

from collections.abc import Awaitable, Callable

from tests.soak.actor import Actor
from tests.support.raw import handshake, masked
from tests.support.raw_stream import RawStream
from wsctl.codes import CloseCode
from wsctl.frame import TEXT

LONGEST = 1.0
"""Seconds that one stays before."""


class Resetter(Actor):
    name = "resetter"
    pause = 0.15

    async def act(self) -> None:
        ways: list[Callable[[RawStream], Awaitable[None]]] = [self._reset, self._mid_frame, self._half_closed]
        async with await self.connect() as peer:
            if self.rng.random() < 0.2:
                await self._before_it_is_answered(peer)
                return
            await self.enter(peer, self.next_id(), CloseCode.ABNORMAL)
            if await peer.stay(self.rng.uniform(0, LONGEST)) is None:
                await self.rng.choice(ways)(peer)

    async def _reset(self, peer: RawStream) -> None:
        peer.reset()

    async def _mid_frame(self, peer: RawStream) -> None:
        frame = masked(TEXT, b"x" * self.rng.randrange(100, 60_000))
        await peer.send(frame[: self.rng.randrange(1, len(frame))])
        if self.rng.random() < 0.5:
            peer.reset()

    async def _half_closed(self, peer: RawStream) -> None:
        """Nothing more will come, and everything is still read: the server must end it."""
        peer.finish()
        await peer.ended()

    async def _before_it_is_answered(self, peer: RawStream) -> None:
        """It may have become a client just so, whose end is its own."""
        client_id = self.next_id()
        sent = handshake(f"/ws/{client_id}")
        await peer.send(sent[: self.rng.randrange(len(sent)) + 1])
        peer.reset()
        self.stage.tally.acts["resetter"] += 1


class Mute(Actor):
    """A client that vanished: it takes everything, and answers no ping."""

    name = "mute"
    pause = 2.0

    async def act(self) -> None:
        async with await self.connect() as peer:
            await self.enter(peer, self.next_id(), CloseCode.ABNORMAL)
            await peer.ended()
