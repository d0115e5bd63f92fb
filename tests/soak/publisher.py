"""Who publishes at the control socket, and keeps account of the answers."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.soak.ledger import Ledger
from tests.soak.tally import Tally
from tests.soak.witnesses import SENT
from tests.support.publishers import send


class Publisher:
    """Publishes at whichever process `pid` names, and tells the ledger what was answered for."""

    def __init__(self, folder: Path, pid: Callable[[], int], ledger: Ledger, tally: Tally) -> None:
        self._folder = folder
        self._pid = pid
        self._ledger = ledger
        self._tally = tally
        self._number = 0

    async def run(self, rate: float, over: asyncio.Event) -> None:
        """So many a second; ends when all of them were answered."""
        due = time.monotonic()
        async with asyncio.TaskGroup() as group:
            while not over.is_set():
                group.create_task(self.publish())
                due = max(due + 1 / rate, time.monotonic() - 1)
                with suppress(TimeoutError):
                    await asyncio.wait_for(over.wait(), max(0.0, due - time.monotonic()))

    async def publish(self) -> None:
        self._number += 1
        data = {"n": self._number, SENT: time.monotonic()}
        self._tally.acts["publisher"] += 1
        try:
            answer = await send(self._folder, self._pid(), data)
        except (OSError, EOFError):
            self._tally.counts["published: no answer"] += 1
            return
        if "id" not in answer:
            self._tally.counts[f"published: {answer['error']['code']}"] += 1
        else:
            self._tally.counts["published: answered for"] += 1
            if fault := self._ledger.accept(answer["id"], data):
                self._tally.fault(fault)
