"""`wsctl broadcast`, as a process."""

import json
import re
import subprocess
from functools import partial
from typing import Any

import pytest
from anyio import to_thread

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.fake_control import fake_at_a_url
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl

pytestmark = pytest.mark.anyio


async def broadcast(server: ServerProcess, *arguments: str, stdin: str = "") -> Any:
    call = partial(wsctl, "broadcast", *arguments, environ=server.environ, stdin=stdin)
    return await to_thread.run_sync(call)


async def test_a_message_reaches_everyone_and_its_id_and_count_are_printed(start_server: StartServer) -> None:
    server = start_server()
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    sent = await broadcast(server, "hello [red]there[/red]")
    assert (sent.returncode, sent.stderr) == (0, "")
    frames = [await receive_type(client, "message") for client in (bob, eve)]
    assert [f["data"] for f in frames] == ["hello [red]there[/red]"] * 2
    assert sent.stdout == f"{frames[0]['id']}  2 clients\n"
    await bob.close()
    await eve.close()


async def test_a_message_to_some_reaches_nobody_else(start_server: StartServer) -> None:
    server = start_server()
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    sent = await broadcast(server, "psst", "--to", "bob", "--to", "nobody")
    assert re.fullmatch(r"\S+  1 client\n", sent.stdout)
    assert sent.returncode == 1
    assert "1 of 2 clients of --to are not connected" in sent.stderr
    assert (await broadcast(server, "psst", "--to", "bob", "--to", "bob")).returncode == 0
    assert (await broadcast(server, "all")).returncode == 0
    assert (await receive_type(bob, "message"))["to"] == ["bob"]
    assert (await receive_type(eve, "message"))["data"] == "all"
    await bob.close()
    await eve.close()


@pytest.mark.parametrize(
    ("arguments", "stdin", "data"),
    [
        (["-"], "two\nlines \u00fc\n\n", "two\nlines \u00fc\n"),
        (["-"], "no newline", "no newline"),
        (["-"], "dos\r\n", "dos"),
        (["-", "--parse"], '{"a": [1, null]}\n', {"a": [1, None]}),
        (["--parse", "12"], "", 12),
        (["12"], "", "12"),
        (["", "--allow-empty"], "", ""),
        (["--", "--not-a-flag"], "", "--not-a-flag"),
    ],
)
async def test_what_is_given_is_what_arrives(
    start_server: StartServer, arguments: list[str], stdin: str, data: object
) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    sent = await broadcast(server, *arguments, stdin=stdin)
    assert (sent.returncode, sent.stderr) == (0, "")
    assert (await receive_type(bob, "message"))["data"] == data
    await bob.close()


async def test_a_message_to_a_topic_is_not_for_those_who_do_not_subscribe(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0")
    bob = await join(server.ws_url, "bob")
    sent = await broadcast(server, "quiet", "--topic", "a.b")
    assert re.fullmatch(r"\S+  0 clients\n", sent.stdout)
    assert sent.returncode == 0
    addressed = await broadcast(server, "quiet", "--topic", "a.b", "--to", "bob")
    assert addressed.returncode == 1
    assert "1 of 1 clients of --to are not connected and subscribed to a.b" in addressed.stderr
    assert (await broadcast(server, "all")).returncode == 0
    assert (await receive_type(bob, "message"))["data"] == "all"
    await bob.close()


def test_a_server_of_the_release_before_is_said_to_know_no_topics(environ: dict[str, str]) -> None:
    with fake_at_a_url() as (fake, url):
        fake.refusal = (400, "topic: Extra inputs are not permitted")
        failed = wsctl("broadcast", "x", "--topic", "a", "--url", url, environ=environ | {"WSCTL_TOKEN": "t"})
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"wsctl: {url} knows no topics: it is of a release before them\n"


def test_a_topic_is_checked_before_anything_is_sent(environ: dict[str, str]) -> None:
    for topic in ("a.*", "a..b", ""):
        wrong = wsctl("broadcast", "x", "--topic", topic, environ=environ)
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("wsctl: Invalid value for '--topic': a topic has segments")


async def test_json_is_one_object(start_server: StartServer) -> None:
    sent = await broadcast(start_server(), "hello", "--json")
    answer = json.loads(sent.stdout)
    assert answer["recipients"] == 0
    assert set(answer) == {"id", "recipients"}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["hello", "--to", "_bob"], "Invalid value for '--to': a client id has letters"),
        (["hello", "--to", ""], "a client id has 1 to 128 characters"),
        (["--parse", "{"], "--parse: MESSAGE is not JSON"),
        (["--parse", "[NaN]"], "NaN is no JSON number"),
        (["--parse", "[" * 100_000], "--parse: MESSAGE is not JSON"),
        ([], "MESSAGE is missing: write the text, or - to read it from stdin, or give --lines"),
        (["hello", "--url", "nowhere"], "'nowhere' is not an address"),
        (["hello", "--port", "many"], "'many' is not a port"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(
    environ: dict[str, str], arguments: list[str], text: str
) -> None:
    failed = wsctl("broadcast", *arguments, environ=environ)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert text in failed.stderr
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [[""], ["-"], ["--parse", '""']])
def test_an_empty_message_is_refused(arguments: list[str], environ: dict[str, str]) -> None:
    refused = wsctl("broadcast", *arguments, environ=environ, stdin="\n")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "--allow-empty" in refused.stderr


