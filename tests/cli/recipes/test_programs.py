"""The examples in Python and for Node, as printed: with a real server, and with one that plays tricks."""

import json
import re
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from anyio import to_thread

from tests.conftest import StartServer, StartStore
from tests.support.cluster import publish
from tests.support.examples import PROGRAMS, Example, printed, running
from tests.support.fake_server import error_body, refusing, serving
from tests.support.linters import lint
from tests.support.programs import need
from tests.support.relay import Relay
from tests.support.server import wsctl
from tests.support.switchboard import Line, Switchboard

pytestmark = pytest.mark.anyio

TOKEN = "sesame~?>/+=" * 3
"""All that base64 and base64url spell differently is in it."""

Run = Callable[..., Example]


@pytest.fixture(params=PROGRAMS)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    """Start the example for the server at a URL."""
    with ExitStack() as stack:

        def start(url: str, *arguments: str, token: str | None = None) -> Example:
            command = PROGRAMS[request.param](tmp_path, url)
            return stack.enter_context(running(*command, *arguments, token=token))

        yield start


@pytest.fixture
async def fake() -> AsyncIterator[Switchboard]:
    async with Switchboard().running() as switchboard:
        yield switchboard


async def opened(client: Example, fake: Switchboard, times: int = 1) -> Line:
    line = await fake.line()
    await line.welcome(f"{times}-0")
    await shown(client, "* connected: load anew", times)
    return line


async def shown(client: Example, part: str, times: int = 1) -> None:
    await to_thread.run_sync(client.wait_for, part, times)


# With a real server


def test_it_says_something_and_shows_what_everybody_says(start_server: StartServer, run: Run) -> None:
    server = start_server()
    client = run(server.url, "bob", "it's me")
    client.wait_for("bob: it's me")
    for data in ("hello", {"n": 1}, "\x1b[31m", "last"):
        publish(server, data)
    client.wait_for("server: last")
    first, data, colour, last = client.messages[1:]
    assert (first, data.replace(" ", ""), last) == ("server: hello", 'server:{"n":1}', "server: last")
    assert re.fullmatch(r"server: \\(x1b|u\{1b\})\[31m", colour)
    client.interrupt()
    assert client.wait() == 0
    server.wait_for_line(r"disconnected client_id=bob .*code=1000")


async def test_a_server_that_another_one_replaces_loses_it_nothing(
    start_server: StartServer, start_store: StartStore, run: Run
) -> None:
    shared = ("--redis", start_store().url, "--reconnect-window", "0.1")
    server, successor = start_server(*shared), start_server(*shared)
    async with Relay(server.port).running() as road:
        client = run(road.url, "bob")
        await shown(client, "* connected: load anew")
        publish(server, "one")
        await shown(client, "server: one")
        road.lead_to(successor.port)
        server.signal()
        await shown(client, "* connected again, nothing was missed")
        publish(successor, "two")
        await shown(client, "server: two")
        assert await to_thread.run_sync(server.wait) == 0
    assert client.messages == ["server: one", "server: two"]


async def test_after_a_cut_it_hears_what_was_said_meanwhile(start_server: StartServer, run: Run) -> None:
    server = start_server("--broadcast-interval", "0")
    async with Relay(server.port).running() as road:
        client = run(road.url, "bob")
        await shown(client, "* connected: load anew")
        road.cut()
        publish(server, "one")
        publish(server, "two")
        road.mend()
        await shown(client, "* connected again, nothing was missed")
        publish(server, "three")
        await shown(client, "server: three")
    assert client.messages == ["server: one", "server: two", "server: three"]


def with_topics(command: list[str], *topics: str) -> list[str]:
    """The program, with topics where it says that they go."""
    file = Path(command[-1])
    text, changed = re.subn(
        r"(\bTOPICS(: list\[str\])? = )\[\]", rf"\1{json.dumps(topics)}", file.read_text()
    )
    assert changed == 1
    file.write_text(text)
    return command


