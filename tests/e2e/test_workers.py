"""Several processes as one server, from outside."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ON_REDIS, ON_VALKEY, StartServer, running_workers
from tests.e2e.test_publishing import check_a_batch, check_refusals
from tests.support.clients import closed, join, receive_type
from tests.support.processes import lives
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.store import StoreProcess
from tests.support.supervisor import Supervisor
from tests.support.terminal import Terminal
from tests.support.workers import (
    crowd,
    lines,
    pids,
    serving,
    spread,
    starting_workers,
    until,
    wait_connected,
    workers,
)
from wsctl.codes import CLOSE_TIMEOUT
from wsctl.drain.signals import ORPHANED
from wsctl.server.diagnostics.stop_time import WORKER_GRACE

pytestmark = pytest.mark.anyio

CROWD = 300
"""Clients among which each of three workers must have some."""

SECRET = {"WSCTL_TOKEN": "secret"}


@pytest.fixture
def start(start_server: StartServer, runtime_dir: Path) -> Iterator[StartServer]:
    """Start a parent with two workers; none of its processes is left at the end."""
    with starting_workers(start_server, runtime_dir) as begin:
        yield begin


@pytest.fixture(scope="module")
def of_three() -> Iterator[ServerProcess]:
    """A parent with three workers, for all tests after which it serves as before."""
    with running_workers(3, "--broadcast-interval", "0.2", token="secret") as server:
        yield server


@pytest.fixture
def three(of_three: ServerProcess) -> ServerProcess:
    """The parent with three workers, none of which has a client."""
    until(lambda: len(serving(of_three)) == 3, "three that serve")
    wait_connected(of_three, 0)
    return of_three


async def test_each_of_three_workers_gets_some_of_many_clients(three: ServerProcess) -> None:
    clients = await crowd(three, CROWD)
    await asyncio.to_thread(wait_connected, three, CROWD)
    counts = [row["connections"] for row in workers(three)]
    print(counts)
    assert sum(counts) == CROWD
    assert min(counts) >= CROWD // 20
    await asyncio.gather(*(client.close() for client in clients))


async def test_a_drain_of_all_is_told_in_one_set_of_lines(start: StartServer) -> None:
    server = start()
    clients = await spread(server)
    count = len(clients)
    server.signal()
    for client in clients:
        assert (await receive_type(client, "shutdown"))["reason"] == "SIGTERM"
    server.signal()  # changes nothing
    await asyncio.to_thread(server.wait_for_line, "INFO draining")
    await asyncio.gather(*(client.close() for client in clients))
    assert await asyncio.to_thread(server.wait) == 0
    (began,) = lines(server, "INFO draining")
    assert f"reason=SIGTERM active={count} started_with={count} " in began
    (ended,) = lines(server, "INFO drained")
    assert f" active=0 started_with={count} " in ended
    assert f" left={count} " in ended
    assert "exit_code=0" in ended
    assert not lines(server, "WARNING")
    assert len(lines(server, "INFO serving")) == 1


async def test_without_clients_a_signal_ends_all_at_once(start: StartServer) -> None:
    server = start()
    found = pids(server)
    server.signal(signal.SIGINT)
    assert await asyncio.to_thread(server.wait) == 0
    assert not any(map(lives, found))
    assert os.listdir(server.environ["WSCTL_RUNTIME_DIR"]) == []


async def test_the_deadline_is_everybodys_and_ends_with_4(start: StartServer) -> None:
    server = start("--shutdown-timeout", "1")
    clients = await spread(server)
    server.signal()
    for client in clients:
        assert (await closed(client))[0] == 1012
    assert await asyncio.to_thread(server.wait) == 4
    (ended,) = lines(server, "INFO drained")
    assert f"forced={len(clients)} " in ended


async def test_sigint_a_second_later_forces_all(start: StartServer) -> None:
    server = start()
    clients = await spread(server)
    server.signal(signal.SIGINT)
    for client in clients:
        await receive_type(client, "shutdown")
    server.signal(signal.SIGINT)  # too early: it may be the same Ctrl-C
    await asyncio.to_thread(until, lambda: server.status()["drain"]["elapsed_s"] > 1.1, "a second")
    assert server.status()["drain"]["active"] == len(clients)
    server.signal(signal.SIGINT)
    for client in clients:
        assert (await closed(client))[0] == 1012
    assert await asyncio.to_thread(server.wait) == 130


def test_a_taken_port_is_told_once(three: ServerProcess, environ: dict[str, str]) -> None:
    done = wsctl("serve", "--port", str(three.port), "--workers", "2", environ=environ)
    assert done.returncode == 3
    assert done.stderr.count("cannot listen on") == 1


def test_workers_that_cannot_start_are_told_of_once(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "none.pem").write_text("nothing")
    flags = ("--port", "0", "--workers", "2", "--ssl-certfile", str(tmp_path / "none.pem"))
    done = wsctl("serve", *flags, environ=environ)
    assert done.returncode == 3
    assert done.stderr.count("(no PEM)") == 1


def test_a_killed_worker_is_replaced(three: ServerProcess) -> None:
    before = pids(three)
    os.kill(before[0], signal.SIGKILL)
    three.wait_for_line(f"WARNING a worker died pid={before[0]} signal=SIGKILL")
    until(lambda: len(serving(three)) == 3, "three that serve")
    after = pids(three)
    assert after[1:] == before[1:]
    assert after[0] != before[0]


async def test_a_worker_that_dies_again_and_again_is_given_up(start: StartServer) -> None:
    server = start()
    bob = await join(server.ws_url, "bob")
    await asyncio.to_thread(wait_connected, server, 1)
    number = next(row["number"] for row in workers(server) if not row["connections"])

    def pid() -> int:
        return next((row["pid"] for row in workers(server) if row["number"] == number), 0)

    killed: set[int] = set()
    for _ in range(6):
        now = await asyncio.to_thread(until, lambda: (found := pid()) not in killed and found, "a new one")
        killed.add(now)
        os.kill(now, signal.SIGKILL)
    await asyncio.to_thread(server.wait_for_line, "ERROR .*giving up")
    await receive_type(bob, "shutdown")
    await bob.close()
    assert await asyncio.to_thread(server.wait) == 1
    assert len(lines(server, "giving up")) == 1
    assert len(killed) == 6


async def test_workers_whose_parent_was_killed_drain_and_end(start: StartServer) -> None:
    server = start()
    found = pids(server)
    bob = await join(server.ws_url, "bob")
    server.process.kill()
    assert (await receive_type(bob, "shutdown"))["reason"] == ORPHANED
    await bob.close()
    await asyncio.to_thread(until, lambda: not any(map(lives, found)), "all have ended")
    assert server.wait() == -signal.SIGKILL
    assert lines(server, "the parent is gone")


async def test_status_shows_each_worker_and_what_all_have(three: ServerProcess) -> None:
    server = three
    clients = await spread(server)
    done = await asyncio.to_thread(wsctl, "status", "--json", environ=server.environ)
    facts = [json.loads(line) for line in done.stdout.splitlines()]
    assert sorted(row["pid"] for row in facts) == sorted(pids(server))
    assert sum(row["connections"] for row in facts) == len(clients)
    assert {row["group"]["pid"] for row in facts} == {server.pid}
    assert {row["group"]["connections"] for row in facts} == {len(clients)}
    shown = await asyncio.to_thread(wsctl, "status", environ=server.environ)
    assert shown.stdout.count("  phase  ") == 3
    assert f"  workers      3, {len(clients)} connected to all" in shown.stdout
    await asyncio.gather(*(client.close() for client in clients))


async def test_a_broadcast_reaches_the_clients_of_all(three: ServerProcess) -> None:
    clients = await spread(three)
    here = await asyncio.to_thread(wsctl, "broadcast", "one", environ=three.environ)
    there = await asyncio.to_thread(wsctl, "broadcast", "two", "--url", three.url, environ=three.environ)
    for done in (here, there):
        assert done.stdout.split()[1] == str(len(clients)), done
    for client in clients:
        assert [(await receive_type(client, "message"))["data"] for _ in range(2)] == ["one", "two"]
        await client.close()


async def test_a_batch_is_published_by_one_worker_for_the_clients_of_all(three: ServerProcess) -> None:
    await check_a_batch(three, 6)
    check_refusals(three)


@ON_VALKEY
async def test_workers_that_share_a_redis_are_one_server(start: StartServer, store: StoreProcess) -> None:
    server = start("--redis", store.url)
    clients = await spread(server)
    until(lambda: server.status()["cluster"]["connections"] == len(clients), "each knows of all")
    done = await asyncio.to_thread(wsctl, "broadcast", "one", environ=server.environ)
    assert done.stdout.split()[1] == str(len(clients)), done
    code, _ = await asyncio.to_thread(server.api, "POST", "/api/broadcast", {"data": "two"})
    assert code == 200
    for client in clients:
        assert [(await receive_type(client, "message"))["data"] for _ in range(2)] == ["one", "two"]
    facts = until(lambda: (f := server.status())["messages"]["published"] and f, "the messages are told")
    until(lambda: server.status()["messages"]["published"] == 2, "both are counted once")
    assert (facts["degraded"], facts["redis"]["state"], facts["cluster"]["nodes"]) == (None, "up", 2)
    assert [row["this"] for row in facts["nodes"]] == [True, True]
    _, whole = await asyncio.to_thread(server.api, "GET", "/api/status?clients=true")
    names = sorted(f"s{n}" for n in range(len(clients)))
    assert sorted(row["client_id"] for row in whole["clients"]) == names
    assert all(row["address"] for row in whole["clients"])
    told = await asyncio.to_thread(wsctl, "status", "--clients", "--json", environ=server.environ)
    each = [json.loads(line)["clients"] for line in told.stdout.splitlines()]
    assert sorted(row["client_id"] for rows in each for row in rows) == names
    await asyncio.gather(*(client.close() for client in clients))


@ON_REDIS
async def test_a_worker_that_dies_while_redis_is_away_comes_back_with_it(
    start: StartServer, store: StoreProcess
) -> None:
    server = start("--redis", store.url)
    bob = await join(server.ws_url, "bob")
    await asyncio.to_thread(wait_connected, server, 1)
    idle = next(row["pid"] for row in workers(server) if not row["connections"])
    store.kill()
    os.kill(idle, signal.SIGKILL)
    await asyncio.to_thread(server.wait_for_line, "cannot start for now.* why=.*--redis")
    await asyncio.to_thread(until, lambda: server.status()["degraded"], "the parent tells of it")
    store.restart()
    await asyncio.to_thread(until, lambda: len(serving(server)) == 2, "two that serve")
    assert len(lines(server, "cannot start for now")) == 1
    assert not lines(server, "giving up")
    await bob.close()
    assert await asyncio.to_thread(server.stop) == 0


async def test_while_a_worker_is_stopped_the_others_answer_and_it_is_named(three: ServerProcess) -> None:
    server = three
    clients = await spread(server)
    hung = workers(server)[1]
    name = f"worker {hung['number']} (pid {hung['pid']})"
    os.kill(hung["pid"], signal.SIGSTOP)
    try:
        shown = await asyncio.to_thread(wsctl, "status", "--json", environ=server.environ)
        found = [json.loads(line)["pid"] for line in shown.stdout.splitlines()]
        assert sorted(found) == sorted(set(pids(server)) - {hung["pid"]})
        assert f"pid {hung['pid']}" in shown.stderr
        assert "does not answer" in shown.stderr
        sent = await asyncio.to_thread(wsctl, "broadcast", "hi", environ=server.environ)
        assert int(sent.stdout.split()[1]) == len(clients)  # those of the stopped one get it later
        listed = await asyncio.to_thread(server.api, "GET", "/api/status?clients=true")
        assert len(listed[1]["clients"]) == len(clients) - hung["connections"]
        silent = [row["number"] for row in listed[1]["workers"] if row["silent"]]
        assert silent == [hung["number"]]
        _, metrics = await asyncio.to_thread(server.api, "GET", "/metrics")
        assert f'wsctl_worker_up{{worker="{hung["number"]}"}} 0.0' in metrics.decode()
        await asyncio.to_thread(
            until, lambda: any(row["silent"] for row in workers(server)), "the parent knows"
        )
        table = await asyncio.to_thread(wsctl, "status", environ=server.environ)
        assert f"{name}: no answer" in table.stdout
        upgrade = await asyncio.to_thread(wsctl, "upgrade", environ=server.environ)
        assert f"{name} does not answer" in upgrade.stderr
    finally:
        os.kill(hung["pid"], signal.SIGCONT)
    for client in clients:  # those of the one that was stopped too, now that it goes on
        assert (await receive_type(client, "message"))["data"] == "hi"
    await asyncio.gather(*(client.close() for client in clients))


async def test_what_a_worker_tells_anyone_is_of_the_whole_server(three: ServerProcess) -> None:
    clients = await spread(three)
    count = len(clients)

    def told() -> set[int]:
        return {three.http("GET", "/health")[1]["connections"] for _ in range(12)}

    await asyncio.to_thread(until, lambda: told() == {count}, "all tell of all")
    for client in clients:
        while (await receive_type(client, "heartbeat"))["connections"] != count:
            pass
    late = await join(three.ws_url, "late")
    await asyncio.gather(*(client.close() for client in (late, *clients)))


async def test_a_worker_that_hangs_does_not_hold_the_exit(start: StartServer) -> None:
    server = start("--shutdown-timeout", "1")
    hung = pids(server)[0]
    os.kill(hung, signal.SIGSTOP)
    server.signal()
    line = f"ERROR a worker hangs and is killed pid={hung}"
    await asyncio.to_thread(server.wait_for_line, line, DEADLINE + CLOSE_TIMEOUT + WORKER_GRACE)
    assert await asyncio.to_thread(server.wait) == 1


async def test_a_drain_by_command_is_of_all_and_can_be_cancelled(start: StartServer) -> None:
    server = start(env=SECRET)
    roads: tuple[tuple[str, ...], ...] = ((), ("--url", server.url))

    async def command(*words: str) -> Any:
        return await asyncio.to_thread(wsctl, *words, environ=server.environ)

    clients = await spread(server)
    for road in roads:
        begun = await command("drain", "--no-wait", "--timeout", "60", *road)
        assert f"{len(clients)} of {len(clients)} connected" in begun.stdout, begun
        for client in clients:
            assert (await receive_type(client, "shutdown"))["deadline_s"] <= 60
        undone = await command("drain", "--cancel", *road)
        assert undone.returncode == 0, undone
        for client in clients:
            assert (await receive_type(client, "shutdown"))["deadline_s"] is None
        assert {row["status"] for row in workers(server)} == {"serving"}

    waiting = []
    for road, timeout in zip(roads, ("60", "50"), strict=True):
        waiting.append(asyncio.create_task(command("drain", "--timeout", timeout, *road)))
        for client in clients:
            await receive_type(client, "shutdown")
    for client in clients:  # one after the other: workers end one after the other
        await client.close()
    for done in await asyncio.gather(*waiting):
        assert done.returncode == 0, done
        assert f": {len(clients)} left by themselves" in done.stdout
    assert await asyncio.to_thread(server.wait) == 0


async def test_in_a_drain_an_upgrade_is_refused_and_who_had_ended_comes_back_when_it_is_cancelled(
    start: StartServer,
) -> None:
    server = start()
    bob = await join(server.ws_url, "bob")
    before = set(pids(server))
    assert server.api("POST", "/api/drain", {})[0] == 200
    await receive_type(bob, "shutdown")
    await asyncio.to_thread(until, lambda: sum(map(lives, before)) == 1, "the idle one has ended")
    refused = await asyncio.to_thread(wsctl, "upgrade", environ=server.environ)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "'wsctl drain --cancel' takes the drain back, then upgrade it" in refused.stderr
    assert server.api("DELETE", "/api/drain")[0] == 200
    await asyncio.to_thread(
        until, lambda: [row["status"] for row in workers(server)] == ["serving"] * 2, "both serve"
    )
    assert len(set(pids(server)) & before) == 1
    server.signal()
    await receive_type(bob, "shutdown")
    await bob.close()
    assert await asyncio.to_thread(server.wait) == 0


async def test_an_upgrade_replaces_one_after_the_other_and_one_that_fails_nothing_and_nobody_is_closed(
    start: StartServer, environ: dict[str, str], tmp_path: Path
) -> None:
    fault = tmp_path / "fault"
    command = (sys.executable, "-m", "tests.support.faulty", "serve", "--port", "0")
    server = start(command=command, env=SECRET | {"FAULT_FILE": str(fault)})
    clients = await spread(server)
    before = set(pids(server))
    fault.write_text("exits")
    failed = await asyncio.to_thread(wsctl, "upgrade", environ=environ)
    assert failed.returncode == 1
    assert "worker 1: the successor ended with exit code 7" in failed.stderr, failed
    assert "0 of 2 workers were replaced" in failed.stderr
    assert set(pids(server)) == before
    assert server.status()["status"] == "serving"
    fault.write_text("nothing")
    assert server.api("POST", "/api/broadcast", {"data": 0})[1]["recipients"] == len(clients)
    done = await asyncio.to_thread(wsctl, "upgrade", "--url", server.url, environ=environ | SECRET)
    assert done.returncode == 0, done
    # At once: who looks after an upgrade sees no client missing.
    assert sum(row["connections"] for row in workers(server)) == len(clients)
    assert f"moved {len(clients)}, draining 0" in done.stdout
    assert f"(pid {server.pid} serves)" in done.stdout
    after = set(pids(server))
    assert len(after) == 2
    assert not after & before
    await asyncio.to_thread(until, lambda: not any(map(lives, before)), "the old ones have ended")
    assert server.api("POST", "/api/broadcast", {"data": 1})[1]["recipients"] == len(clients)
    for client in clients:
        assert [(await receive_type(client, "message"))["data"] for _ in range(2)] == [0, 1]
    # The fresh ones are children of the parent, which starts them again and ends them.
    os.kill(min(after), signal.SIGKILL)
    await asyncio.to_thread(server.wait_for_line, f"a worker died pid={min(after)}")
    server.signal()
    await asyncio.gather(*(client.close() for client in clients))
    assert await asyncio.to_thread(server.wait) == 0


async def test_systemd_hears_the_parent_alone_also_in_an_upgrade_by_signal(
    start: StartServer, runtime_dir: Path
) -> None:
    with Supervisor(str(runtime_dir / "notify")) as supervisor:
        server = start(env=supervisor.environ)
        assert supervisor.hear() == ["READY=1", "STATUS=serving"]
        clients = await spread(server)
        before = set(pids(server))
        server.signal(signal.SIGUSR2)
        assert (await asyncio.to_thread(supervisor.hear))[0] == "RELOADING=1"
        assert await asyncio.to_thread(supervisor.hear) == ["READY=1", "STATUS=serving"]
        after = set(pids(server))
        assert (len(after), after & before) == (2, set())
        await asyncio.to_thread(server.wait_for_line, "INFO upgraded")
        server.signal()
        stopping, status, _ = await asyncio.to_thread(supervisor.hear)
        assert stopping == "STOPPING=1"
        assert status.startswith(f"STATUS=draining: {len(clients)} of {len(clients)} clients connected")
        await asyncio.gather(*(client.close() for client in clients))
        assert await asyncio.to_thread(server.wait) == 0
        assert supervisor.heard()[-1][0].startswith(f"STATUS=stopped: {len(clients)} clients left")


def test_sigusr1_logs_how_all_are(three: ServerProcess) -> None:
    three.signal(signal.SIGUSR1)
    found = three.wait_for_line(r"INFO status .*connections=0 .*workers=(\[.*\])")
    assert [row["status"] for row in json.loads(found[1])] == ["serving"] * 3


async def test_one_bar_is_drawn_for_all_and_ctrl_c_reaches_the_parent_alone(
    environ: dict[str, str],
) -> None:
    terminal = Terminal([*WSCTL, "serve", "--port", "0", "--workers", "2"], environ, columns=110)
    try:
        found = re.search(r"serving url=(http://\S+) workers=2", terminal.wait_for("workers=2"))
        assert found
        url = found[1].replace("http", "ws")
        bob, eve = await join(url, "bob"), await join(url, "eve")
        terminal.wait_for("connected client_id=eve")
        terminal.type("\x03")
        screen = terminal.wait_for("2 of 2 connected")
        assert screen.count("elapsed 0:0") == 1
        await receive_type(bob, "shutdown")
        await bob.close()
        screen = terminal.wait_for("1 of 2 connected")
        shown = screen.splitlines()
        assert "1 of 2 connected" in shown[-2]
        assert shown[-1] == "Ctrl-C: close everybody now"
        assert len([line for line in shown if "connected" in line and "elapsed" in line]) == 1
        # Lines of the workers stay above it, whole.
        assert any(re.search(r"INFO disconnected client_id=bob", line) for line in shown[:-2])
        terminal.wait_for(lambda text: "elapsed 0:01" in text)
        assert eve.close_code is None
        terminal.type("\x03")
        assert (await closed(eve))[0] == 1012
        assert terminal.wait() == 130
        assert len(re.findall("INFO drained", terminal.text)) == 1
        assert terminal.text.index("disconnected client_id=eve") < terminal.text.index("INFO drained")
    finally:
        terminal.close()


async def test_what_a_worker_tells_of_all_has_its_own_clients_in_it(three: ServerProcess) -> None:
    for n in range(8):
        client = await join(three.ws_url, f"c{n}")
        for _ in range(6):  # whichever worker answers
            _, facts = three.http("GET", "/api/status", None, {"Authorization": "Bearer secret"})
            row = next(row for row in facts["group"]["workers"] if row["pid"] == facts["pid"])
            assert row["connections"] == facts["connections"] <= facts["group"]["connections"]
        await client.close()