def test_a_message_that_is_not_utf8_is_refused(environ: dict[str, str]) -> None:
    for arguments, stdin in ([b"-"], b"a\xff"), ([b"a\xff"], b""):
        failed = subprocess.run(
            [*WSCTL, "broadcast", *arguments],
            env=environ | {"PYTHONUTF8": "1"},
            input=stdin,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
        )
        assert failed.returncode == 2
        assert b"is not UTF-8" in failed.stderr
        assert failed.stderr.count(b"\n") == 1


def test_a_message_too_big_is_refused_with_the_limit(start_server: StartServer) -> None:
    failed = wsctl("broadcast", "-", environ=start_server().environ, stdin="x" * 3_000_000)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert re.fullmatch(r"wsctl: a body may have \d+ bytes\n", failed.stderr)


def test_without_a_server_it_says_how_to_start_one(environ: dict[str, str]) -> None:
    failed = wsctl("broadcast", "hello", environ=environ)
    assert (failed.returncode, failed.stdout) == (5, "")
    assert failed.stderr.startswith("wsctl: no server runs here: start one with 'wsctl serve'")


def test_two_servers_need_a_choice_and_the_port_is_one(start_server: StartServer) -> None:
    first, second = start_server(), start_server()
    failed = wsctl("broadcast", "hello", environ=first.environ)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert f"{first.url} pid {first.pid}" in failed.stderr
    assert f"{second.url} pid {second.pid}" in failed.stderr
    assert failed.stderr.count("\n") == 1
    assert wsctl("broadcast", "hello", "--port", str(second.port), environ=first.environ).returncode == 0
    assert (first.status()["messages"]["published"], second.status()["messages"]["published"]) == (0, 1)


def test_a_server_elsewhere_wants_its_token(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_TOKEN": "right"})
    elsewhere = {k: v for k, v in server.environ.items() if k != "WSCTL_TOKEN"}
    for token, text in {"": "wants its token", "wrong": "has another token"}.items():
        env = elsewhere | ({"WSCTL_TOKEN": token} if token else {})
        failed = wsctl("broadcast", "hello", "--url", server.url, environ=env)
        assert (failed.returncode, failed.stdout) == (6, "")
        assert text in failed.stderr
    assert wsctl("broadcast", "hello", "--url", server.url, environ=server.environ).returncode == 0


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("unconfirmed", 1, "{url} does not know whether it was published: Redis is away"),
        ("degraded", 1, "{url} is degraded and did not publish it: Redis is away; try again later"),
        ("closing", 6, "{url} refuses: Redis is away"),
    ],
)
def test_a_server_that_does_not_publish_is_one_line(
    environ: dict[str, str], code: str, exit_code: int, said: str
) -> None:
    with fake_at_a_url() as (server, url):
        server.refusal, server.code = (503, "Redis is away"), code
        failed = wsctl("broadcast", "hello", "--url", url, environ=environ)
    assert (failed.returncode, failed.stdout) == (exit_code, "")
    assert failed.stderr == f"wsctl: {said.format(url=url)}\n"