@pytest.mark.parametrize("kind", PROGRAMS)
async def test_topics_are_subscribed_to_at_each_connection(
    fake: Switchboard, tmp_path: Path, kind: str
) -> None:
    command = with_topics(PROGRAMS[kind](tmp_path, fake.url), "a.>", "b+c")
    with running(*command, "bob", "hello") as client:
        line = await opened(client, fake)
        assert line.offered == "wsctl.2, wsctl"
        assert await line.command() == {"type": "publish", "data": "hello"}
        await line.send_later("ok", id="2-0")
        await line.message("3-0", "news", topic="a.b")
        await shown(client, "eve on a.b: news")
        await line.close(1012)
        again = await fake.line()
        for each in (line, again):
            assert parse_qs(urlsplit(each.path).query)["topic"] == ["a.>", "b+c"]
        assert again.since == "3-0"
        assert not any("ok" in shown for shown in client.lines)


HURRY = {
    "python": ("(ping_interval|ping_timeout)=1[05]", r"\1=1"),
    "node": ("(KEEPALIVE) = 10", r"\1 = 1"),
}
"""What makes a silent connection known in seconds, and not in 25."""


def hurried(kind: str, command: list[str]) -> list[str]:
    file = Path(command[-1])
    text, changed = re.subn(*HURRY[kind], file.read_text())
    assert changed
    file.write_text(text)
    return command


@pytest.mark.parametrize("kind", PROGRAMS)
async def test_a_road_that_stops_without_a_word_loses_nothing(
    start_server: StartServer, tmp_path: Path, kind: str
) -> None:
    server = start_server("--broadcast-interval", "0")
    async with Relay(server.port).running() as road:
        command = hurried(kind, PROGRAMS[kind](tmp_path, road.url))
        with running(*command) as client:
            await shown(client, "* connected: load anew")
            road.freeze()
            publish(server, "one")
            await shown(client, "* connected again, nothing was missed")
            await shown(client, "server: one")
    assert client.messages == ["server: one"]


def test_a_newer_connection_of_its_id_ends_it(start_server: StartServer, run: Run) -> None:
    server = start_server()
    client = run(server.url, "bob")
    client.wait_for("* connected")
    newer = run(server.url, "bob")
    assert client.wait() == 1
    assert "4501" in client.lines[-1]
    newer.wait_for("* connected")


def test_it_shows_its_token(start_server: StartServer, run: Run) -> None:
    server = start_server("--auth", "token", env={"WSCTL_CLIENT_TOKEN": TOKEN})
    run(server.url, "bob", token=TOKEN).wait_for("* connected")
    assert [client["client_id"] for client in server.status()["clients"]] == ["bob"]


def test_a_token_that_is_not_taken_ends_the_one_in_python(start_server: StartServer, tmp_path: Path) -> None:
    server = start_server("--auth", "token", env={"WSCTL_CLIENT_TOKEN": TOKEN})
    with running(*PROGRAMS["python"](tmp_path, server.url), token="another") as client:
        assert client.wait() == 1
    assert "HTTP 401" in client.lines[-1]


