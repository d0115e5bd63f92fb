"""Workers without Redis under load, while one of them is upgraded, killed, or stopped, and while their parent
is."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.crowd import Crowd, order
from tests.support.publishers import Publishers, send
from tests.support.server import DEADLINE, ServerProcess
from tests.support.workers import lines, pids, serving, starting_workers, until, workers

pytestmark = pytest.mark.anyio

CLIENTS = 50

CLOSING = "the server is closing its clients"


@pytest.fixture
def start(start_server: StartServer, runtime_dir: Path) -> Iterator[StartServer]:
    """Start a parent with two workers; none of its processes is left at the end."""
    with starting_workers(start_server, runtime_dir) as begin:
        yield begin


def folder(server: ServerProcess) -> Path:
    return Path(server.environ["WSCTL_RUNTIME_DIR"])


@asynccontextmanager
async def traffic(
    server: ServerProcess, publish_at: Callable[[], list[int]], **how: bool
) -> AsyncIterator[Crowd]:
    """While messages flow from clients and from those that publish at these processes; in the end everybody
    has seen all that was acknowledged, once, and nothing that was refused."""
    async with Crowd(server.port, **how) as crowd:
        await crowd.join(CLIENTS)
        over = asyncio.Event()
        publishers = Publishers(folder(server), 100, publish_at)
        flowing = [asyncio.create_task(publishers.run(over)), asyncio.create_task(crowd.talk(100, over))]
        yield crowd
        over.set()
        await asyncio.gather(*flowing)
        await crowd.level_at(await publishers.last())
        data = crowd.data()
        assert crowd.faults == []
        assert len(set(data)) == len(data)
        never = {t: why for t, why in publishers.refused.items() if "may still be delivered" not in why}
        assert not never.keys() & set(data)
        assert set(publishers.accepted) <= set(data)
        assert crowd.positions() == sorted(set(crowd.positions()))


async def flows(crowd: Crowd, count: int = 50) -> None:
    """Wait until so many more messages have come to all."""
    await crowd.level(len(crowd.ids) + count)


async def test_an_upgrade_loses_no_message_repeats_none_and_closes_nobody(start: StartServer) -> None:
    server = start("--rate", "0")
    serve = pids(server)
    async with traffic(server, lambda: serve) as crowd:
        for _ in range(2):
            await flows(crowd)
            status, _ = await asyncio.to_thread(server.api, "POST", "/api/upgrade")
            assert status == 202
            _, end = await asyncio.to_thread(server.api, "GET", "/api/upgrade", deadline=3 * DEADLINE)
            done = end["upgrade"]
            assert (done["state"], done["staying"]) == ("done", 0), done
            await asyncio.to_thread(until, lambda: len(serving(server)) == 2, "two that serve")
            serve[:] = pids(server)
            await flows(crowd)
    assert not lines(server, "ERROR")


async def publish_lines(server: ServerProcess, *texts: str) -> list[dict[str, Any]]:
    """Publish a batch over a connection of its own; return what became of each line."""
    body = b"".join(b'{"data":"%b"}\n' % text.encode() for text in texts)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    head = "POST /api/publish HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\n"
    head += f"Content-Type: application/x-ndjson\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    lines = await reader.readexactly(int(answer.partition("content-length: ")[2].split()[0]))
    writer.close()
    return [json.loads(line) for line in lines.splitlines()]


async def test_backends_that_send_batches_all_the_time_have_all_their_answers_in_an_upgrade(
    start: StartServer,
) -> None:
    server = start(env={"WSCTL_TOKEN": "secret"})
    ids: list[str] = []

    async def publish(backend: int) -> None:
        for batch in range(3):
            texts = [f"{backend} {batch} {n}" for n in range(300)]
            answers = await publish_lines(server, *texts)
            assert len(answers) == len(texts)
            found = [answer["id"] for answer in answers]  # nothing is refused
            assert found == sorted(found, key=order)
            ids.extend(found)

    async with Crowd(server.port) as crowd:
        await crowd.join(10)
        publishing = asyncio.gather(*map(publish, range(6)))
        status, _ = await asyncio.to_thread(server.api, "POST", "/api/upgrade")
        assert status == 202
        _, end = await asyncio.to_thread(server.api, "GET", "/api/upgrade", deadline=3 * DEADLINE)
        await publishing
        await crowd.level(len(ids))
        assert crowd.faults == []
        assert crowd.ids == sorted(ids, key=order)
    done = end["upgrade"]
    assert (done["state"], done["moved"], done["staying"]) == ("done", 10, 0), done


async def test_the_clients_of_a_killed_worker_miss_nothing(start: StartServer) -> None:
    server = start("--rate", "0")
    stays, goes = workers(server)
    async with traffic(server, lambda: [stays["pid"]], resumes=True) as crowd:
        for _ in range(3):
            await flows(crowd)
            goes = next(row for row in workers(server) if row["number"] == 2)
            os.kill(goes["pid"], signal.SIGKILL)
            await asyncio.to_thread(
                until, lambda old=goes: old["pid"] not in (now := serving(server)) and len(now) == 2, "anew"
            )
            await flows(crowd)
    assert crowd.resumed > 0


async def test_a_stopped_worker_holds_up_nobody_else_and_goes_on_without_a_gap(start: StartServer) -> None:
    server = start("--rate", "0")
    stays, stopped = (row["pid"] for row in workers(server))
    async with traffic(server, lambda: [stays]) as crowd:
        await flows(crowd)
        os.kill(stopped, signal.SIGSTOP)
        try:
            for n in range(100):
                answer = await send(folder(server), stays, f"meanwhile {n}")
                assert answer["recipients"] == CLIENTS, answer
        finally:
            os.kill(stopped, signal.SIGCONT)
        await flows(crowd)


async def test_a_worker_that_is_too_far_behind_is_replaced(start: StartServer) -> None:
    server = start("--max-message-size", "2m", "--max-queue", "0")
    stays, stopped = (row["pid"] for row in workers(server))
    os.kill(stopped, signal.SIGSTOP)
    client = await join(server.ws_url, "al", max_size=None)
    text = "x" * (1 << 20)
    for n in range(80):
        await send(folder(server), stays, f"{n} {text}")
        assert (await receive_type(client, "message"))["data"].split()[0] == str(n)
    await asyncio.to_thread(
        server.wait_for_line, f"ERROR a worker is too far behind and is killed pid={stopped}"
    )
    await asyncio.to_thread(until, lambda: len(serving(server)) == 2, "two that serve")
    assert stopped not in pids(server)
    for pid in pids(server):
        assert (await send(folder(server), pid, "goes on"))["recipients"] == 1
        assert (await receive_type(client, "message"))["data"] == "goes on"
    await client.close()


async def test_while_the_parent_is_stopped_publishing_is_refused_in_time_and_clients_stay(
    start: StartServer,
) -> None:
    server = start("--rate", "0")
    serve = pids(server)
    async with traffic(server, lambda: serve) as crowd:
        await flows(crowd)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            answer = await send(folder(server), serve[0], "meanwhile")
            assert answer["error"]["code"] == "unconfirmed"
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await flows(crowd)
