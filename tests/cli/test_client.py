"""`wsctl client` as people and scripts run it."""

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.fake_hub import FakeHub, refused, serving_hub
from tests.support.fake_server import degraded, error_body, message, refusing, serving, shutdown, welcome
from tests.support.frames import checked
from tests.support.processes import popen, stand_in
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio

StartClient = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start_client(environ: dict[str, str]) -> Iterator[StartClient]:
    """Start `wsctl client` with an input that stays open; it does not outlive the test."""
    with ExitStack() as stack:

        def start(*flags: str) -> "subprocess.Popen[str]":
            process = popen(
                [*WSCTL, "client", *flags],
                env=environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def open_terminal(environ: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Run `wsctl client` on a terminal."""
    with ExitStack() as stack:

        def start(*flags: str) -> Terminal:
            # The emulator does not answer the question where the cursor is.
            env = environ | {"TERM": "xterm-256color", "PROMPT_TOOLKIT_NO_CPR": "1"}
            terminal = Terminal([*WSCTL, "client", *flags], env)
            stack.callback(terminal.close)
            return terminal

        yield start


def connected(server: ServerProcess, client_id: str) -> None:
    server.wait_for_line(rf" connected client_id={client_id} ")


def broadcast(server: ServerProcess, data: object) -> None:
    assert server.api("POST", "/api/broadcast", {"data": data})[0] == 200


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    return text


def data_of(stdout: str) -> list[Any]:
    found = [f for f in map(json.loads, stdout.splitlines()) if f["type"] == "message"]
    for frame in found:
        frame.pop("client", None)  # of several, whose it is: not in the server's frame
    return [checked(frame)["data"] for frame in found]


async def run(*arguments: str, environ: dict[str, str], stdin: str = "") -> Any:
    """Run `wsctl client` to its end beside a server in this process."""
    return await asyncio.to_thread(wsctl, "client", *arguments, environ=environ, stdin=stdin)


# What ends it


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--url", "foo"), "--url 'foo' is not an address: write http://HOST:PORT"),
        (("--url", "foo", "--id", "bob"), "--url 'foo' is not an address: write http://HOST:PORT"),
        (("--url", "http://127.0.0.1:1"), "a client needs a name: --id NAME"),
        (("--id", "bob", "--clients", "0"), "'--clients': '0' is not a whole number from 1 to 999999999"),
        (("--id", "bob", "--clients", "many"), "'--clients': 'many' is not a whole number from 1"),
        (("--id", "bob", "--topic", "a..b"), "'--topic': a topic has segments of letters"),
        (("--id", "bob", "--topic", "a", "--topic", ">.a"), "'--topic': > stands for all that follows"),
        (("--id", "bob", "--publish-to", "a.*"), "'--publish-to': a topic has segments of letters"),
        (("--id", "bob", "--count", "-1"), "'--count': '-1' is not a whole number from 1"),
        (("--id", "bob", "--count", "9" * 5000), "is not a whole number from 1"),
    ],
)
def test_a_wrong_value_is_told_with_what_to_write(
    flags: tuple[str, ...], says: str, environ: dict[str, str]
) -> None:
    result = wsctl("client", *flags, environ=environ)
    assert result.returncode == 2
    assert says in one_line(result.stderr)


@pytest.mark.parametrize(
    "flags",
    [
        ("--id", "../x"),
        ("--id", ""),
        ("--id", "x" * 127, "--clients", "2"),
        (),
        ("--id", "bob", "--count", "0"),
        ("--id", "bob", "--for", "soon"),
        ("--id", "bob", "--clients", "0"),
        ("--id", "bob", "--url", "nonsense"),
        ("--url", "ws://127.0.0.1:1/ws/../x"),
    ],
)
def test_a_wrong_value_is_one_line_and_exit_2(flags: tuple[str, ...], environ: dict[str, str]) -> None:
    result = wsctl("client", *flags, environ=environ)
    assert result.returncode == 2
    assert one_line(result.stderr)
    assert not result.stdout


def test_the_address_that_other_programs_are_given_is_taken(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server(env={"WSCTL_TOKEN": "t"})
    url = f"{server.ws_url}/ws/zoe"
    result = wsctl("client", "--url", url, "--json", environ=environ, stdin="hello\n")
    assert result.returncode == 0
    assert json.loads(result.stdout.splitlines()[0])["client_id"] == "zoe"
    named = wsctl("client", "--id", "bob", "--url", url, "--json", environ=environ, stdin="hello\n")
    assert json.loads(named.stdout.splitlines()[0])["client_id"] == "bob"
    token = environ | {"WSCTL_TOKEN": "t"}
    for command in (["broadcast", "x"], ["status"], ["stress", "--duration", "0.1", "--clients", "2"]):
        done = wsctl(*command, "--url", url, environ=token)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert wsctl("drain", "--no-wait", "--url", url, environ=token).returncode == 0


def test_an_untrusted_certificate_is_told_with_its_own_cure(
    start_server: StartServer, environ: dict[str, str], certificate: tuple[str, str]
) -> None:
    cert, key = certificate
    server = start_server("--ssl-certfile", cert, "--ssl-keyfile", key)
    for command in (["client", "--id", "bob"], ["stress", "--clients", "1"]):
        result = wsctl(*command, "--url", server.url, environ=environ)
        assert result.returncode == 5
        assert one_line(result.stderr).endswith("; SSL_CERT_FILE names the authority to trust\n")


def test_no_server_on_this_machine_is_exit_5(environ: dict[str, str]) -> None:
    result = wsctl("client", "--id", "bob", environ=environ)
    assert (result.returncode, result.stdout) == (5, "")
    assert "wsctl serve" in one_line(result.stderr)


@pytest.mark.parametrize("flags", [(), ("--clients", "3"), ("--json",)])
def test_no_server_at_an_address_is_exit_5_at_once(flags: tuple[str, ...], environ: dict[str, str]) -> None:
    result = wsctl("client", "--id", "bob", "--url", "http://127.0.0.1:1", *flags, environ=environ)
    assert result.returncode == 5
    assert "http://127.0.0.1:1: connection refused" in one_line(result.stderr)


@pytest.mark.parametrize(("status", "code"), [(400, 2), (401, 6), (403, 6), (404, 5)])
async def test_a_refusal_is_one_line_and_its_exit_code(
    status: int, code: int, environ: dict[str, str]
) -> None:
    async def unreached(_connection: ServerConnection) -> None:
        raise AssertionError

    body = error_body("some_code", "some \x1b[31mwords")
    async with serving(unreached, refusing(status, body)) as target:
        result = await run("--id", "bob", "--url", str(target.url), environ=environ)
        recorded = await run("--id", "bob", "--url", str(target.url), "--json", environ=environ)
    assert (result.returncode, result.stdout) == (code, "")
    assert f"HTTP {status} some \\x1b[31mwords" in one_line(result.stderr)
    refused = {"type": "refused", "status": status, "code": "some_code", "message": "some \x1b[31mwords"}
    assert json.loads(recorded.stdout) == refused
    assert recorded.returncode == code


async def test_what_is_no_wsctl_server_is_exit_5_without_a_traceback(environ: dict[str, str]) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send("\x1b[31mhello")
        await connection.wait_closed()

    async with serving(handler) as target:
        result = await run("--id", "bob", "--url", str(target.url), environ=environ)
    assert result.returncode == 5
    assert "no wsctl server" in one_line(result.stderr)


def test_a_replaced_client_says_so_and_exits_1(start_server: StartServer, start_client: StartClient) -> None:
    server = start_server()
    older = start_client("--id", "bob")
    connected(server, "bob")
    newer = start_client("--id", "bob", "--count", "1")
    _, errors = older.communicate(timeout=DEADLINE)
    assert older.returncode == 1
    assert "closed: 4501 replaced by a newer connection of this id, not reconnecting" in errors
    broadcast(server, "x")
    assert newer.wait(DEADLINE) == 0


def test_count_ends_it_after_so_many_messages(start_server: StartServer, start_client: StartClient) -> None:
    server = start_server("--broadcast-interval", "0.05")
    client = start_client("--id", "bob", "--count", "2", "--json")
    connected(server, "bob")
    for number in range(3):
        broadcast(server, number)
    out, _ = client.communicate(timeout=DEADLINE)
    assert client.returncode == 0
    assert data_of(out) == [0, 1]
    server.wait_for_line("disconnected client_id=bob .*code=1000")


def test_a_time_ends_it(start_server: StartServer, environ: dict[str, str]) -> None:
    start_server()
    result = wsctl("client", "--id", "bob", "--for", "100ms", environ=environ)
    assert (result.returncode, result.stdout) == (0, "")


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_closes_the_connection_properly(
    signum: int, code: int, start_server: StartServer, start_client: StartClient
) -> None:
    server = start_server()
    client = start_client("--id", "bob")
    connected(server, "bob")
    client.send_signal(signum)
    _, errors = client.communicate(timeout=DEADLINE)
    assert client.returncode == code
    assert "Traceback" not in errors
    server.wait_for_line("disconnected client_id=bob .*code=1000")


# What is typed


def test_each_line_of_a_pipe_is_a_message_and_comes_back_before_it_leaves(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    start_server()
    result = wsctl("client", "--id", "bob", "--json", environ=environ, stdin="a\ngrüße\n\nlast")
    assert result.returncode == 0
    assert data_of(result.stdout) == ["a", "grüße", "", "last"]


def test_at_the_end_of_lines_it_stays_when_a_count_was_given(
    start_server: StartServer, start_client: StartClient
) -> None:
    server = start_server()
    client = start_client("--id", "bob", "--count", "2", "--json")
    assert client.stdin
    assert client.stdout
    client.stdin.write("mine\n")
    client.stdin.close()
    client.stdin = None
    assert [json.loads(client.stdout.readline())["type"] for _ in range(2)] == ["welcome", "message"]
    broadcast(server, "yours")
    out, _ = client.communicate(timeout=DEADLINE)
    assert client.returncode == 0
    assert data_of(out) == ["yours"]


def test_an_empty_input_is_no_reason_to_leave(start_server: StartServer, environ: dict[str, str]) -> None:
    server = start_server()
    client = popen(
        [*WSCTL, "client", "--id", "bob"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    with client:
        connected(server, "bob")
        broadcast(server, "still here")
        assert client.stdout
        assert client.stdout.readline().endswith("server: still here\n")
        client.send_signal(signal.SIGINT)


@pytest.mark.parametrize("flags", [(), ("--publish-to", "a", "--topic", "a")])
def test_lines_on_a_pipe_keep_the_rate_of_the_server_and_all_arrive_once(
    start_server: StartServer, environ: dict[str, str], flags: tuple[str, ...]
) -> None:
    start_server("--rate", "500/s:3")
    arguments = ("--id", "bob", "--json", *flags)
    lines = [str(number) for number in range(500)]
    result = wsctl("client", *arguments, environ=environ, stdin="\n".join(lines))
    assert (result.returncode, result.stderr) == (0, "")
    assert data_of(result.stdout) == lines
    assert '"error"' not in result.stdout
    again = wsctl("client", *arguments, environ=environ, stdin="\n".join(lines[:9]))
    assert (again.returncode, data_of(again.stdout)) == (0, lines[:9])
    assert '"error"' not in again.stdout


def test_with_sse_it_is_a_stream_and_says_so(start_server: StartServer, environ: dict[str, str]) -> None:
    start_server("--rate", "500/s:3")
    lines = [f"line {number}" for number in range(20)]
    result = wsctl("client", "--id", "bob", "--sse", environ=environ, stdin="\n".join(lines))
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[0].endswith("* connected as bob by an event stream")
    assert [line.split(": ", 1)[1] for line in result.stdout.splitlines()] == lines


async def test_lines_that_are_above_a_rate_which_nobody_has_named_are_no_success_and_it_is_said(
    environ: dict[str, str],
) -> None:
    async def impatient(connection: ServerConnection) -> None:
        await connection.send(welcome())
        async for text in connection:
            await connection.send(
                message(text, "bob")
                if text == "a"
                else '{"type":"error","code":"rate_limited","message":"slower"}'
            )

    async with serving(impatient) as target:
        result = await run("--id", "bob", "--url", target.name, environ=environ, stdin="a\nb\nb\n")
    assert result.returncode == 1
    told = "wsctl: 2 of 3 messages did not come back: 2 above the rate"
    assert result.stderr.splitlines()[-1].startswith(told)


def test_lines_that_a_server_does_not_take_are_no_success_and_it_is_said_why(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    start_server("--max-message-size", "100")
    for flags in ((), ("--for", "3s")):
        result = wsctl("client", "--id", "eve", *flags, environ=environ, stdin="small\n" + "x" * 101 + "\n")
        assert result.returncode == 1, flags
        assert result.stdout.count("small") == 1
        assert "1 of 2 messages did not come back: 1 on a connection that was closed: 1009" in result.stderr


async def test_topics_are_subscribed_to_and_shown(environ: dict[str, str]) -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target:
        arguments = ("--id", "bob", "--url", target.name, "--topic", "a.>", "--topic", "b")
        shown = asyncio.create_task(run(*arguments, "--publish-to", "a.b", environ=environ, stdin="hello\n"))
        result = await shown
    assert result.returncode == 0, result.stderr
    assert hub.queries == [[("topic", "a.>"), ("topic", "b")]]
    assert hub.commands == [{"type": "publish", "data": "hello", "topic": "a.b"}]
    assert result.stdout.split(" ", 1)[1] == "bob on a.b: hello\n"
    assert "error" not in result.stderr


async def test_as_json_the_topic_is_in_the_frame_and_the_answers_are_there(environ: dict[str, str]) -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target:
        arguments = ("--id", "bob", "--url", target.name, "--topic", "a", "--json")
        result = await run(*arguments, environ=environ, stdin="hello\nagain\n")
    welcomed, echo, answer, *_ = map(json.loads, result.stdout.splitlines())
    assert (welcomed["type"], echo["data"], answer["type"]) == ("welcome", "hello", "ok")
    assert [command["data"] for command in hub.commands] == ["hello", "again"]


async def test_what_is_sent_to_a_topic_of_others_need_not_come_back(environ: dict[str, str]) -> None:
    hub = FakeHub()
    async with serving_hub(hub) as target:
        arguments = ("--id", "ann", "--url", target.name, "--publish-to", "a.b")
        result = await run(*arguments, environ=environ, stdin="1\n2\n")
    assert result.returncode == 0, result.stderr
    assert [command["data"] for command in hub.commands] == ["1", "2"]


async def test_a_topic_that_is_not_permitted_is_told_with_each_line(environ: dict[str, str]) -> None:
    async with serving_hub(FakeHub(refused("topic_not_allowed", "you may not"))) as target:
        arguments = ("--id", "bob", "--url", target.name, "--publish-to", "a.b")
        result = await run(*arguments, environ=environ, stdin="1\n2\n")
    assert result.returncode == 1
    assert result.stderr.count("error: you may not (topic_not_allowed)") == 2
    assert result.stderr.endswith(
        "wsctl: 2 of 2 messages did not come back: "
        "2 to a topic that this client may not publish to (topic_not_allowed)\n"
    )


@pytest.mark.parametrize("flags", [("--topic", "a"), ("--publish-to", "a")])
async def test_a_server_without_topics_is_told_as_such(
    flags: tuple[str, ...], environ: dict[str, str]
) -> None:
    async with serving_hub(FakeHub(), "wsctl") as target:
        result = await run("--id", "bob", "--url", target.name, *flags, environ=environ, stdin="x\n")
    assert result.returncode in (1, 5)
    assert f"{'server' if flags[0] == '--publish-to' else target.name} knows no topics" in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_gap_names_the_topics_that_are_lost(environ: dict[str, str]) -> None:
    hub = FakeHub(lambda command: None, {}, {"recovered": False, "lost": ["a.b", "c"]})
    async with serving_hub(hub) as target:
        arguments = ("--id", "bob", "--url", target.name, "--topic", "a.*", "--topic", "c", "--count", "2")
        showing = asyncio.create_task(run(*arguments, environ=environ))
        for number in range(2):
            async with asyncio.timeout(DEADLINE):
                while len(hub.queries) == number:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await hub.publish("x", "c")
            if number == 0:
                await hub.cut()
        result = await showing
    assert result.returncode == 0, result.stderr
    assert "connected as bob; some messages of a.b, c were missed: the server's history" in result.stderr


async def test_lines_that_do_not_come_back_are_counted(environ: dict[str, str]) -> None:
    async def deaf(connection: ServerConnection) -> None:
        await connection.send(welcome())
        await connection.recv()
        await connection.send(message("one", "bob"))
        await connection.wait_closed()

    async with serving(deaf) as target:
        url = str(target.url)
        result = await run("--id", "bob", "--url", url, environ=environ, stdin="one\ntwo\nthree\n")
    assert result.returncode == 1
    assert one_line(result.stderr.partition("\n")[2]) == (
        "wsctl: 2 of 3 messages did not come back: 2 without an answer\n"
    )


@pytest.mark.parametrize("flags", [(), ("--count", "9"), ("--for", "1h")])
async def test_a_line_whose_server_went_away_is_no_success(
    flags: tuple[str, ...], environ: dict[str, str]
) -> None:
    heard = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        await connection.recv()
        connection.transport.abort()
        heard.set()

    async with serving(handler) as target:
        process = await asyncio.create_subprocess_exec(
            *(*stand_in(), "client", "--id", "bob", "--url", str(target.url), *flags),
            env=environ,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin
        process.stdin.write(b"lost\n")
        async with asyncio.timeout(DEADLINE):
            await heard.wait()
    async with asyncio.timeout(DEADLINE):
        if flags:  # it stays, until somebody ends it
            assert process.stderr
            while b"1006" not in await process.stderr.readline():
                pass
            process.send_signal(signal.SIGTERM)
        _, errors = await process.communicate(b"")
    assert process.returncode == 1
    told = b"1 of 1 message did not come back: 1 on a connection that was closed: 1006"
    assert told in errors.splitlines()[-1]


async def test_a_line_that_was_under_way_comes_back_behind_the_next_welcome(environ: dict[str, str]) -> None:
    calls = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        await connection.send(welcome(recovered=True))
        if calls == 1:
            await connection.recv()
            await connection.close(1012, "restart")
            return
        await connection.send(message("kept", "bob"))
        await connection.wait_closed()

    async with serving(handler) as target:
        result = await run("--id", "bob", "--url", str(target.url), environ=environ, stdin="kept\n")
    assert (result.returncode, result.stdout.endswith("bob: kept\n")) == (0, True)


def test_a_message_that_is_not_taken_is_said_on_stderr(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    start_server("--no-client-publish")
    result = wsctl("client", "--id", "bob", environ=environ, stdin="hello\n")
    assert (result.returncode, result.stdout) == (1, "")
    assert "(publish_disabled)" in result.stderr


async def test_a_line_waits_for_the_connection(environ: dict[str, str]) -> None:
    heard: list[str | bytes] = []
    calls = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            await connection.close(1001, "draining")
            return
        await connection.send(welcome())
        heard.append(await connection.recv())
        await connection.send(message(heard[-1], "bob"))
        await connection.wait_closed()

    async with serving(handler) as target:
        result = await run("--id", "bob", "--url", str(target.url), environ=environ, stdin="patience\n")
    assert result.returncode == 0
    assert heard == ["patience"]
    assert result.stdout.endswith("bob: patience\n")


# What is shown


async def test_it_comes_back_after_a_close_and_says_what_happens(environ: dict[str, str]) -> None:
    calls = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        await connection.send(welcome(recovered=True))
        if calls == 1:
            await connection.close(1012, "the server is restarting")
            return
        await connection.send(message("back"))
        await connection.wait_closed()

    async with serving(handler) as target:
        plain = await run("--id", "bob", "--url", str(target.url), "--count", "1", environ=environ)
        calls = 0
        flags = ("--id", "bob", "--url", str(target.url), "--count", "1", "--json")
        recorded = await run(*flags, environ=environ)
    assert (plain.returncode, recorded.returncode) == (0, 0)
    assert plain.stdout.endswith("eve: back\n")
    states = [line.partition(" * ")[2] for line in plain.stderr.splitlines()]
    assert [states[0], states[1], states[3]] == [
        "connected as bob",
        "closed: 1012 the server is restarting",
        "connected as bob",
    ]
    assert states[2].startswith("retrying in ")
    objects = [json.loads(line) for line in recorded.stdout.splitlines()]
    assert [o["type"] for o in objects] == ["welcome", "closed", "waiting", "welcome", "message"]
    assert objects[1] == {"type": "closed", "code": 1012, "reason": "the server is restarting"}


async def test_it_leaves_when_the_server_asks_for_it_and_comes_back_at_once(environ: dict[str, str]) -> None:
    calls = 0

    async def handler(connection: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        await connection.send(welcome(recovered=True))
        await connection.send(message("back") if calls > 1 else shutdown(reconnect_in_s=0.01))
        await connection.wait_closed()

    async with serving(handler) as target:
        result = await run("--id", "bob", "--url", str(target.url), "--count", "1", environ=environ)
    assert result.returncode == 0
    assert [line.partition(" * ")[2] for line in result.stderr.splitlines()] == [
        "connected as bob",
        "server is draining, 1:00 left (SIGTERM); reconnecting in 0:01",
        "left as the server asked, reconnecting",
        "connected as bob",
    ]


async def test_a_server_that_is_degraded_for_a_while_is_told_as_it_goes(environ: dict[str, str]) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome(recovered=True))
        for recovered in (True, False):
            await connection.send(degraded("messages are not shared: Redis is away"))
            await connection.send(welcome(recovered=recovered))
        await connection.send(message("back"))
        await connection.wait_closed()

    async with serving(handler) as target:
        result = await run("--id", "bob", "--url", str(target.url), "--count", "1", environ=environ)
    assert (result.returncode, result.stdout.partition(" ")[2]) == (0, "eve: back\n")
    assert [line.partition(" * ")[2] for line in result.stderr.splitlines()] == [
        "connected as bob",
        "degraded: messages are not shared: Redis is away",
        "back: nothing missed",
        "degraded: messages are not shared: Redis is away",
        "back: messages were lost",
    ]


async def test_the_word_that_a_server_is_degraded_answers_no_line_but_its_refusal_does(
    environ: dict[str, str],
) -> None:
    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        await connection.recv()
        await connection.send(degraded())
        if refuses:
            await connection.send(degraded("this one was not sent"))
        else:
            await connection.send(welcome(recovered=True))
            await connection.send(message("hello", "bob"))
        await connection.wait_closed()

    async with serving(handler) as target:
        for refuses, code in ((False, 0), (True, 1)):
            result = await run("--id", "bob", "--url", str(target.url), environ=environ, stdin="hello\n")
            assert result.returncode == code
            assert ("error: this one was not sent (degraded)" in result.stderr) == refuses


async def test_once_connected_a_lost_server_is_waited_for(environ: dict[str, str]) -> None:
    gone = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        gone.set()

    async with serving(handler) as target:
        process = await asyncio.create_subprocess_exec(
            *(*stand_in(), "client", "--id", "bob", "--url", str(target.url)),
            env=environ,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(DEADLINE):
            await gone.wait()
    assert process.stderr
    async with asyncio.timeout(DEADLINE):
        while b"connection refused; retrying in" not in await process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130


def test_several_clients_each_get_their_count_and_are_named(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    start_server()
    flags = ("--id", "bob", "--clients", "3", "--count", "2", "--json")
    result = wsctl("client", *flags, environ=environ, stdin="a\nb\n")
    assert result.returncode == 0
    frames = [json.loads(line) for line in result.stdout.splitlines()]
    names = ["bob-1", "bob-2", "bob-3"]
    assert sorted(f["client_id"] for f in frames if f["type"] == "welcome") == names
    for name in names:
        mine = [f for f in frames if f["type"] == "message" and f["client"] == name]
        assert [(f["from"], f["data"]) for f in mine] == [("bob-1", "a"), ("bob-1", "b")]


async def test_a_line_waits_until_every_client_is_there_to_hear_it(environ: dict[str, str]) -> None:
    order: list[str | bytes] = []
    first = asyncio.Event()

    async def hear(connection: ServerConnection) -> None:
        order.append(await connection.recv())

    async def handler(connection: ServerConnection) -> None:
        assert connection.request
        if connection.request.path.endswith("bob-2"):
            await first.wait()
            order.append("bob-2 is welcomed")
            await connection.send(welcome())
            await connection.wait_closed()
            return
        await connection.send(welcome())
        hearing = asyncio.ensure_future(hear(connection))
        for _ in range(20):  # time for a line to come too early
            await (await connection.ping())
        first.set()
        await hearing
        await connection.send(message("x", "bob-1"))
        await connection.wait_closed()

    async with serving(handler) as target:
        url = str(target.url)
        result = await run("--id", "bob", "--url", url, "--clients", "2", environ=environ, stdin="line\n")
    assert result.returncode == 0
    assert order == ["bob-2 is welcomed", "line"]


async def test_a_client_that_has_its_count_shows_no_more_while_others_wait(environ: dict[str, str]) -> None:
    ahead = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        assert connection.request
        if connection.request.path.endswith("bob-1"):
            for number in range(3):
                await connection.send(message(number))
            await (await connection.ping())
            ahead.set()
        else:
            await ahead.wait()
            await connection.send(message(0))
        await connection.wait_closed()

    async with serving(handler) as target:
        flags = ("--clients", "2", "--count", "1", "--json")
        result = await run("--id", "bob", "--url", str(target.url), *flags, environ=environ)
    assert result.returncode == 0
    assert data_of(result.stdout) == [0, 0]


async def test_several_clients_that_lose_their_server_are_told_of_once(environ: dict[str, str]) -> None:
    connected = 0
    all_there = asyncio.Event()

    async def handler(connection: ServerConnection) -> None:
        nonlocal connected
        await connection.send(welcome(recovered=True))
        connected += 1
        if connected == 3:
            all_there.set()
        await all_there.wait()
        if connected <= 3:
            await connection.close(1012, "restart")
            return
        await connection.send(message("back"))
        await connection.wait_closed()

    async with serving(handler) as target:
        flags = ("--id", "bob", "--clients", "3", "--count", "1")
        result = await run(*flags, "--url", str(target.url), environ=environ)
    assert result.returncode == 0
    assert result.stderr.count("[3 of 3 clients] closed: 1012 restart") == 1
    assert len(result.stderr.splitlines()) < 3 * 4


def test_a_drain_is_told_and_messages_go_on(start_server: StartServer, start_client: StartClient) -> None:
    server = start_server()
    client = start_client("--id", "bob", "--count", "1")
    connected(server, "bob")
    server.signal()
    server.wait_for_line("draining")
    broadcast(server, "one more")
    out, errors = client.communicate(timeout=DEADLINE)
    assert out.endswith("server: one more\n")
    assert "server is draining, 30:00 left (SIGTERM)" in errors
    assert server.wait() == 0


@pytest.mark.parametrize("flags", [(), ("--json",)])
def test_no_escape_sequence_of_others_gets_through(
    flags: tuple[str, ...], start_server: StartServer, start_client: StartClient
) -> None:
    server = start_server()
    client = start_client("--id", "bob", "--count", "2", *flags)
    connected(server, "bob")
    broadcast(server, "\x1b]0;title\a\x9b2J\r\n")
    broadcast(server, {"\x1b": "\x9b"})
    out, errors = client.communicate(timeout=DEADLINE)
    assert client.returncode == 0
    assert all(line.isprintable() for line in (out + errors).splitlines())
    assert not {"\x1b", "\x9b", "\r", "\a"} & set(out + errors)


def test_help_imports_neither_the_network_nor_the_prompt() -> None:
    code = (
        "import sys; from wsctl.cli.app import run; run(['client', '--help']);"
        "print(sorted({'websockets', 'asyncio', 'prompt_toolkit', 'rich'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Ctrl-D" in result.stdout
    assert result.stdout.splitlines()[-1] == "[]"


# On a terminal


async def test_a_message_that_arrives_leaves_what_is_being_typed(
    start_server: StartServer, open_terminal: Callable[..., Terminal]
) -> None:
    server = start_server()
    eve = await join(server.ws_url, "eve")
    terminal = open_terminal("--id", "bob")
    terminal.wait_for("connected as bob")
    terminal.type("half a")
    terminal.wait_for("bob> half a")
    broadcast(server, "meanwhile")
    lines = terminal.wait_for("server: meanwhile").splitlines()
    terminal.wait_for(lambda text: text.splitlines()[-1] == "bob> half a")
    assert any(line.endswith("server: meanwhile") for line in lines)
    terminal.type(" line\r")
    terminal.wait_for("bob: half a line")
    terminal.type("\x1b[A")
    terminal.wait_for(lambda text: text.splitlines()[-1] == "bob> half a line")
    await receive_type(eve, "message")
    assert (await receive_type(eve, "message"))["data"] == "half a line"
    await eve.close()


def test_control_d_leaves_cleanly(start_server: StartServer, open_terminal: Callable[..., Terminal]) -> None:
    server = start_server()
    terminal = open_terminal("--id", "bob")
    terminal.wait_for("connected as bob")
    terminal.type("\x04")
    assert terminal.wait() == 0
    server.wait_for_line("disconnected client_id=bob .*code=1000")


def test_no_key_is_changed_while_a_message_is_printed_above_the_prompt(
    start_server: StartServer, open_terminal: Callable[..., Terminal]
) -> None:
    server = start_server()
    terminal = open_terminal("--id", "bob")
    terminal.wait_for("connected as bob")
    with ThreadPoolExecutor(1) as backend:
        done = backend.submit(lambda: [broadcast(server, f"number {number}.") for number in range(300)])
        while not done.done():
            assert not terminal.reads_lines  # Ctrl-D, pressed in such a moment, would become a NUL
    terminal.wait_for("number 299.")
    terminal.type("\x04")
    assert terminal.wait() == 0
    assert terminal.reads_lines


def test_control_c_clears_the_line_and_leaves_when_it_is_empty(
    start_server: StartServer, open_terminal: Callable[..., Terminal]
) -> None:
    server = start_server()
    terminal = open_terminal("--id", "bob")
    terminal.wait_for("connected as bob")
    terminal.type("never sent")
    terminal.wait_for("bob> never sent")
    terminal.type("\x03")
    terminal.wait_for(lambda text: text.splitlines()[-1] == "bob>")
    terminal.type("\x03")
    assert terminal.wait() == 0
    server.wait_for_line("disconnected client_id=bob .*code=1000")


def test_what_cannot_be_sent_stays_in_the_line(
    start_server: StartServer, open_terminal: Callable[..., Terminal]
) -> None:
    server = start_server()
    terminal = open_terminal("--id", "bob")
    terminal.wait_for("connected as bob")
    server.kill()
    terminal.wait_for("Enter tries now; cannot connect to")
    terminal.wait_for("connection refused (")  # it has tried again, in the same line
    assert terminal.text.count("connection refused") == 1
    terminal.type("precious\r")
    terminal.wait_for("not sent: there is no connection")
    terminal.wait_for(lambda text: text.splitlines()[-1] == "bob> precious")
    terminal.type("\x03\x03")
    assert terminal.wait() == 0


async def test_enter_tries_now(open_terminal: Callable[..., Terminal]) -> None:
    attempts = 0

    async def handler(connection: ServerConnection) -> None:
        await connection.send(welcome())
        if attempts == 1:
            await connection.close(1012, "restart")
        await connection.wait_closed()

    def answer(connection: ServerConnection, request: Request) -> Response | None:
        nonlocal attempts
        attempts += 1
        return refusing(503, retry_after="3600")(connection, request) if attempts == 2 else None

    async with serving(handler, answer) as target:
        terminal = open_terminal("--id", "bob", "--url", str(target.url))
        told = "Enter tries now; refused: HTTP 503 Service Unavailable"
        await asyncio.to_thread(terminal.wait_for, told)
        terminal.type("\r")
        await asyncio.to_thread(terminal.wait_for, lambda text: text.count("connected as bob") == 2)
        assert told not in terminal.text
    assert attempts == 3


def test_what_is_typed_goes_over_an_event_stream_too(
    start_server: StartServer, open_terminal: Callable[..., Terminal]
) -> None:
    start_server()
    terminal = open_terminal("--id", "bob", "--sse")
    terminal.wait_for("connected as bob by an event stream")
    terminal.type("hello\r")
    terminal.wait_for("bob: hello")


def test_no_escape_sequence_of_others_reaches_the_terminal(
    start_server: StartServer, open_terminal: Callable[..., Terminal]
) -> None:
    server = start_server()
    terminal = open_terminal("--id", "bob")
    terminal.wait_for("connected as bob")
    broadcast(server, "\x1b]0;stolen title\a")
    terminal.wait_for(r"server: \x1b]0;stolen title\x07")
    assert b"\x1b]0;stolen" not in terminal.raw


def test_an_unreachable_server_leaves_the_terminal_with_one_line(
    open_terminal: Callable[..., Terminal],
) -> None:
    terminal = open_terminal("--id", "bob", "--url", "http://127.0.0.1:1")
    assert terminal.wait() == 5
    assert "connection refused" in terminal.text
    assert "bob>" not in terminal.text
