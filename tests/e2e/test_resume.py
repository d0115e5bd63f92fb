"""Clients that lose their connection and come back: `wsctl client`, `wsctl stress` and what they use."""

import asyncio
import json
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support import frames
from tests.support.clients import join, receive_type
from tests.support.guests import Guest, listening
from tests.support.processes import stand_in
from tests.support.relay import Relay
from tests.support.server import DEADLINE, ServerProcess
from wsctl.client import connection

pytestmark = pytest.mark.anyio

CLIENTS = 20


@asynccontextmanager
async def running(
    command: str, environ: Mapping[str, str], *flags: str
) -> "AsyncIterator[asyncio.subprocess.Process]":
    """A command whose output is JSON; it does not outlive the block."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = await asyncio.create_subprocess_exec(*stand_in(), command, *flags, env=dict(environ), **pipes)  # type: ignore[arg-type]
    async with AsyncExitStack() as stack:
        stack.push_async_callback(process.wait)
        stack.callback(lambda: process.returncode is None and process.kill())
        yield process


async def summary(process: "asyncio.subprocess.Process") -> tuple[int | None, dict[str, Any]]:
    """Ctrl-C: exit code and JSON."""
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(DEADLINE):
        out, err = await process.communicate()
    assert b"Traceback" not in err
    return process.returncode, json.loads(out)


async def line_with(words: str, lines: asyncio.StreamReader) -> str:
    """The next line that has these words, waited for."""
    async with asyncio.timeout(DEADLINE):
        while words not in (line := (await lines.readline()).decode()):
            assert line, f"no line with {words!r}"
    return line


async def heard_from(server: ServerProcess, count: int) -> None:
    """Wait until so many different clients have sent a message."""
    witness = await join(server.ws_url, "witness")
    senders: set[str] = set()
    while len(senders) < count:
        senders.add((await receive_type(witness, "message"))["from"])
    await witness.close()


async def publish(server: ServerProcess, *data: object, to: list[str] | None = None) -> None:
    for item in data:
        body = {"data": item} if to is None else {"data": item, "to": to}
        status, answer = await asyncio.to_thread(server.api, "POST", "/api/broadcast", body)
        assert status == 200, answer


async def test_a_client_that_was_cut_off_comes_back_and_gets_everything_once(
    start_server: StartServer,
) -> None:
    server = start_server("--broadcast-interval", "0")
    async with (
        Relay(server.port).running() as relay,
        listening(ann=server.url, bob=relay.url, cat=server.url) as (ann, bob, cat),
    ):
        await publish(server, 1, 2)
        await bob.until(lambda: bob.data == [1, 2])
        relay.cut()
        await bob.until(lambda: not bob.open.is_set())
        await publish(server, 3, 4)
        await publish(server, "for bob", to=["bob"])
        await publish(server, "for ann", to=["ann"])
        relay.mend()
        await bob.open.wait()
        await bob.session.send("back")
        for guest, own in ((ann, ["for ann"]), (bob, ["for bob"]), (cat, [])):
            due = [1, 2, 3, 4, *own, "back"]
            await guest.until(lambda guest=guest: "back" in guest.data)  # type: ignore[misc]
            assert guest.data == due
        assert [(opening.resumed, opening.gap) for opening in bob.openings] == [(False, False), (True, False)]


async def test_cut_off_again_and_again_while_messages_flow_it_misses_nothing(
    start_server: StartServer,
) -> None:
    server = start_server("--broadcast-interval", "0")
    async with Relay(server.port).running() as relay, listening(bob=relay.url) as (bob,):
        publishing = asyncio.create_task(publish(server, *range(300)))
        for count in (1, 50, 100):
            await bob.until(lambda count=count: len(bob.data) >= count)  # type: ignore[misc]
            relay.cut()
            await bob.until(lambda: not bob.open.is_set())
            relay.mend()
            await bob.open.wait()
        await publishing
        await bob.until(lambda: 299 in bob.data)
        assert bob.data == list(range(300))
        assert [opening.gap for opening in bob.openings[1:]] == [False] * 3


async def test_the_client_command_shows_what_it_missed_and_says_when_that_is_too_long_ago(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server("--broadcast-interval", "0", "--history", "3")
    async with (
        Relay(server.port).running() as relay,
        running("client", environ, "--id", "bob", "--url", relay.url, "--count", "5") as client,
    ):
        assert client.stdout
        assert client.stderr
        await line_with(" connected as bob", client.stderr)
        await publish(server, 0)
        await line_with("server: 0", client.stdout)
        for missed, told, shown in (((1, 2), False, (1, 2, 3)), ((4, 5, 6, 7), True, (3,))):
            relay.cut()
            await line_with("retrying in", client.stderr)
            await publish(server, *missed)
            relay.mend()
            line = await line_with(" connected as bob", client.stderr)
            assert ("some messages were missed" in line) is told
            await publish(server, 3)
            for data in shown:
                assert (await line_with("server: ", client.stdout)).endswith(f"server: {data}\n")
        async with asyncio.timeout(DEADLINE):
            assert await client.wait() == 0


async def test_a_stress_run_whose_clients_were_cut_off_counts_what_was_replayed_as_delivered(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server("--broadcast-interval", "0")
    flags = ("--clients", str(CLIENTS), "--rate", "200", "--duration", "1h", "--json")
    async with (
        Relay(server.port).running() as relay,
        running("stress", environ, *flags, "--url", relay.url) as stress,
    ):
        await heard_from(server, CLIENTS)
        relay.cut()
        relay.mend()
        await heard_from(server, CLIENTS)
        code, found = await summary(stress)
    # What was on its way to the server when the road was cut is lost, which is no success.
    assert code == bool(found["unconfirmed"]), found
    assert (found["reconnects"], found["resumed"], found["unrecovered"]) == (CLIENTS, CLIENTS, 0)
    assert found["delivered"] == found["expected"]
    assert found["replayed"] > 0


async def test_a_plain_restart_is_told_to_every_client_and_the_stress_run_says_so(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server("--shutdown-timeout", "1")
    flags = ("--clients", str(CLIENTS), "--rate", "200", "--duration", "1h", "--json")
    async with running("stress", environ, *flags, "--url", server.url) as stress:
        await heard_from(server, CLIENTS)
        assert await asyncio.to_thread(server.stop) == 4
        again = await asyncio.to_thread(start_server, "--port", str(server.port))
        await heard_from(again, CLIENTS)
        code, found = await summary(stress)
    assert code == 1
    assert (found["reconnects"], found["resumed"], found["unrecovered"]) == (CLIENTS, 0, CLIENTS)
    assert found["connected"] == CLIENTS
    assert found["close_codes"]["1012"] == CLIENTS
    # Who comes back before the others hears what is lost to them; nobody hears anything between the two.
    assert found["missed"] > 0
    assert found["silence_ms"] > 100
    assert (found["duplicated"], found["out_of_order"]) == (0, 0)


async def test_clients_that_are_asked_to_leave_do_so_before_the_deadline(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server("--shutdown-timeout", "1h", "--reconnect-window", "500ms")
    flags = ("--clients", "5", "--rate", "20", "--duration", "1h", "--json")
    async with running("stress", environ, *flags, "--url", server.url) as stress:
        await heard_from(server, 5)
        assert await asyncio.to_thread(server.stop) == 0
        code, found = await summary(stress)
    assert found["planned"] == 5
    # Who tries to come back is sent away, or cut off by the end of the process; nobody was closed by force.
    assert set(found["close_codes"]) <= {"1001", "1006"}
    assert (code, found["connected"]) == (1, 0)


async def test_over_tls_clients_resume_too(
    start_server: StartServer, environ: dict[str, str], certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    server = start_server("--broadcast-interval", "0", "--ssl-certfile", cert, "--ssl-keyfile", key)
    flags = ("--clients", "5", "--rate", "50", "--duration", "1h", "--json")
    async with Relay(server.port).running() as relay:
        url = relay.url.replace("http", "https")
        environ |= {"SSL_CERT_FILE": cert}
        async with running("stress", environ, *flags, "--url", url) as stress:
            async with running("client", environ, "--id", "eve", "--url", url, "--json") as eve:
                assert eve.stdout
                await _senders(eve.stdout, 5)
                relay.cut()
                relay.mend()
                await _senders(eve.stdout, 5)
            code, found = await summary(stress)
    assert (found["resumed"], found["missed"]) == (5, 0), found
    assert code == bool(found["unconfirmed"]), found


async def _senders(lines: asyncio.StreamReader, count: int) -> None:
    """Wait until so many different clients have sent a message, as `wsctl client --json` tells."""
    senders: set[str] = set()
    async with asyncio.timeout(DEADLINE):
        while len(senders) < count:
            told = json.loads(await lines.readline())
            if told["type"] == "message":
                senders.add(frames.checked(told)["from"])


async def test_a_client_notices_that_nothing_comes_any_more_and_resumes(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connection.PING_INTERVAL + connection.PING_TIMEOUT <= 30
    monkeypatch.setattr(connection, "PING_INTERVAL", 0.2)
    monkeypatch.setattr(connection, "PING_TIMEOUT", 1.0)
    server = start_server("--broadcast-interval", "0.1", "--history", "10")
    async with Relay(server.port).running() as road:
        guest = Guest(road.url, "bob")
        listening = asyncio.create_task(guest.listen())
        await guest.until(lambda: len(guest.openings) > 0)
        road.freeze()  # as a laptop that sleeps: both ends stay open
        await publish(server, "meanwhile")
        await guest.until(lambda: guest.data == ["meanwhile"])
        assert len(guest.openings) >= 2
        assert guest.openings[1].recovered
        await guest.session.close()
        await listening
