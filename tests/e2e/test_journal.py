"""A server with a journal: what it has acknowledged, its clients get, whatever happens to it or its disk."""

import asyncio
import json
import os
import random
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from tests.conftest import StartServer
from tests.support.clients import join, receive, receive_type
from tests.support.generations import Generations
from tests.support.guests import listening
from tests.support.journals import open_journal
from tests.support.killed import TOKEN, KilledServer, Ledger, check_nothing_is_missed
from tests.support.server import DEADLINE, ServerProcess
from tests.support.sizes import Sizes

pytestmark = pytest.mark.anyio

RATE = 500.0
"""Messages that are published a second while it is killed."""


StartKilled = Callable[..., KilledServer]


@pytest.fixture
def start_killed(start_server: StartServer, journal: Path) -> Iterator[StartKilled]:
    """Make a server with a journal that can be killed and started again."""
    with ExitStack() as stack:

        def start(*flags: str) -> KilledServer:
            normal = ("--journal", str(journal), "--journal-sync", "normal", "--broadcast-interval", "0")
            return stack.enter_context(closing(KilledServer(start_server, *normal, *flags)))

        yield start


@pytest.mark.parametrize(("flags", "part"), [((), 1), (("--workers", "2"), 2)], ids=["alone", "workers"])
async def test_kill_9_loses_nothing_that_was_acknowledged(
    start_killed: StartKilled, flags: tuple[str, ...], part: int, sizes: Sizes
) -> None:
    killed, lives = start_killed(*flags), sizes.lives // part
    await asyncio.to_thread(killed.begin)
    ledger, over = Ledger(killed.port), asyncio.Event()
    # So that they are there again within each life.
    async with listening(
        {"sleep": lambda _: asyncio.sleep(0.02)}, ann=killed.url, bob=killed.url, cat=killed.url
    ) as guests:
        publishing = asyncio.create_task(ledger.publish(RATE, over))
        for _ in range(lives):
            await ledger.hears(random.randrange(20, 120))
            await asyncio.to_thread(killed.kill)
            await asyncio.to_thread(killed.begin)
        over.set()
        await publishing
        last = await ledger.publish_one()
        for guest in guests:
            await guest.until(lambda guest=guest: last in guest.data)
    check_nothing_is_missed(ledger, guests)
    assert len(ledger.ids) > lives * 20


@pytest.mark.parametrize("flags", [(), ("--workers", "2")], ids=["alone", "workers"])
async def test_after_kill_9_a_client_that_saw_a_busy_topic_last_recovers_a_quiet_one(
    start_killed: StartKilled, journal: Path, flags: tuple[str, ...]
) -> None:
    killed = start_killed("--history", "5", *flags)
    await asyncio.to_thread(killed.begin)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    ids: list[str] = []
    async with httpx.AsyncClient(base_url=killed.url, headers=headers, trust_env=False) as client:
        for n, topic in enumerate(["busy"] * 10 + ["quiet"] + ["busy"] * 10):
            body = {"data": n, "topic": topic}
            ids.append((await client.post("/api/broadcast", json=body)).json()["id"])
    await asyncio.to_thread(killed.kill)
    with closing(open_journal(journal)) as file:
        assert [json.loads(row.frame)["data"] for row in file.behind((0, 0))] == [10, *range(16, 21)]
    await asyncio.to_thread(killed.begin)
    for topics, recovered, lost, data in (
        ("topic=quiet", True, None, [10]),
        ("topic=*", False, ["busy"], [10, *range(16, 21)]),
    ):
        url = f"ws://127.0.0.1:{killed.port}/ws/bob?since={ids[2]}&{topics}"
        async with connect(url, compression=None, proxy=None) as connection:
            welcome = await receive(connection)
            assert (welcome["recovered"], welcome.get("lost")) == (recovered, lost)
            assert [(await receive_type(connection, "message"))["data"] for _ in data] == data


def kept(journal: Path) -> list[str]:
    """The ids in a journal that nobody writes."""
    with closing(open_journal(journal)) as file:
        return ["-".join(map(str, row.id)) for row in file.behind((0, 0))]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def start_upgraded(
    start_server: StartServer, journal: Path, tmp_path: Path
) -> Iterator[Callable[[], Generations]]:
    """Start a server with a journal, whose successors have the fault that `fault` names."""
    started: list[Generations] = []

    def start() -> Generations:
        command = (sys.executable, "-m", "tests.support.faulty", "serve", "--port", "0")
        flags = ("--journal", str(journal), "--broadcast-interval", "0")
        environ = {"FAULT_FILE": str(tmp_path / "fault"), "WSCTL_TOKEN": TOKEN}
        started.append(Generations(start_server(*flags, command=command, env=environ)))
        return started[-1]

    yield start
    for server in started:
        server.kill()


