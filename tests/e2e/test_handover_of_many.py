"""Handovers under load, one after the other."""

import asyncio
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import uvloop

from tests.conftest import StartServer
from tests.support.crowd import Crowd
from tests.support.generations import Generations
from tests.support.outside import Outside
from tests.support.processes import popen
from tests.support.server import WSCTL
from tests.support.sizes import Sizes
from wsctl.server.listening.limits import raise_open_files

OUTSIDE, INSIDE = 200, 20
"""Messages a second: published from outside, and sent by clients in turn."""

MEANWHILE = 5
"""Messages from outside for each upgrade, at least: it may take less than a tenth of a second."""


def test_upgrades_in_a_row_are_noticed_by_none_of_a_crowd(start_server: StartServer, sizes: Sizes) -> None:
    # The periodic log of each connection would be the test's greatest load.
    server = Generations(start_server("--broadcast-interval", "0", "--rate", "0", "--shutdown-timeout", "5"))
    try:
        uvloop.run(_upgrade_again_and_again(server, sizes))
    finally:
        server.kill()


async def _upgrade_again_and_again(server: Generations, sizes: Sizes) -> None:
    async with Crowd(server.port) as crowd:
        await _upgrade_under(crowd, server, sizes)


async def _upgrade_under(crowd: Crowd, server: Generations, sizes: Sizes) -> None:
    await crowd.join(sizes.clients)
    outside, over = Outside(server, OUTSIDE), asyncio.Event()
    inside = asyncio.create_task(crowd.talk(INSIDE, over))
    publishing = asyncio.create_task(outside.run(over))
    memory, files = [], []
    for _ in range(sizes.upgrades):
        old = server.pid
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["state"], outcome["moved"], outcome["staying"]) == ("done", sizes.clients, 0), outcome
        await asyncio.to_thread(server.wait_gone, old)
        memory.append(_resident(server.pid))
        files.append(len(os.listdir(f"/proc/{server.pid}/fd")))
    over.set()
    sent = await inside
    await publishing
    await crowd.level(sent + len(outside.accepted))

    assert crowd.faults == []
    data = crowd.data()
    assert sorted(set(crowd.positions())) == crowd.positions()
    assert set(outside.accepted) | {f"i{n}" for n in range(sent)} <= set(data)
    assert len(set(data)) == len(data)
    assert set(outside.accepted.values()) == {sizes.clients}
    assert [text for text in data if text[0] == "i"] == [f"i{n}" for n in range(sent)]
    assert len(outside.accepted) > sizes.upgrades * MEANWHILE
    assert crowd.silence < 1
    # The second half needs no more than the first.
    assert max(memory[sizes.upgrades // 2 :]) < 1.1 * max(memory[: sizes.upgrades // 2])
    assert max(files) - min(files) <= 4


def test_idle_connections_move_within_three_seconds(start_server: StartServer, sizes: Sizes) -> None:
    server = Generations(start_server("--broadcast-interval", "0", "--log-level", "info"))
    try:
        uvloop.run(_move_many(server, sizes.idle))
    finally:
        server.kill()
    began, done = (
        float(server.first.wait_for_line(rf"handover {state}.* elapsed_s=(\S+)").group(1))
        for state in ("moving", "done")
    )
    assert done - began < 3


async def _move_many(server: Generations, idle: int) -> None:
    limit = raise_open_files()
    count = idle if limit < 0 else min(idle, limit - 100)
    async with Crowd(server.port) as crowd:
        await crowd.join(count)
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["state"], outcome["moved"]) == ("done", count), outcome
        server.api("POST", "/api/broadcast", {"data": "here"})
        await crowd.level(1)
        assert crowd.faults == []


def _resident(pid: int) -> int:
    """KiB of memory in use."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def test_a_stress_run_across_two_upgrades_is_clean(start_server: StartServer, sizes: Sizes) -> None:
    server = Generations(start_server("--broadcast-interval", "0"))
    command = [*WSCTL, "stress", "--rate", "20", "--duration", "1h", "--json"]
    command += ["--clients", str(sizes.stressed), "--url", server.first.url]
    stress = popen(command, env=server.first.environ, stdout=subprocess.PIPE, text=True)
    try:
        for number in range(1, sizes.stressed + 1):
            server.first.wait_for_line(rf"connected client_id=stress-0*{number}\b")
        for _ in range(2):
            assert server.upgrade()["moved"] == sizes.stressed
        stress.send_signal(signal.SIGINT)
        told = json.loads(stress.communicate(timeout=60)[0])
    finally:
        stress.kill()
        stress.communicate()
        server.kill()
    assert stress.returncode == 0, told
    assert told["delivered"] == told["expected"] == told["sent"] * sizes.stressed > 0
    faults = ("missed", "duplicated", "out_of_order", "unconfirmed", "reconnects", "failures")
    assert {name: told[name] for name in faults} == dict.fromkeys(faults, 0)
    assert told["silence_ms"] < 1000
