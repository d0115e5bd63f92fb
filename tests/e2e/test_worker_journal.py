"""Workers whose parent writes a journal: what it has acknowledged survives all of them."""

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.guests import listening
from tests.support.killed import KilledServer, Ledger, check_nothing_is_missed
from tests.support.processes import lives
from tests.support.workers import pids, until

pytestmark = pytest.mark.anyio

LIVES = 5

RATE = 500.0
"""Messages that are published a second while all processes are killed."""


class KilledWorkers(KilledServer):
    """A parent and its workers, all of which are killed at once."""

    def kill(self) -> None:
        workers = pids(self.server)
        self.server.signal(signal.SIGKILL)
        for pid in workers:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert self.server.wait() == -signal.SIGKILL
        until(lambda: not any(map(lives, workers)), "all have ended")


@pytest.fixture
def killed(start_server: StartServer, tmp_path: Path) -> Iterator[KilledWorkers]:
    journal = ("--journal", str(tmp_path / "journal"), "--journal-sync", "normal")
    server = KilledWorkers(start_server, "--workers", "2", *journal, "--broadcast-interval", "0")
    yield server
    with suppress(AssertionError, OSError):
        server.kill()
    server.close()


async def test_kill_9_of_the_parent_and_all_workers_loses_nothing_that_was_acknowledged(
    killed: KilledWorkers,
) -> None:
    await asyncio.to_thread(killed.begin)
    ledger, over = Ledger(killed.port), asyncio.Event()
    names = {"ann": killed.url, "bob": killed.url, "cat": killed.url}
    async with listening({"sleep": lambda _: asyncio.sleep(0.02)}, **names) as guests:
        publishing = asyncio.create_task(ledger.publish(RATE, over))
        for _ in range(LIVES):
            await ledger.hears(random.randrange(20, 120))
            await asyncio.to_thread(killed.kill)
            await asyncio.to_thread(killed.begin)
        await ledger.hears(50)
        over.set()
        await publishing
        last = await ledger.publish_one()
        for guest in guests:
            await guest.until(lambda guest=guest: last in guest.data)
    check_nothing_is_missed(ledger, guests)
    assert len(ledger.ids) > LIVES * 50
