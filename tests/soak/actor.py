"""Whoever does something to a server again and again, and how it may end for him."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress

from tests.soak.tally import Tally
from tests.soak.weather import Weather
from tests.support.raw_stream import NotWelcomed, RawStream
from wsctl.codes import CloseCode

Ended = (OSError, EOFError, TimeoutError)
"""What an act meets where a server ends, and else never: whoever may be cut off in the middle, expects it."""

FULL = "503"


class Stage:
    """What all actors share: where the server is, what the operator does, and who expects which ending.

    Attributes:
        port: of the server.
        token: of its control routes.
        awaited: clients that were welcomed and of whose end the log has not told yet: since when, and the
            codes that are right.
    """

    def __init__(self, port: int, token: str, tally: Tally, weather: Weather) -> None:
        self.port = port
        self.token = token
        self.tally = tally
        self.weather = weather
        self.awaited: dict[str, tuple[float, frozenset[int]]] = {}

    def disconnected(self, client_id: str, code: int, reason: str) -> None:
        """The log told how a connection ended."""
        kind = client_id.partition("-")[0]
        self.tally.endings[kind, code] += 1
        since, codes = self.awaited.pop(client_id, (None, frozenset()))
        if since is not None and code not in codes and not self.weather.excuses(code, since):
            wanted = ", ".join(map(str, sorted(codes)))
            self.tally.fault(f"{client_id} was ended with {code} {reason}, not with {wanted}")

    @property
    def told(self) -> bool:
        """Whether the log has told how all of them ended of whom it can."""
        return all(self.weather.excuses(CloseCode.ABNORMAL, since) for since, _ in self.awaited.values())

    def curtain(self, whose: str = "") -> None:
        """All hang up, or those of a kind, or one: each end may be that of a connection that was lost."""
        for client_id, (since, codes) in self.awaited.items():
            if whose in ("", client_id, client_id.partition("-")[0]):
                self.awaited[client_id] = (since, codes | {CloseCode.ABNORMAL})

    def settle(self) -> list[str]:
        """Nobody but witnesses is left: of whose end nothing was told, though no worker was killed."""
        silent = [
            f"the log does not tell how {client_id} ended"
            for client_id, (since, _) in self.awaited.items()
            if not self.weather.excuses(CloseCode.ABNORMAL, since)
        ]
        self.awaited.clear()
        return silent


class Actor:
    """Acts, pauses, and acts again, until it is cancelled, which hangs up.

    Attributes:
        name: what its clients' ids begin with.
        pause: seconds between two acts, on the average.
    """

    name: str
    pause: float

    def __init__(self, stage: Stage, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        self._number = 0

    async def run(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self.act()
            except NotWelcomed as refusal:
                self.stage.curtain(self.name)
                self._refused(str(refusal), began)
            except Ended as error:
                self.stage.curtain(self.name)
                self._lost(error, began)
            await asyncio.sleep(self.rng.expovariate(1 / self.pause))

    async def act(self) -> None:
        """Once."""
        raise NotImplementedError

    def next_id(self) -> str:
        """An id that nobody has had."""
        self._number += 1
        return f"{self.name}-{self._number}"

    async def connect(self, receive_buffer: int | None = None) -> RawStream:
        return await RawStream.connect(self.stage.port, receive_buffer)

    async def enter(self, peer: RawStream, client_id: str, *codes: int) -> None:
        """Become a client that must be ended with one of these codes, if it does not hang up before."""
        began = time.monotonic()
        await peer.join(client_id)
        self.stage.awaited[client_id] = (began, frozenset(codes))
        self.stage.tally.acts[self.name] += 1

    def wants(self, answered: str, expected: Sequence[str], since: float, what: str) -> None:
        """An HTTP answer came; in bad weather it may be any."""
        if answered not in (*expected, FULL) and self.stage.weather.fair(since):
            self.stage.tally.fault(f"{self.name}: {what} was answered with {answered or 'nothing'}")

    def _lost(self, error: BaseException, since: float) -> None:
        self.stage.tally.refusals[self.name, "lost"] += 1
        if self.stage.weather.fair(since):
            self.stage.tally.fault(f"{self.name} could not go on: {error!r}")

    def _refused(self, answered: str, since: float) -> None:
        self.stage.tally.refusals[self.name, answered] += 1
        self.wants(answered, (), since, "a client")


async def perform(actors: Sequence[Actor]) -> None:
    """All at once, until it is cancelled."""
    with suppress(asyncio.CancelledError):
        async with asyncio.TaskGroup() as group:
            for actor in actors:
                group.create_task(actor.run())
