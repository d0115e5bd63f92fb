"""Programs that use `from wsctl import connect`: real servers restart, drain, upgrade and refuse."""

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support.generations import Generations
from tests.support.issuer import Issuer
from tests.support.relay import Relay
from tests.support.server import DEADLINE, ServerProcess, wsctl
from wsctl import (
    Connected,
    Disconnected,
    Draining,
    Lost,
    MessageStream,
    SessionEnded,
    StreamEvent,
    connect,
)

pytestmark = pytest.mark.anyio

QUIET = ("--broadcast-interval", "0")


async def publish(server: ServerProcess, *data: object) -> list[str]:
    """The ids of messages that an operator publishes."""
    ids = []
    for item in data:
        status, answer = await asyncio.to_thread(server.api, "POST", "/api/broadcast", {"data": item})
        assert status == 200, answer
        ids.append(answer["id"])
    return ids


async def read(messages: MessageStream, count: int) -> list[Any]:
    """The data of the next so many messages."""
    async with asyncio.timeout(DEADLINE):
        return [(await anext(messages)).data for _ in range(count)]


def kinds(told: list[StreamEvent]) -> list[type]:
    return [type(event) for event in told]


async def test_what_others_and_it_itself_publish_arrives(server: ServerProcess) -> None:
    async with connect(server.url, id="talker") as messages, asyncio.timeout(DEADLINE):
        await messages.publish("from me")
        own = await anext(messages)
        (published,) = await publish(server, {"from": "an operator"})
        other = await anext(messages)
    assert (own.sender, own.data) == ("talker", "from me")
    assert (other.id, other.sender, other.data, other.to) == (
        published,
        "server",
        {"from": "an operator"},
        None,
    )


async def test_leaving_is_a_normal_close(server: ServerProcess) -> None:
    async with connect(server.url, id="leaver"):
        pass
    line = await asyncio.to_thread(server.wait_for_line, "client_id=leaver .*code=")
    assert "code=1000" in line.string


async def test_a_program_that_starts_again_continues_where_it_stopped(server: ServerProcess) -> None:
    told: list[StreamEvent] = []
    async with connect(server.url, id="again", on_event=told.append) as messages:
        await publish(server, 1)
        async with asyncio.timeout(DEADLINE):
            seen = (await anext(messages)).id
    await publish(server, 2, 3)
    async with connect(server.url, id="again", since=seen, on_event=told.append) as messages:
        assert await read(messages, 2) == [2, 3]
    assert [event.recovered for event in told if isinstance(event, Connected)] == [None, True]


async def test_a_connection_that_is_cut_is_resumed_without_a_gap(server: ServerProcess) -> None:
    told: list[StreamEvent] = []
    async with (
        Relay(server.port).running() as relay,
        connect(relay.url, id="cut", on_event=told.append) as messages,
    ):
        await publish(server, 1)
        assert await read(messages, 1) == [1]
        relay.cut()
        await publish(server, 2, 3)
        relay.mend()
        await messages.publish("4")
        assert await read(messages, 3) == [2, 3, "4"]
    assert Lost not in kinds(told)
    assert [event.recovered for event in told if isinstance(event, Connected)] == [None, True]


async def test_a_server_that_is_killed_and_starts_anew_has_lost_what_came_between(
    start_server: StartServer,
) -> None:
    told: list[StreamEvent] = []
    first = start_server(*QUIET)
    async with connect(first.url, id="bob", on_event=told.append, timeout=DEADLINE) as messages:
        (seen,) = await publish(first, 1)
        assert await read(messages, 1) == [1]
        reading = asyncio.ensure_future(read(messages, 1))
        first.process.kill()
        await asyncio.to_thread(start_server, *QUIET, "--port", str(first.port))
        await messages.publish("there again")
        assert await reading == ["there again"]
    (lost,) = [event for event in told if isinstance(event, Lost)]
    assert lost.since == seen
    assert kinds(told)[-2:] == [Connected, Lost]
    assert [event.code for event in told if isinstance(event, Disconnected)] == [1006]


async def test_an_upgrade_is_not_noticed(start_server: StartServer) -> None:
    told: list[StreamEvent] = []
    generations = Generations(start_server(*QUIET))
    server = generations.first
    async with connect(server.url, id="bob", on_event=told.append) as messages:
        try:
            await messages.publish("before")
            assert (await asyncio.to_thread(generations.upgrade))["moved"] == 1
            await messages.publish("after")
            assert await read(messages, 2) == ["before", "after"]
        finally:
            generations.kill()
    assert kinds(told) == [Connected]


