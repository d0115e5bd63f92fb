"""The hooks of an application's hub, on real processes."""

import asyncio
import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.conftest import StartServer, environ_of
from tests.support.clients import join, receive
from tests.support.generations import Generations
from tests.support.hooked_application import NAME
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio

COMMANDS: dict[str, dict[str, Any]] = {
    "wsctl": {},
    "uvicorn": {
        "command": (sys.executable, "-m", "uvicorn", NAME, "--port", "0"),
        "serving": r"running on (\S+)",
    },
}


@pytest.fixture(scope="module", params=COMMANDS)
def hooked(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    """The service, for all tests here that leave it as it is."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder:
        environ = environ_of(Path(folder))
        environ |= {"WSCTL_BROADCAST_INTERVAL": "0", "WSCTL_HOOK_TIMEOUT": "0.3"}
        how = COMMANDS[request.param]
        flags = () if how else (NAME,)
        server = ServerProcess.start(*flags, environ=environ, **how)
        try:
            yield server
        finally:
            server.kill()


async def join_as(server: ServerProcess, user: str, path: str = "x") -> ClientConnection:
    return await join(f"{server.ws_url}/rooms/red", path, additional_headers={"x-user": user})


async def refusal(server: ServerProcess, **headers: str) -> tuple[int, bytes]:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{server.ws_url}/rooms/red/ws/x", proxy=None, additional_headers=headers)
    return refused.value.response.status_code, bytes(refused.value.response.body or b"")


async def test_the_application_names_the_client(hooked: ServerProcess) -> None:
    async with await join_as(hooked, "ann", "x?colour=blue") as ann:
        status, listed = await asyncio.to_thread(hooked.http, "GET", "/clients")
        assert status == 200
        assert ["ann", {"room": "red", "colour": "blue"}] in listed
        await ann.send("hi")
        frame = await receive(ann)
        assert (frame["from"], frame["data"]) == (
            "ann",
            {"text": "hi", "of": {"room": "red", "colour": "blue"}},
        )


async def test_the_application_decides_about_topics(hooked: ServerProcess) -> None:
    for topic, status, code in (("own.eve", 403, b"not_yours"), ("broken", 500, b"hook_failed")):
        with pytest.raises(InvalidStatus) as refused:
            await join_as(hooked, "ann", f"x?topic=a&topic={topic}")
        answer = refused.value.response
        assert (answer.status_code, code in bytes(answer.body or b"")) == (status, True)
    offered = [Subprotocol("wsctl.2"), Subprotocol("wsctl")]
    headers = {"x-user": "ann"}
    path = "x?topic=own.ann"
    async with await join(
        f"{hooked.ws_url}/rooms/red", path, additional_headers=headers, subprotocols=offered
    ) as ann:
        commands: list[dict[str, Any]] = [
            {"type": "subscribe", "ref": 1, "topics": ["a", "own.eve"]},
            {"type": "subscribe", "ref": 2, "topics": ["broken"]},
            {"type": "publish", "ref": 3, "topic": "own.ann", "data": "hi"},
            {"type": "unsubscribe", "ref": 4, "topics": ["own.ann"]},
        ]
        for command in commands:
            await ann.send(json.dumps(command))
        answers = [await receive(ann) for _ in range(5)]
        (message,) = [frame for frame in answers if frame["type"] == "message"]
        answers.remove(message)
        assert [(a["ref"], a.get("code")) for a in answers] == [
            (1, "not_yours"),
            (2, "hook_failed"),
            (3, None),
            (4, None),
        ]
        assert (message["topic"], message["data"]["text"]) == ("own.ann", ["own.ann", "own.ann", "hi"])


async def test_a_client_keeps_the_id_of_its_path_where_the_application_names_none(
    hooked: ServerProcess,
) -> None:
    async with await join_as(hooked, "nobody", "mine") as mine:
        await mine.send("hi")
        assert (await receive(mine))["from"] == "mine"


async def test_the_application_refuses_with_a_status_of_its_own(hooked: ServerProcess) -> None:
    status, body = await refusal(hooked)
    assert status == 401
    assert b'"sign in first"' in body
    assert b'"unauthorized"' in body


async def test_a_hook_that_fails_is_answered_with_500_and_logged_by_its_name(hooked: ServerProcess) -> None:
    status, body = await refusal(hooked, **{"x-user": "broken"})
    assert (status, b'"hook_failed"' in body) == (500, True)
    hooked.wait_for_line(r"hook tests\.support\.hooked_application\.who failed: LookupError: no such table")


async def test_a_hook_that_hangs_is_answered_with_500_and_holds_up_nobody(hooked: ServerProcess) -> None:
    hanging = asyncio.ensure_future(refusal(hooked, **{"x-user": "slow"}))
    await asyncio.to_thread(hooked.wait_for_line, "application: slow asks")
    async with await join_as(hooked, "quick") as quick:
        await quick.send("hi")
        assert (await receive(quick))["data"]["text"] == "hi"
    status, _ = await hanging
    assert status == 500
    hooked.wait_for_line("who failed: HookFailed: it took longer than 0.3 seconds")


async def test_messages_keep_their_order_and_what_fails_is_one_error_frame(hooked: ServerProcess) -> None:
    async with await join_as(hooked, "bob") as bob:
        for text in ("wait", "forbidden", "quiet", "break", "last"):
            await bob.send(text)
        frames = [await receive(bob) for _ in range(4)]
        assert [frame.get("code", frame.get("data", {})) for frame in frames] == [
            {"text": "wait", "of": {"room": "red", "colour": None}},
            "no_such_word",
            "hook_failed",
            {"text": "last", "of": {"room": "red", "colour": None}},
        ]


async def test_the_application_hears_of_a_client_that_is_gone(hooked: ServerProcess) -> None:
    async with await join_as(hooked, "leaving"):
        pass
    await asyncio.to_thread(
        hooked.wait_for_line, r"leaving is gone with 1000, \{'room': 'red', 'colour': None\}"
    )


async def test_at_the_end_of_the_server_the_application_hears_of_all(start_server: StartServer) -> None:
    server = start_server(NAME, "--broadcast-interval", "0", "--shutdown-timeout", "0.1")
    bob = await join_as(server, "bob")
    server.signal()
    await bob.wait_closed()
    await asyncio.to_thread(server.wait)
    server.wait_for_line("bob is gone with 1012")


async def test_an_identity_moves_in_an_upgrade(start_server: StartServer) -> None:
    generations = Generations(start_server(NAME, "--broadcast-interval", "0"))
    try:
        async with await join_as(generations.first, "bob", "x?colour=red") as bob:
            outcome = await asyncio.to_thread(generations.upgrade)
            assert (outcome["state"], outcome["moved"]) == ("done", 1), outcome
            await bob.send("hi")
            assert (await receive(bob))["data"]["of"] == {"room": "red", "colour": "red"}
            assert not [line for line in generations.first.lines if "is gone" in line]
    finally:
        generations.kill()