def test_it_is_written_to_a_file(environ: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "client.py"
    done = wsctl("generate", "python", "--port", "9000", "--output", str(file), environ=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert file.read_text() == printed("python", "http://127.0.0.1:9000")


# With one whose every word a test chooses


async def test_it_resumes_after_the_last_message_that_it_saw(fake: Switchboard, run: Run) -> None:
    client = run(fake.url)
    line = await opened(client, fake)
    assert line.since is None
    await line.message("2-0", "two")
    await line.close(1012)
    line = await fake.line()
    assert line.since == "2-0"
    await line.welcome("4-0", recovered=True)
    await line.message("3-0", "three")
    await line.close(1012)
    line = await fake.line()
    assert line.since == "3-0"
    await line.welcome("9-0", recovered=False)
    await shown(client, "* connected: load anew", 2)
    await line.close(1012)
    assert (await fake.line()).since == "9-0"
    assert client.messages == ["eve: two", "eve: three"]


@pytest.mark.parametrize("code", [1000, 1001, 1012, 1013, 4000, 4499])
async def test_it_comes_back_after_a_close(fake: Switchboard, run: Run, code: int) -> None:
    client = run(fake.url)
    line = await opened(client, fake)
    await line.close(code, "because")
    await fake.line()
    await shown(client, f"{code} because")


async def test_a_close_without_a_reason_is_told_by_its_code_alone(fake: Switchboard, run: Run) -> None:
    client = run(fake.url)
    await (await opened(client, fake)).close(4000, "")
    await fake.line()
    await shown(client, "4000")
    assert not [line for line in client.lines if re.search("4000 +[;,)]|4000 +$", line)]


@pytest.mark.parametrize("code", [4500, 4999])
async def test_it_stays_away_when_it_is_told_to(fake: Switchboard, run: Run, code: int) -> None:
    client = run(fake.url)
    line = await opened(client, fake)
    await line.close(code, "because")
    assert await to_thread.run_sync(client.wait) == 1
    assert f"{code} because" in client.lines[-1]
    assert fake.idle


async def test_it_leaves_at_the_moment_that_the_server_chose(fake: Switchboard, run: Run) -> None:
    client = run(fake.url)
    line = await opened(client, fake)
    await line.send("shutdown", deadline_s=60.0, reason="SIGTERM", reconnect_in_s=0.05)
    assert await line.ended() == 1000
    await opened(client, fake, 2)


async def test_it_stays_when_the_drain_was_cancelled(fake: Switchboard, run: Run) -> None:
    client = run(fake.url)
    line = await opened(client, fake)
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.5)
    await line.send("shutdown", deadline_s=None, reason="cancelled")
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.6)
    await line.send("shutdown", deadline_s=30.0, reason="the deadline moved")
    await shown(client, "the deadline moved")
    assert await line.ended() == 1000


async def test_a_server_that_was_degraded_is_whole_again(fake: Switchboard, run: Run) -> None:
    client = run(fake.url)
    line = await opened(client, fake)
    await line.send("error", code="degraded", message="Redis is away")
    await shown(client, "Redis is away")
    await line.welcome("5-0", recovered=True)
    await line.message("5-0", "while it was away")
    await shown(client, "eve: while it was away")
    await line.welcome("7-0", recovered=False)
    await shown(client, "* connected: load anew", 2)
    await line.close(1012)
    assert (await fake.line()).since == "7-0"


async def test_a_welcome_while_it_is_open_changes_no_plan_to_leave(fake: Switchboard, run: Run) -> None:
    line = await opened(run(fake.url), fake)
    await line.send("shutdown", deadline_s=60.0, reason="SIGTERM", reconnect_in_s=0.2)
    await line.welcome("1-0", recovered=True)
    assert await line.ended() == 1000


async def test_an_answer_that_will_not_change_is_final_in_python(tmp_path: Path) -> None:
    refuse = refusing(403, error_body("origin_not_allowed", "not from here"))
    async with serving(lambda _: _nobody(), refuse) as target:
        assert target.url
        with running(*PROGRAMS["python"](tmp_path, target.url)) as client:
            assert await to_thread.run_sync(client.wait) == 1
    assert "HTTP 403" in client.lines[-1]
    assert "not from here" in client.lines[-1]


async def _nobody() -> None:
    raise AssertionError("it was refused")


# As files


def test_the_python_example_is_clean_in_the_eyes_of_linters(tmp_path: Path) -> None:
    _, file = PROGRAMS["python"](tmp_path, "http://127.0.0.1:8000")
    assert lint(tmp_path, file) == ""


def test_the_example_for_node_is_a_script_as_well_as_a_module(tmp_path: Path) -> None:
    need("node")
    for name in ("client.cjs", "client.mjs"):
        (tmp_path / name).write_text(printed("node", "http://127.0.0.1:8000"))
        subprocess.run(["node", "--check", str(tmp_path / name)], check=True, capture_output=True)


@pytest.mark.parametrize("kind", PROGRAMS)
def test_it_is_short(kind: str) -> None:
    lines = printed(kind, "http://127.0.0.1:8000").splitlines()
    assert len(lines) <= 185
    assert not [line for line in lines if not re.fullmatch(r"[ -~]{0,110}", line)]
