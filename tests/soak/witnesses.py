"""Clients as they should be, that compare what they see."""

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

from tests.soak.ledger import Ledger
from tests.soak.tally import Tally
from tests.soak.weather import Weather
from wsctl.client.events import (
    Closed,
    ConnectFailed,
    Event,
    HandshakeRefused,
    Moved,
    Opened,
    Received,
    ServerDegraded,
    ServerRestored,
)
from wsctl.client.session import NotConnected, Session
from wsctl.client.target import Target
from wsctl.codes import CloseCode
from wsctl.stress.timing import LatencyHistogram

LONGEST_PAUSE = 1.0
"""Seconds between two attempts: a session's own reach 30 s, which would be the longest part of each drain."""

SPEAK = 0.2
"""Seconds between two messages of witnesses, who speak in turn."""

SENT = "at"
"""The key under which a message has the moment when it was sent, by this machine's clock."""


class Witnesses:
    """So many sessions, which resume by themselves.

    Attributes:
        ledger: what they have seen.
        connected: those that are, by number.
        latency: of what reached those that were connected when it was sent.
    """

    def __init__(self, count: int, port: int, tally: Tally, weather: Weather, rng: random.Random) -> None:
        self.ledger = Ledger(count)
        self.connected: set[int] = set()
        self.latency = LatencyHistogram()
        self._tally = tally
        self._weather = weather
        self._said: dict[str, int] = {}
        self._opened = [0.0] * count
        target = Target(f"http://127.0.0.1:{port}")
        self._sessions = [
            Session(target, f"witness-{n}", uniform=lambda a, b: min(rng.uniform(a, b), LONGEST_PAUSE))
            for n in range(count)
        ]
        self._tasks: list[asyncio.Task[None]] = []
        self._over = False

    @property
    def whole(self) -> bool:
        """Whether all of them are connected."""
        return len(self.connected) == len(self._sessions)

    @property
    def quiet(self) -> bool:
        """Whether all of them have seen everything, and nothing that they said is on its way."""
        return self.whole and not self._said and self.ledger.level

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._attend(n)) for n in range(len(self._sessions))]

    async def speak(self) -> None:
        """Say something in turn, until this is cancelled."""
        number = 0
        while True:
            speaker = number % len(self._sessions)
            text = f"said-{number}"
            self._said[text] = speaker
            try:
                await self._sessions[speaker].send(text)
                self._tally.acts["speaker"] += 1
            except NotConnected:
                self._said.pop(text, None)
            number += 1
            await asyncio.sleep(SPEAK)

    def settle(self) -> list[str]:
        """What is wrong when nothing more is on its way."""
        unheard = [f"witness {n} said {text!r}, and nobody got it" for text, n in self._said.items()]
        self._said.clear()
        return unheard + self.ledger.settle()

    async def leave(self) -> None:
        """All of them, as one should."""
        self._over = True
        await asyncio.gather(*(session.close() for session in self._sessions), return_exceptions=True)
        await asyncio.wait(self._tasks, timeout=LONGEST_PAUSE)
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks)

    async def _attend(self, number: int) -> None:
        async for event in self._sessions[number].events():
            self._take(number, event)
        if not self._over:
            self._tally.fault(f"witness {number} gave up after {event}")

    def _take(self, number: int, event: Event) -> None:
        match event:
            case Opened():
                self._open(number, event)
            case ServerRestored(welcome):
                self._tell_of_loss(number, welcome, event.recovered)
            case ServerDegraded():
                self._unconfirmed(number)
            case Received(frame):
                self._receive(number, frame)
            case Closed(code, reason):
                self._closed(number, code, reason)
            case Moved():
                self._lose(number, "moved when asked")
            case HandshakeRefused(status=status):
                self._lose(number, f"answered {status}")
            case ConnectFailed():
                self._lose(number, "reached nobody")

    def _open(self, number: int, event: Opened) -> None:
        counts = self._tally.counts
        counts["witnesses: opened"] += 1
        self.connected.add(number)
        self._opened[number] = time.monotonic()
        if event.resumed:
            self._tell_of_loss(number, event.welcome, event.recovered)

    def _tell_of_loss(self, number: int, welcome: dict[str, Any], recovered: bool) -> None:
        """Or that there is none."""
        if recovered:
            self._tally.counts["witnesses: resumed"] += 1
            return
        self._tally.counts["witnesses: told of a loss"] += 1
        self.ledger.lose(number, welcome["id"])
        if not self._weather.forgets:
            self._tally.fault(f"witness {number} was told of a loss: {welcome}")

    def _receive(self, number: int, frame: dict[str, Any]) -> None:
        match frame:
            case {"type": "message", "to": [*_]}:
                self._tally.fault(f"witness {number} got what was said to {frame['to']}")
            case {"type": "message", "id": str(message), "data": data}:
                self._heard(number, message, data)
            case {"type": "error", "code": "degraded"}:
                self._unconfirmed(number)
            case {"type": "error"}:
                self._tally.fault(f"witness {number} was told: {frame}")

    def _heard(self, number: int, message: str, data: Any) -> None:
        if fault := self.ledger.receive(number, message, data):
            self._tally.fault(fault)
        if isinstance(data, str):
            self._said.pop(data, None)
        elif isinstance(data, dict) and SENT in data and data[SENT] > self._opened[number]:
            self.latency.record(time.monotonic() - data[SENT])

    def _closed(self, number: int, code: int, reason: str) -> None:
        """Those that were connected may be cut by what the operator does only; so may those that were not."""
        was = number in self.connected
        self._lose(number, f"closed with {code}" if was else f"turned away with {code}")
        if not self._over and not self._weather.excuses(code, self._opened[number] if was else 0.0):
            self._tally.fault(f"witness {number} was cut with {code} {reason!r}")
        if was and code == CloseCode.NORMAL and not self._over:
            self._tally.fault(f"witness {number} was let go with 1000")

    def _lose(self, number: int, how: str) -> None:
        self._tally.counts[f"witnesses: {how}"] += 1
        self.connected.discard(number)
        self._forget(number)

    def _unconfirmed(self, number: int) -> None:
        """A shared store was slow to confirm something that it said, and may still deliver it. Nobody is told
        that a message arrived which then does not."""
        self._tally.counts["witnesses: told that the store is slow"] += 1
        self._forget(number)

    def _forget(self, number: int) -> None:
        """What it has said may not have arrived."""
        for text in [text for text, speaker in self._said.items() if speaker == number]:
            del self._said[text]
            self._tally.counts["witnesses: said without knowing whether it arrived"] += 1
