"""Workers without Redis as one server: one order of messages, which their parent gives, and one presence."""

import asyncio
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive, receive_type
from tests.support.command_client import join_with_commands
from tests.support.processes import lives
from tests.support.publishers import send
from tests.support.server import ServerProcess, ask, connected, wsctl
from tests.support.workers import lines, pids, starting_workers, until
from wsctl.codes import CLOSE_TIMEOUT
from wsctl.drain.pace import ORPHAN_TIMEOUT
from wsctl.drain.signals import ORPHANED
from wsctl.server.workers.parent_home import ALONE

pytestmark = pytest.mark.anyio

TRACED = "tests.support.traced_application:app"
"""An application whose spans are written to a file; it is for servers alone, since it sets their provider."""

SECRET = {"WSCTL_TOKEN": "secret"}


@pytest.fixture
def start(start_server: StartServer, runtime_dir: Path) -> Iterator[StartServer]:
    """Start a parent with two workers; none of its processes is left at the end."""
    with starting_workers(start_server, runtime_dir) as begin:
        yield begin


@contextmanager
def stopped(*pids: int) -> Iterator[None]:
    """Workers that take no connection meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def join_at(server: ServerProcess, number: int, name: str) -> ClientConnection:
    """A client that is with a worker of two."""
    with stopped(pids(server)[2 - number]):
        return await join(server.ws_url, name)


async def one_of_each(server: ServerProcess) -> tuple[ClientConnection, ClientConnection]:
    """Two clients, "a" and "b", each with a worker of its own."""
    return await join_at(server, 1, "a"), await join_at(server, 2, "b")


async def data_of(client: ClientConnection, count: int) -> list[object]:
    return [(await receive_type(client, "message"))["data"] for _ in range(count)]


async def test_what_clients_say_reaches_those_of_all_workers_in_one_order(start: StartServer) -> None:
    server = start("--rate", "0")
    a, b = await one_of_each(server)
    for n in range(100):
        await (a, b)[n % 2].send(str(n))
    of_a = [await receive_type(a, "message") for _ in range(100)]
    assert of_a == [await receive_type(b, "message") for _ in range(100)]
    assert sorted(int(message["data"]) for message in of_a) == list(range(100))
    assert not lines(server, "WARNING")
    await asyncio.gather(a.close(), b.close())


async def test_each_worker_that_delivers_a_message_has_a_span_below_that_of_its_publisher(
    start: StartServer, tmp_path: Path
) -> None:
    pytest.importorskip("opentelemetry.sdk.trace", reason="opentelemetry-sdk is not installed")
    traces = tmp_path / "traces"
    server = start(TRACED, "--tracing", "messages", env={"TRACES": str(traces)})
    a, b = await one_of_each(server)
    eve = await join_with_commands(server.ws_url, "eve")
    above = "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331"
    await eve.ask("publish", data="hi", traceparent=f"00-{above}-01")
    carried = [(await receive_type(client, "message"))["traceparent"] for client in (a, b)]
    spans = [json.loads(line) for line in await asyncio.to_thread(until, four_lines(traces), "four spans")]
    (published,) = [span for span in spans if span["name"] == "publish"]
    delivered = [span for span in spans if span["name"] == "deliver"]
    assert f"{published['trace']}-{published['above']}" == above
    assert carried == [f"00-{published['trace']}-{published['id']}-01"] * 2
    assert {span["pid"] for span in delivered} == set(pids(server))
    assert {(span["trace"], span["above"]) for span in delivered} == {(published["trace"], published["id"])}
    await asyncio.gather(a.close(), b.close(), eve.close())


def four_lines(path: Path) -> Callable[[], list[str]]:
    """A look at a file that finds its lines, once these are as many."""

    def look() -> list[str]:
        found = path.read_text().splitlines(keepends=True) if path.exists() else []
        whole = [line for line in found if line.endswith("\n")]
        return whole if len(whole) == 4 else []

    return look


async def test_a_receipt_counts_the_clients_of_all_workers(start: StartServer) -> None:
    server = start(env=SECRET)
    a, b = await one_of_each(server)
    for pid in pids(server):
        answer = await send(Path(server.environ["WSCTL_RUNTIME_DIR"]), pid, f"at {pid}")
        assert answer["recipients"] == 2
    for name, missing in (("a", 0), ("b", 0), ("nobody", 1)):
        done = await asyncio.to_thread(wsctl, "broadcast", "hi", "--to", name, environ=server.environ)
        assert done.returncode == missing, done
        assert done.stdout.split()[1] == str(1 - missing)
    assert (await data_of(a, 3))[2] == (await data_of(b, 3))[2] == "hi"
    await asyncio.gather(a.close(), b.close())


async def test_a_newer_connection_at_another_worker_closes_the_older_one_with_4501(
    start: StartServer,
) -> None:
    server = start()
    older = await join_at(server, 1, "a")
    for number in (2, 1, 1, 2):
        newer = await join_at(server, number, "a")
        assert await closed(older) == (4501, "replaced by a newer connection of this id")
        older = newer
    sent = await asyncio.to_thread(wsctl, "broadcast", "hi", environ=server.environ)
    assert sent.stdout.split()[1] == "1"
    assert await data_of(older, 1) == ["hi"]
    await older.close()


async def test_a_client_resumes_at_another_worker(start: StartServer) -> None:
    server = start()
    a, b = await one_of_each(server)
    await b.send("first")
    first = await receive_type(a, "message")
    for n in range(3):
        await b.send(f"missed {n}")
    await data_of(b, 4)
    await a.close()
    for stays in pids(server):
        with stopped(*(pid for pid in pids(server) if pid != stays)):
            url = f"{server.ws_url}/ws/late?since={first['id']}"
            async with connect(url, compression=None, proxy=None) as late:
                welcome = await receive(late)
                assert (welcome["type"], welcome["recovered"]) == ("welcome", True)
                assert await data_of(late, 3) == ["missed 0", "missed 1", "missed 2"]
    await b.close()


async def test_the_counts_of_all_workers_are_those_of_one_server(start: StartServer) -> None:
    server = start(env=SECRET)
    a, b = await one_of_each(server)
    for n in range(6):
        await (a, b)[n % 2].send(str(n))
    await asyncio.gather(data_of(a, 6), data_of(b, 6))
    facts = await asyncio.to_thread(
        until, lambda: (f := server.status())["messages"]["delivered"] == 12 and f, "all is reported"
    )
    assert facts["messages"] == {"published": 6, "received": 6, "delivered": 12}
    assert facts["degraded"] is None
    told = {"connections": 2, "degraded": False, "status": "serving"}

    def healthy() -> bool:
        answers = [server.http("GET", "/health")[1] for _ in range(6)]  # whichever worker answers
        return all(answer.items() >= told.items() for answer in answers)

    await asyncio.to_thread(until, healthy, "each worker tells of all")
    _, metrics = await asyncio.to_thread(server.api, "GET", "/metrics")
    samples = [line for line in metrics.decode().splitlines() if "wsctl_messages_published_total{" in line]
    assert [float(line.split()[-1]) for line in samples] == [6.0, 6.0]
    await asyncio.gather(a.close(), b.close())


async def test_a_load_test_against_two_workers_misses_nothing(start: StartServer) -> None:
    server = start()
    flags = ("--clients", "10", "--duration", "2", "--rate", "50", "--json", "--url", server.ws_url)
    done = await asyncio.to_thread(wsctl, "stress", *flags, environ=server.environ)
    assert done.returncode == 0, done
    counts = json.loads(done.stdout)
    assert (counts["missed"], counts["duplicated"], counts["out_of_order"]) == (0, 0, 0)
    assert counts["delivered"] == 10 * counts["sent"] > 0


async def test_without_its_parent_each_worker_tells_its_own_figures_alone_and_says_so_everywhere(
    start: StartServer,
) -> None:
    server = start(env=SECRET)
    found = pids(server)
    clients = await one_of_each(server)
    await asyncio.to_thread(until, lambda: server.http("GET", "/health")[1]["connections"] == 2, "both")
    server.process.kill()
    for client in clients:
        assert (await receive_type(client, "shutdown"))["reason"] == ORPHANED
    for pid in found:
        control = connected(Path(server.environ["WSCTL_RUNTIME_DIR"]) / f"{pid}.sock")
        _, facts = await asyncio.to_thread(ask, control, "GET", "/api/status", None, {})
        assert (facts["status"], facts["connections"], facts["degraded"]) == ("draining", 1, ALONE)
        assert facts["drain"]["reason"] == ORPHANED
        assert "group" not in facts
    _, health = await asyncio.to_thread(server.http, "GET", "/health")
    assert (health["status"], health["connections"], health["degraded"]) == ("draining", 1, True)
    shown = await asyncio.to_thread(wsctl, "status", environ=server.environ)
    assert shown.stdout.count(f"  degraded     {ALONE}\n") == 2
    assert shown.stdout.count(f"({ORPHANED})") == 2
    await asyncio.gather(*(client.close() for client in clients))


async def test_workers_without_their_parent_publish_nothing_end_soon_and_leave_the_port(
    start: StartServer,
) -> None:
    server = start()
    found = pids(server)
    a, b = await one_of_each(server)
    server.process.kill()
    killed = time.monotonic()
    for client in (a, b):
        assert (await receive_type(client, "error"))["code"] == "degraded"
        assert (await receive_type(client, "shutdown"))["deadline_s"] <= ORPHAN_TIMEOUT
    await a.send("too late")
    refused = await receive_type(a, "error")
    assert refused["code"] == "degraded"
    assert "was not published" in refused["message"]
    assert (await closed(a))[0] == (await closed(b))[0] == 1012
    await asyncio.to_thread(until, lambda: not any(map(lives, found)), "all have ended")
    assert time.monotonic() - killed < ORPHAN_TIMEOUT + CLOSE_TIMEOUT
    with socket.create_server(("127.0.0.1", server.port)):
        pass
    assert len(lines(server, "WARNING the parent is gone")) == 2