async def test_a_draining_server_is_left_at_its_moment_for_the_next_one(start_server: StartServer) -> None:
    told: list[StreamEvent] = []
    old, new = start_server(*QUIET, "--reconnect-window", "0.2"), start_server(*QUIET)
    async with (
        Relay(old.port).running() as relay,
        connect(relay.url, id="bob", on_event=told.append, timeout=DEADLINE) as messages,
    ):
        reading = asyncio.ensure_future(read(messages, 1))
        relay.lead_to(new.port)
        old.signal(signal.SIGTERM)
        assert await asyncio.to_thread(old.wait) == 0
        await messages.publish("here")
        assert await reading == ["here"]
    # They share no history.
    assert kinds(told) == [Connected, Draining, Disconnected, Connected, Lost]


async def test_a_drain_at_its_deadline_closes_it_and_it_waits_for_the_next_server(
    start_server: StartServer,
) -> None:
    told: list[StreamEvent] = []
    old = start_server(*QUIET, "--shutdown-timeout", "0.2")
    async with connect(old.url, id="bob", on_event=told.append, timeout=DEADLINE) as messages:
        reading = asyncio.ensure_future(read(messages, 1))
        old.signal(signal.SIGTERM)
        assert await asyncio.to_thread(old.wait) == 4
        await asyncio.to_thread(start_server, *QUIET, "--port", str(old.port))
        await messages.publish("there again")
        assert await reading == ["there again"]
    assert [event.code for event in told if isinstance(event, Disconnected)] == [1012]


@pytest.fixture
def guarded(start_server: StartServer, tmp_path: Path) -> tuple[ServerProcess, Issuer]:
    issuer = Issuer(tmp_path)
    return start_server(*QUIET, *issuer.flags), issuer


async def test_a_refused_token_ends_it_with_the_words_of_the_command(
    guarded: tuple[ServerProcess, Issuer], environ: dict[str, str]
) -> None:
    server, issuer = guarded
    wrong = issuer.token("ann")
    with pytest.raises(SessionEnded) as caught:
        async with connect(server.url, id="bob", token=wrong):
            pass
    assert caught.value.code == 401
    command = wsctl(
        "client", "--id", "bob", "--url", server.url, environ=environ | {"WSCTL_CLIENT_TOKEN": wrong}
    )
    words, advice = str(caught.value).rsplit("; ", 1)
    assert f"wsctl: {words}; " in command.stderr
    assert advice == "correct token="


async def test_a_token_that_expires_is_followed_by_the_next_one(
    guarded: tuple[ServerProcess, Issuer],
) -> None:
    server, issuer = guarded
    told: list[StreamEvent] = []
    expired = asyncio.Event()
    lives = iter([0.5, 60.0])

    async def token() -> str:
        return issuer.token("bob", next(lives))

    def on_event(event: StreamEvent) -> None:
        told.append(event)
        if isinstance(event, Disconnected):
            expired.set()

    async with connect(server.url, id="bob", token=token, on_event=on_event) as messages:
        reading = asyncio.ensure_future(read(messages, 1))
        async with asyncio.timeout(DEADLINE):
            await expired.wait()
        await publish(server, "on")
        assert await reading == ["on"]
    assert [event.code for event in told if isinstance(event, Disconnected)] == [4403]


async def test_a_newer_connection_of_the_same_id_ends_it_with_the_words_of_the_command(
    server: ServerProcess, environ: dict[str, str]
) -> None:
    async with connect(server.url, id="twin") as messages:
        newer = wsctl("client", "--id", "twin", "--url", server.url, "--for", "0.1", environ=environ)
        assert newer.returncode == 0
        with pytest.raises(SessionEnded, match=r"^closed: 4501 .*, not reconnecting$") as caught:
            await read(messages, 1)
    assert caught.value.code == 4501
    assert re.fullmatch(r"closed: 4501 [a-z ]+.*, not reconnecting", str(caught.value))


async def test_messages_above_the_rate_wait_and_none_is_refused(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--rate", "50/s:2")
    async with connect(server.url, id="bob") as messages:
        for number in range(6):
            await messages.publish(str(number))
        assert await read(messages, 6) == [str(number) for number in range(6)]


async def test_a_program_that_reads_too_slowly_is_cut_and_gets_everything_in_order_when_it_goes_on(
    start_server: StartServer,
) -> None:
    told: list[StreamEvent] = []
    server = start_server(*QUIET, "--max-queue", "64k")
    async with connect(server.url, id="slow", on_event=told.append) as messages:
        await publish(server, 0)
        assert await read(messages, 1) == [0]
        count = await asyncio.to_thread(publish_until_nobody_hears, server)
        got = await read(messages, count)
    assert [number for number, _ in got] == list(range(count))
    assert [event.code for event in told if isinstance(event, Disconnected)] == [1013]
    assert Lost not in kinds(told)


def publish_until_nobody_hears(server: ServerProcess) -> int:
    """How many messages it took until no client was connected any more; the last one reached nobody."""
    for number in range(2000):
        status, answer = server.api("POST", "/api/broadcast", {"data": [number, "x" * 40_000]})
        assert status == 200, answer
        if not answer["recipients"]:
            return number + 1
    raise AssertionError("the client is still connected")
