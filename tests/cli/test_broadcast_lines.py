"""`wsctl broadcast --lines`, as a process."""

import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from websockets.asyncio.client import connect

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.generations import Generations, starting_generations
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.store import wait_until
from wsctl.client.lines import PATIENCE

pytestmark = pytest.mark.anyio


async def broadcast(server: ServerProcess, *arguments: str, stdin: str = "") -> Any:
    call = partial(wsctl, "broadcast", *arguments, environ=server.environ, stdin=stdin)
    return await to_thread.run_sync(call)


async def test_each_line_is_a_text_for_those_that_are_named(server: ServerProcess, tmp_path: Path) -> None:
    bob = await join(server.ws_url, "lines-bob?topic=lines.a")
    file = tmp_path / "lines"
    file.write_text("one\r\n\ntwo")
    sent = await broadcast(server, "--lines", str(file), "--topic", "lines.a", "--to", "lines-bob")
    frames = [await receive_type(bob, "message") for _ in range(2)]
    assert [frame["data"] for frame in frames] == ["one", "two"]
    assert sent.stdout == "".join(f"{frame['id']}  1 client\n" for frame in frames)
    assert sent.stderr.splitlines() == [
        "wsctl: line 2 was refused: it is empty: with --allow-empty it is sent all the same",
        "wsctl: 1 of 3 lines were refused: 2",
    ]
    assert sent.returncode == 1
    await bob.close()


async def test_with_json_each_line_is_a_message_and_each_answer_an_object(server: ServerProcess) -> None:
    bob = await join(server.ws_url, "lines-bob?topic=lines.b")
    given = [
        {"data": [1], "topic": "lines.b", "key": "k"},
        {"data": 2, "topic": "no topic"},
        {"data": 1, "key": "k"},
    ]
    stdin = "".join(json.dumps(each) + "\n" for each in given) + "{\n"
    sent = await broadcast(server, "--lines", "-", "--json", stdin=stdin)
    answers = [json.loads(line) for line in sent.stdout.splitlines()]
    assert (answers[0]["recipients"], answers[2]["repeated"]) == (1, True)
    assert [answer["error"]["code"] for answer in answers[1::2]] == ["bad_topic", "bad_request"]
    assert sent.stderr.splitlines()[-1] == "wsctl: 2 of 4 lines were refused: 2, 4"
    assert sent.returncode == 1
    assert (await receive_type(bob, "message"))["data"] == [1]
    await bob.close()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["x", "--lines", "-"], "--lines and MESSAGE: give one of them"),
        (["--lines", "-", "--show-to", "--to", "bob"], "--lines and --show-to: give one of them"),
        (["--lines", "-", "--json", "--topic", "a"], "--lines with --json: each line has its own topic"),
        (["--lines", "hello"], "--lines: cannot read hello: No such file or directory; name a file, or give"),
        (["--lines", "/"], "--lines: / is a folder: name a file, or give --lines - to read stdin"),
        ([], "MESSAGE is missing: write the text, or - to read it from stdin, or give --lines"),
    ],
)
async def test_what_does_not_fit_together_is_a_usage_error(
    server: ServerProcess, arguments: list[str], error: str
) -> None:
    done = await broadcast(server, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"wsctl: {error}")


async def test_a_wrong_address_is_told_at_once(server: ServerProcess) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        began = time.monotonic()
        sent = await broadcast(server, "--lines", "-", "--url", url, stdin="hello\n")
        took = time.monotonic() - began
    assert (sent.returncode, sent.stdout) == (5, "")
    assert sent.stderr == f"wsctl: nothing listens at {url}: start a server with 'wsctl serve'\n"
    assert took < PATIENCE / 2


async def test_the_token_of_publishers_is_enough(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_PUBLISH_TOKEN": "pub"})
    environ = {**server.environ, "WSCTL_PUBLISH_TOKEN": "pub", "WSCTL_URL": server.url}
    call = partial(wsctl, environ=environ)
    assert (await to_thread.run_sync(partial(call, "broadcast", "one"))).returncode == 0
    assert (
        await to_thread.run_sync(partial(call, "broadcast", "--lines", "-", stdin="two\n"))
    ).returncode == 0
    assert (await to_thread.run_sync(partial(call, "status"))).returncode == 6


class Lines:
    """A command that publishes the lines that it is given, the numbers from 0 on."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        command = [*WSCTL, "broadcast", "--lines", "-"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, env=environ, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        self.sent = 0

    def say(self) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{self.sent}\n")
        self._process.stdin.flush()
        self.sent += 1

    def finish(self) -> list[str]:
        """The ids in its receipts."""
        told, errors = self._process.communicate(timeout=DEADLINE)
        assert self._process.returncode == 0, errors
        return [line.split()[0] for line in told.splitlines()]


@pytest.fixture
def start(start_server: StartServer) -> Iterator[Callable[..., Generations]]:
    with starting_generations(start_server) as begin:
        yield begin


async def test_no_line_is_lost_or_published_twice_over_an_upgrade_and_a_drain(
    start: Callable[..., Generations],
) -> None:
    server = start()
    bob, lines = await join(server.first.ws_url, "bob"), Lines(server.first.environ)

    async def say(count: int) -> None:
        for n in range(lines.sent, lines.sent + count):
            lines.say()
            assert (await receive_type(bob, "message"))["data"] == str(n)

    await say(5)
    upgrading = server.begin_upgrade()
    await say(20)
    outcome = await to_thread.run_sync(upgrading.outcome)
    assert outcome["state"] == "done"
    await say(5)
    await to_thread.run_sync(server.wait_until_serving, outcome["successor"])
    server.api("POST", "/api/drain", {"timeout": 60})
    await say(5)
    ids = await to_thread.run_sync(lines.finish)
    assert len(set(ids)) == len(ids) == lines.sent
    await bob.close()


async def test_no_line_is_lost_or_published_twice_over_a_kill_where_there_is_a_journal(
    start_server: StartServer, tmp_path: Path
) -> None:
    journal = ("--journal", str(tmp_path / "journal"), "--broadcast-interval", "0")
    first = start_server(*journal)
    begin = (await to_thread.run_sync(first.status))["newest_id"]
    lines = Lines(first.environ)
    for _ in range(200):
        lines.say()
    wait_until(lambda: first.status()["messages"]["published"], lambda: "nothing is published")
    first.kill()
    for _ in range(50):
        lines.say()
    again = start_server(*journal)
    ids = await to_thread.run_sync(lines.finish)
    assert len(set(ids)) == len(ids) == lines.sent
    async with connect(f"{again.ws_url}/ws/bob?since={begin}", proxy=None) as bob:
        heard = [await receive_type(bob, "message") for _ in ids]
    assert [message["data"] for message in heard] == [str(n) for n in range(lines.sent)]
    assert [message["id"] for message in heard] == ids
    assert again.status()["newest_id"] == ids[-1]
