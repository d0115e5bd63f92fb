"""A server with a journal: what it has acknowledged, its clients get, whatever happens to it or its disk."""

import asyncio
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.guests import Guest, listening
from tests.support.killed import KilledServer, Ledger
from wsctl.log.message_log import read_id

pytestmark = pytest.mark.anyio

LIVES = 20
RATE = 500.0
"""Messages that are published a second while it is killed."""


@pytest.fixture
def killed(start_server: StartServer, tmp_path: Path) -> Iterator[KilledServer]:
    journal = ("--journal", str(tmp_path / "journal"), "--journal-sync", "normal")
    server = KilledServer(start_server, *journal, "--broadcast-interval", "0")
    yield server
    server.close()


def check_nothing_is_missed(ledger: Ledger, guests: list[Guest]) -> None:
    """Each guest got each acknowledged message once, in the order of their ids."""
    acknowledged = sorted(ledger.ids, key=lambda n: read_id(ledger.ids[n]) or (0, 0))
    for guest in guests:
        assert len(set(guest.data)) == len(guest.data), "none is repeated"
        assert [n for n in guest.data if n in ledger.ids] == acknowledged, "none is missed"
        assert not ledger.refused.keys() & set(guest.data)
        assert all(opening.recovered for opening in guest.openings[1:]), "and they are told so"


async def test_kill_9_loses_nothing_that_was_acknowledged(killed: KilledServer) -> None:
    await asyncio.to_thread(killed.begin)
    ledger, over = Ledger(killed.port), asyncio.Event()
    # So that they are there again within each life.
    async with listening(
        {"sleep": lambda _: asyncio.sleep(0.02)}, ann=killed.url, bob=killed.url, cat=killed.url
    ) as guests:
        publishing = asyncio.create_task(ledger.publish(RATE, over))
        for _ in range(LIVES):
            await ledger.hears(random.randrange(20, 120))
            await asyncio.to_thread(killed.kill)
            await asyncio.to_thread(killed.begin)
        over.set()
        await publishing
        last = await ledger.publish_one()
        for guest in guests:
            await guest.until(lambda guest=guest: last in guest.data)
    check_nothing_is_missed(ledger, guests)
    assert len(ledger.ids) > LIVES * 50
    assert not ledger.refused
