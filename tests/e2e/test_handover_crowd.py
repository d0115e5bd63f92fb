"""Handovers under load, one after the other."""

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path

import uvloop

from tests.conftest import StartServer
from tests.support.generations import Generations
from tests.support.outside import Outside
from tests.support.server import WSCTL
from tests.support.witness import Witness
from wsctl.server.limits import raise_open_files

# Crowds come one after the other, on one worker: two at a time would measure each other.

UPGRADES = 20
CLIENTS = 1000
OUTSIDE, INSIDE = 100, 20
"""Messages a second: published from outside, and sent by clients in turn."""


def test_twenty_upgrades_in_a_row_are_noticed_by_none_of_a_thousand_clients(
    start_server: StartServer,
) -> None:
    # The periodic log of each connection would be the test's greatest load.
    server = Generations(start_server("--broadcast-interval", "0", "--rate", "0", "--shutdown-timeout", "5"))
    try:
        uvloop.run(_upgrade_again_and_again(server))
    finally:
        server.kill()


async def _upgrade_again_and_again(server: Generations) -> None:
    async with Witness(server.port) as witness:
        await _upgrade_under(witness, server)


async def _upgrade_under(witness: Witness, server: Generations) -> None:
    await witness.join(CLIENTS)
    outside, over = Outside(server, OUTSIDE), asyncio.Event()
    inside = asyncio.create_task(_send_in_turn(witness, over))
    publishing = asyncio.create_task(outside.run(over))
    memory, files = [], []
    for _ in range(UPGRADES):
        old = server.pid
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["state"], outcome["moved"], outcome["staying"]) == ("done", CLIENTS, 0), outcome
        await asyncio.to_thread(server.wait_gone, old)
        memory.append(_resident(server.pid))
        files.append(len(os.listdir(f"/proc/{server.pid}/fd")))
    over.set()
    sent = await inside
    await publishing
    await witness.level(sent + len(outside.accepted))

    assert witness.faults == []
    data, ids = witness.data(), witness.ids()
    assert sorted(set(ids)) == ids
    assert set(outside.accepted) | {f"i{n}" for n in range(sent)} <= set(data)
    assert len(set(data)) == len(data)
    assert set(outside.accepted.values()) == {CLIENTS}
    assert [text for text in data if text[0] == "i"] == [f"i{n}" for n in range(sent)]
    assert len(outside.accepted) > UPGRADES * OUTSIDE / 10
    assert witness.silence < 1
    # The second half needs no more than the first.
    assert max(memory[UPGRADES // 2 :]) < 1.1 * max(memory[: UPGRADES // 2])
    assert max(files) - min(files) <= 4


async def _send_in_turn(witness: Witness, over: asyncio.Event) -> int:
    """The clients send "i0", "i1", ... in turn; returns how many there were."""
    n = 0
    while not over.is_set():
        witness.clients[n % CLIENTS].send(f"i{n}")
        n += 1
        await asyncio.sleep(1 / INSIDE)
    return n


def test_ten_thousand_idle_connections_move_within_three_seconds(start_server: StartServer) -> None:
    server = Generations(start_server("--broadcast-interval", "0", "--log-level", "info"))
    try:
        uvloop.run(_move_many(server))
    finally:
        server.kill()
    began, done = (
        float(server.first.wait_for_line(rf"handover {state}.* elapsed_s=(\S+)").group(1))
        for state in ("moving", "done")
    )
    assert done - began < 3


async def _move_many(server: Generations) -> None:
    limit = raise_open_files()
    count = 10_000 if limit < 0 or limit > 10_100 else limit - 100
    async with Witness(server.port) as witness:
        await witness.join(count)
        outcome = await asyncio.to_thread(server.upgrade)
        assert (outcome["state"], outcome["moved"]) == ("done", count), outcome
        server.api("POST", "/api/broadcast", {"data": "here"})
        await witness.level(1)
        assert witness.faults == []


def _resident(pid: int) -> int:
    """KiB of memory in use."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found
    return int(found[1])


def test_a_stress_run_across_two_upgrades_is_clean(start_server: StartServer) -> None:
    server = Generations(start_server("--broadcast-interval", "0"))
    command = [*WSCTL, "stress", "--clients", "200", "--rate", "20", "--duration", "8", "--json"]
    url = ("--url", server.first.url)
    stress = subprocess.Popen([*command, *url], env=server.first.environ, stdout=subprocess.PIPE, text=True)
    try:
        for number in range(1, 201):
            server.first.wait_for_line(rf"connected client_id=stress-0*{number}\b")
        for _ in range(2):
            assert server.upgrade()["moved"] == 200
        told = json.loads(stress.communicate(timeout=60)[0])
    finally:
        stress.kill()
        stress.communicate()
        server.kill()
    assert stress.returncode == 0, told
    assert told["delivered"] == told["expected"] == told["sent"] * 200 > 200 * 20
    faults = ("missed", "duplicated", "out_of_order", "unconfirmed", "reconnects", "failures")
    assert {name: told[name] for name in faults} == dict.fromkeys(faults, 0)
    assert told["silence_ms"] < 1000
