"""Who upgrades, drains and kills, while everything else goes on."""

import asyncio
import random
from collections.abc import Awaitable, Callable

from tests.soak.plan import Change, Plan
from tests.soak.site import LOOK, PATIENCE, Site
from tests.soak.tally import Tally
from tests.soak.weather import Weather
from tests.soak.witnesses import Witnesses
from tests.support.raw_stream import NotWelcomed, RawStream
from wsctl.codes import CloseCode

CANCELLED_AFTER = (0.1, 0.5)
"""Seconds between which a drain is cancelled: while clients still leave it."""

LONG = 60.0
"""Seconds of a drain that is to be cancelled."""

GRACE = 1.0
"""Seconds that a drain lasts longer than all who listen to it need to leave: the rest is closed by force."""


class Operator:
    """`ended` is called when a server has ended, before another one takes its place, and `fill` to fill the
    history of that one."""

    def __init__(
        self,
        plan: Plan,
        site: Site,
        witnesses: Witnesses,
        tally: Tally,
        weather: Weather,
        *,
        rng: random.Random,
        say: Callable[[str], None],
        ended: Callable[[], None],
        fill: Callable[[], Awaitable[None]],
    ) -> None:
        self._plan = plan
        self._site = site
        self._witnesses = witnesses
        self._tally = tally
        self._weather = weather
        self._rng = rng
        self._say = say
        self._ended = ended
        self._fill = fill
        self._upgrades = 0

    async def act(self, change: Change | None) -> None:
        """One round: a change, or a drain that comes to nothing. Everybody is back behind it."""
        if change is None:
            await self._cancelled_drain()
        match change:
            case Change.UPGRADE:
                await self._upgrade()
            case Change.DRAIN:
                await self._drain()
            case Change.KILL:
                await self._kill()

    def upgraded(self) -> bool:
        """Whether there was an upgrade since this was asked last."""
        before, self._upgrades = self._upgrades, self._tally.acts["operator: upgrade"]
        return before != self._upgrades

    async def _upgrade(self) -> None:
        # Who cannot move has the reconnect window to leave, and is then closed.
        with self._weather.spell(CloseCode.SERVICE_RESTART):
            done = await asyncio.to_thread(self._site.upgrade)
            await self._everybody()
        self._did("operator: upgrade", f"moved {done['moved']} in {done['elapsed_s']} s")
        self._tally.counts["connections moved"] += done["moved"]

    async def _cancelled_drain(self) -> None:
        async with await self._anchor() as anchor:
            with self._weather.spell(CloseCode.GOING_AWAY):
                await asyncio.to_thread(self._site.begin_drain, LONG)
                await asyncio.sleep(self._rng.uniform(*CANCELLED_AFTER))
                await asyncio.to_thread(self._site.cancel_drain)
                await self._everybody()
            await anchor.leave()
        self._did("operator: cancelled drain", "")

    async def _anchor(self) -> RawStream:
        """Somebody who stays, for a drain without clients would be over."""
        while True:
            peer = await RawStream.connect(self._site.port)
            try:
                await peer.join("anchor")
            except NotWelcomed:  # there is no room just now
                peer.hang_up()
                await asyncio.sleep(LOOK)
            else:
                return peer

    async def _drain(self) -> None:
        codes = (CloseCode.GOING_AWAY, CloseCode.SERVICE_RESTART, CloseCode.ABNORMAL)
        with self._weather.spell(*codes, forgets=not self._plan.redis):
            if self._rng.random() < 0.5:
                await asyncio.to_thread(self._site.drain, self._plan.window + GRACE)
            else:
                await asyncio.to_thread(self._site.terminate)
            self._ended()
            await asyncio.to_thread(self._site.start)
            await self._fill()
            await self._everybody()
        self._did("operator: drain", "")

    async def _kill(self) -> None:
        number = self._rng.randrange(self._plan.workers)
        with self._weather.spell(CloseCode.ABNORMAL):
            pid = await asyncio.to_thread(self._site.kill_worker, number)
            await self._everybody()
        self._did("operator: kill -9", f"worker {pid}")

    async def _everybody(self) -> None:
        """Wait until all witnesses are connected."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not self._witnesses.whole:  # noqa: ASYNC110
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            self._tally.fault(f"only {len(self._witnesses.connected)} witnesses came back")

    def _did(self, what: str, how: str) -> None:
        self._tally.acts[what] += 1
        self._say(f"{what} {how}")