async def test_an_upgrade_hands_the_journal_over(
    start_upgraded: Callable[[], Generations], journal: Path, tmp_path: Path
) -> None:
    """Three times in a row, and in between some that fail half way."""
    server = await asyncio.to_thread(start_upgraded)
    ledger, over = Ledger(server.port), asyncio.Event()
    async with listening(ann=server.first.url, bob=server.first.url) as guests:
        publishing = asyncio.create_task(ledger.publish(200.0, over))
        for fault, state in [
            ("nothing", "done"),
            ("dies with the first in hand", "failed"),
            ("nothing", "done"),
            ("dies with the first in hand", "failed"),
            ("nothing", "done"),
        ]:
            (tmp_path / "fault").write_text(fault)
            await ledger.hears(20)
            outcome = await asyncio.to_thread(server.begin_upgrade().outcome)
            assert outcome["state"] == state, outcome
            if state == "done":
                await asyncio.to_thread(server.wait_until_serving, outcome["successor"])
                await asyncio.to_thread(server.wait_gone, server.pids[-2])
            await ledger.hears(20)
        over.set()
        await publishing
        last = await ledger.publish_one()
        for guest in guests:
            await guest.until(lambda guest=guest: last in guest.data)
    check_nothing_is_missed(ledger, guests)
    assert server.status()["generation"] == 4
    await asyncio.to_thread(server.kill)
    assert set(ledger.ids.values()) <= set(kept(journal))


async def until_degraded(server: ServerProcess, degraded: bool) -> None:
    async with asyncio.timeout(DEADLINE):
        while (await asyncio.to_thread(server.http, "GET", "/health"))[1]["degraded"] is not degraded:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def publish(server: ServerProcess, data: object) -> tuple[int, dict[str, object]]:
    return server.api("POST", "/api/broadcast", {"data": data})


@pytest.mark.skipif(sys.platform != "linux", reason="the system sets no limits of other processes")
async def test_a_disk_that_takes_no_more_refuses_messages_and_goes_on_by_itself(
    start_server: StartServer, journal: Path
) -> None:
    server = await asyncio.to_thread(start_server, "--journal", str(journal), "--broadcast-interval", "0")
    bob = await join(server.ws_url, "bob")
    assert publish(server, "before")[0] == 200
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
    refused = publish(server, "refused")
    assert (refused[0], refused[1]["error"]["code"]) == (504, "unconfirmed")  # type: ignore[index]
    assert (await receive_type(bob, "error"))["code"] == "degraded"
    await until_degraded(server, True)
    assert server.status()["degraded"].startswith(f"the journal {journal}: an error of the disk (SQLITE_")
    assert publish(server, "refused too")[1]["error"]["code"] == "degraded"  # type: ignore[index]
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert (await receive_type(bob, "welcome"))["recovered"] is True
    await until_degraded(server, False)
    assert publish(server, "after")[0] == 200
    assert (await receive_type(bob, "message"))["data"] in {"before", "after"}
    await bob.close()
    server.kill()
    with closing(open_journal(journal)) as file:
        found = [row.entry().batch.payloads[0] for row in file.behind((0, 0))]
    assert len(found) in (2, 3), "of the first one that was refused nobody knew"
    assert not any(b"too" in payload for payload in found)


@pytest.mark.parametrize("removed", ["", "-wal", "-lock"])
async def test_a_file_that_is_removed_is_made_again_with_all_that_the_server_has(
    start_server: StartServer, journal: Path, removed: str
) -> None:
    server = await asyncio.to_thread(start_server, "--journal", str(journal), "--broadcast-interval", "0")
    ids = [publish(server, n)[1]["id"] for n in range(20)]
    os.unlink(f"{journal}{removed}")
    refused = publish(server, "refused")
    assert (refused[0], refused[1]["error"]["code"]) == (503, "degraded")  # type: ignore[index]
    await until_degraded(server, False)
    ids.append(publish(server, "after")[1]["id"])
    server.kill()
    assert kept(journal) == ids


async def test_a_second_server_does_not_start_on_the_same_file(
    start_server: StartServer, journal: Path
) -> None:
    first = await asyncio.to_thread(start_server, "--journal", str(journal))
    with pytest.raises(AssertionError) as failure:
        await asyncio.to_thread(start_server, "--journal", str(journal))
    assert f"--journal {journal}: the process {first.pid} writes it; " in str(failure.value)
    assert publish(first, 1)[0] == 200
