"""One run: rounds of abuse, each with a checkpoint behind it where only witnesses are connected."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

from tests.soak.abuser import Abuser
from tests.soak.actor import Actor, Stage, perform
from tests.soak.churner import Churner
from tests.soak.flooder import Flooder
from tests.soak.fodder import fill
from tests.soak.knocker import Crowd, Knocker, Loris
from tests.soak.logbook import Logbook
from tests.soak.meter import Meter
from tests.soak.operations import Operator
from tests.soak.plan import Plan
from tests.soak.publisher import Publisher
from tests.soak.resetter import Mute, Resetter
from tests.soak.site import LOOK, Site
from tests.soak.staller import Staller
from tests.soak.tally import Tally
from tests.soak.verdict import Outcome
from tests.soak.weather import Weather
from tests.soak.witnesses import Witnesses

ACTORS: tuple[type[Actor], ...] = (Churner, Resetter, Mute, Staller, Flooder, Knocker, Loris, Crowd, Abuser)

QUIET = 30.0
"""Seconds until all is quiet: a close frame may wait 10 s for its answer, a head as long for its end."""


class Soak:
    """One run of a plan at a site that stands."""

    def __init__(self, plan: Plan, site: Site, say: Callable[[str], None]) -> None:
        self._plan = plan
        self._site = site
        self._say = say
        rng = random.Random(plan.seed)
        self._tally = Tally()
        self._weather = Weather()
        self._stage = Stage(site.port, site.token, self._tally, self._weather)
        self._witnesses = Witnesses(plan.clients, site.port, self._tally, self._weather, rng)
        self._publisher = Publisher(site.folder, lambda: site.pid, self._witnesses.ledger, self._tally)
        self._logbook = Logbook(self._tally, self._stage.disconnected)
        self._operator = Operator(
            plan,
            site,
            self._witnesses,
            self._tally,
            self._weather,
            rng=rng,
            say=self._note,
            ended=self._read_log,
            fill=self._fill,
        )
        self._actors = [actor(self._stage, random.Random(rng.random())) for actor in ACTORS]
        self._meter = Meter(site)
        self._began = time.monotonic()
        self._told = 0

    async def run(self) -> Outcome:
        """To the end, or to the first thing after which there is no going on."""
        watching = asyncio.create_task(self._watch())
        try:
            await self._begin()
            for number in range(self._plan.rounds):
                await self._round(number)
                await self._checkpoint(number)
        except (AssertionError, OSError) as error:
            self._tally.fault(f"it could not go on: {error}")
        finally:
            watching.cancel()
            await self._witnesses.leave()
        await self._end()
        return self._outcome()

    async def _begin(self) -> None:
        self._witnesses.start()
        await self._until(lambda: self._witnesses.whole, "witnesses connect")
        await self._fill()
        self._note(f"{self._plan.clients} witnesses, history filled; {self._plan.rounds} rounds")

    async def _fill(self) -> None:
        await fill(self._site.port, self._site.token, self._plan.history_bytes)

    async def _round(self, number: int) -> None:
        over = asyncio.Event()
        publishing = asyncio.create_task(self._publisher.run(self._plan.rate, over))
        abuse = [asyncio.create_task(perform(self._actors)), asyncio.create_task(self._witnesses.speak())]
        try:
            await asyncio.gather(
                asyncio.sleep(self._plan.round_s), self._operator.act(self._plan.change(number))
            )
        finally:
            self._stage.curtain()
            for task in abuse:
                task.cancel()
            await asyncio.gather(*abuse, return_exceptions=True)
            over.set()
            await publishing
        for task in abuse:
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _checkpoint(self, number: int) -> None:
        await self._until(self._is_quiet, "only witnesses are left, and they have seen all")
        await self._until(lambda: self._stage.told, "the log tells how each client ended")
        self._tally.blame(self._stage.settle())
        self._tally.blame(self._witnesses.settle())
        found = await asyncio.to_thread(self._meter.measure, self._operator.upgraded())
        told = ", ".join(f"{r.role} {r.memory >> 20} MiB, {r.files} files, {r.tasks} tasks" for r in found)
        self._note(f"round {number + 1} of {self._plan.rounds}: {told}")
        for fault in self._tally.faults[self._told :]:
            self._note("fault: " + fault.partition("\n")[0])
        self._told = len(self._tally.faults)

    async def _is_quiet(self) -> bool:
        if not self._witnesses.quiet:
            return False
        facts = await asyncio.to_thread(self._site.server.status)
        return bool(facts["connections"] == self._plan.clients and facts["closing"] == 0)

    async def _until(self, seen: Callable[[], Any], what: str) -> None:
        """Look until it is so; that it is not is a fault, and no reason to stop."""
        try:
            async with asyncio.timeout(QUIET):
                while not (await found if asyncio.iscoroutine(found := seen()) else found):
                    self._read_log()
                    await asyncio.sleep(LOOK)
        except TimeoutError:
            facts = await asyncio.to_thread(self._site.server.status)
            self._tally.fault(f"not after {QUIET:g} s: {what} (connections {facts['connections']})")

    async def _watch(self) -> None:
        """Once a second: the log, and what is in use under abuse."""
        while True:
            self._read_log()
            self._meter.look()
            await asyncio.sleep(1)

    def _read_log(self) -> None:
        self._logbook.read(self._site.process)

    async def _end(self) -> None:
        """Without clients a signal ends the server at once, and nothing of it is left."""
        try:
            await asyncio.to_thread(self._site.terminate)
        except (AssertionError, OSError) as error:
            self._tally.fault(f"at the end: {error}")
        self._read_log()
        if left := self._site.left():
            self._tally.fault(f"the server left behind {left}")

    def _outcome(self) -> Outcome:
        ledger = self._witnesses.ledger
        self._tally.counts |= {
            "messages seen": ledger.published,
            "messages received": ledger.received,
            "messages lost and told of": ledger.excused,
        }
        seconds = time.monotonic() - self._began
        latency = self._witnesses.latency.quantiles()
        return Outcome(self._plan, seconds, self._tally, self._meter.readings, self._meter.peaks, latency)

    def _note(self, text: str) -> None:
        self._say(f"{time.monotonic() - self._began:7.1f} s  {text.rstrip()}")
