"""`wsctl stress` against real servers."""

import asyncio
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.fake_cluster import FakeCluster
from tests.support.processes import popen
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.terminal import Terminal

CLIENTS = 5

CROWD = 15
"""Clients enough not to come back all at once."""


@contextmanager
def stressing(
    server: ServerProcess | str, environ: Mapping[str, str], *flags: str
) -> "Iterator[subprocess.Popen[str]]":
    """A stress run on a server or a URL, without an end of its own."""
    url = server if isinstance(server, str) else server.url
    command = [*WSCTL, "stress", "--duration", "1h", "--url", url, *flags]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with popen(command, env=dict(environ), text=True, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> tuple[int, dict[str, Any]]:
    """Ctrl-C: exit code and JSON."""
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=DEADLINE)
    assert "Traceback" not in err
    return process.returncode, json.loads(out)


async def under_way(server: ServerProcess, count: int = 1) -> None:
    """Wait until a server has delivered so many messages of a stress run."""
    witness = await join(server.ws_url, "witness")
    for _ in range(count):
        await receive_type(witness, "message")
    await witness.close()


def complaint(result: Any) -> str:
    """The one line a command ended with."""
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return str(line)


def test_a_short_run_on_a_healthy_server_misses_nothing(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    start_server()
    result = wsctl("stress", "--duration", "2s", "--json", environ=environ)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["clients"] == 10
    assert found["duration_s"] >= 1.99  # a timer of the loop may be a millisecond early
    assert found["sent"] > 0
    assert found["delivered"] == found["expected"] == 10 * found["sent"]
    assert [found[name] for name in ("missed", "duplicated", "out_of_order", "unconfirmed")] == [0, 0, 0, 0]
    assert found["close_codes"] == found["refused"] == found["errors"] == {}
    assert 0 < found["silence_ms"] < 2000
    latency = found["latency_ms"]
    assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]


def test_with_sse_all_of_it_goes_by_event_streams(start_server: StartServer, environ: dict[str, str]) -> None:
    server = start_server("--access-log", "--log-level", "info")
    flags = ["--sse", "--topics", "3", "--clients", "5", "--duration", "1s", "--json"]
    result = wsctl("stress", *flags, environ=environ)
    assert (result.returncode, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found["delivered"] == found["expected"] > 0
    assert [found[name] for name in ("missed", "duplicated", "out_of_order", "unconfirmed")] == [0, 0, 0, 0]
    assert found["close_codes"] == found["refused"] == found["errors"] == {}
    server.wait_for_line(r"POST /publish\?id=stress-1 .* 200")


def test_people_get_a_table(start_server: StartServer, environ: dict[str, str]) -> None:
    start_server()
    result = wsctl("stress", "--duration", "300ms", "--clients", "3", "--size", "1k", environ=environ)
    assert result.returncode == 0
    rows = dict(line.split(maxsplit=1) for line in result.stdout.splitlines() if line[:3] != "out")
    assert rows["connected"] == "3 of 3"
    assert rows["missed"] == "0"


@pytest.mark.anyio
async def test_a_server_that_was_killed_and_came_back_is_not_called_lossless(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server()
    with stressing(server, environ, "--clients", str(CROWD), "--rate", "150", "--json") as run:
        await under_way(server)
        server.kill()
        again = start_server("--port", str(server.port))
        witness = await join(again.ws_url, "witness")
        senders: set[str] = set()
        while len(senders) < CROWD:
            senders.add((await receive_type(witness, "message"))["from"])
        await witness.close()
        code, found = ended(run)
    assert code == 1
    assert found["missed"] > 0
    assert found["reconnects"] == CROWD
    assert (found["resumed"], found["unrecovered"]) == (0, CROWD)
    assert found["close_codes"] == {"1006": CROWD}
    assert (found["duplicated"], found["out_of_order"]) == (0, 0)


@pytest.mark.anyio
async def test_a_drain_at_its_deadline_is_seen_as_1012(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server("--shutdown-timeout", "500ms")
    with stressing(server, environ, "--clients", str(CLIENTS), "--json") as run:
        await under_way(server)
        assert server.stop() == 4
        _, found = ended(run)
    assert found["close_codes"]["1012"] == CLIENTS
    # Who comes back before the process has ended is turned away.
    assert set(found["close_codes"]) <= {"1012", "1001"}
    assert found["missed"] == 0


@pytest.mark.anyio
async def test_a_server_that_is_gone_for_good_still_ends_with_a_summary(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server()
    with stressing(server, environ, "--clients", "2", "--duration", "3s") as run:
        await under_way(server)
        server.kill()
        out, err = run.communicate(timeout=DEADLINE)
    assert "Traceback" not in err
    assert run.returncode == 1
    assert "connected     0 of 2" in out
    assert "2 of 2 clients were not connected" in out


@pytest.mark.anyio
async def test_a_second_ctrl_c_does_not_wait(start_server: StartServer, environ: dict[str, str]) -> None:
    server = start_server()
    with stressing(server, environ, "--clients", "2", "--rate", "50") as run:
        await under_way(server)
        server.signal(signal.SIGSTOP)
        run.send_signal(signal.SIGINT)
        assert run.stderr
        assert "Ctrl-C again" in run.stderr.readline()
        run.send_signal(signal.SIGINT)
        out, err = run.communicate(timeout=DEADLINE)
    assert (run.returncode, out, err) == (130, "", "")


def test_a_server_that_takes_no_messages_is_one_line(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    start_server("--no-client-publish")
    result = wsctl("stress", "--duration", "1h", environ=environ)
    assert result.returncode == 1
    assert "takes no messages from clients" in complaint(result)


def test_a_server_that_limits_the_rate_is_said_to(start_server: StartServer, environ: dict[str, str]) -> None:
    start_server("--rate", "1/s:1")
    result = wsctl("stress", "--duration", "500ms", "--clients", "2", "--rate", "20", environ=environ)
    assert result.returncode == 1
    assert "rate_limited" in result.stdout
    assert "a lower --rate" in result.stdout


def test_messages_that_are_too_big_are_no_success(start_server: StartServer, environ: dict[str, str]) -> None:
    start_server("--max-message-size", "100")
    result = wsctl("stress", "--duration", "500ms", "--clients", "1", "--size", "200", environ=environ)
    assert result.returncode == 1
    assert "1009 x" in result.stdout
    assert "take a smaller --size" in result.stdout


def test_a_full_server_refuses(start_server: StartServer, environ: dict[str, str]) -> None:
    start_server("--max-connections", "3")
    result = wsctl("stress", "--duration", "1h", environ=environ)
    assert result.returncode == 6
    assert "HTTP 503" in complaint(result)


@pytest.mark.anyio
async def test_several_servers_of_a_cluster_are_one(environ: dict[str, str]) -> None:
    async with FakeCluster().running(3) as cluster:
        urls = [part for url in cluster.urls for part in ("--url", url)]
        run = partial(wsctl, "stress", *urls, "--duration", "500ms", environ=environ)
        as_json = await asyncio.to_thread(run, "--clients", "8", "--json")
        table = await asyncio.to_thread(run, "--clients", "3")
    assert (as_json.returncode, as_json.stderr) == (0, "")
    found = json.loads(as_json.stdout)
    assert found["servers"] == dict(zip(cluster.urls, (3, 3, 2), strict=True))
    assert found["delivered"] == found["expected"] == 8 * found["sent"] > 0
    assert found["out_of_order"] == 0
    told = [line.split() for line in table.stdout.splitlines()]
    assert all(["on", f"{url}:", "1"] in told for url in cluster.urls)


@pytest.mark.anyio
async def test_clients_of_a_server_that_drains_go_on_at_another(environ: dict[str, str]) -> None:
    async with FakeCluster().running(2) as cluster:
        first, second = cluster.urls
        flags = ("--url", second, "--clients", "6", "--rate", "100", "--json")
        with stressing(first, environ, *flags) as run:
            witness = await join(first.replace("http", "ws"), "witness")
            await receive_until_published(witness, 5)
            await cluster.drain(1)
            await receive_until_published(witness, 50)
            await witness.close()
            code, found = await asyncio.to_thread(ended, run)
    assert found["servers"] == {first: 6, second: 0}
    assert (found["missed"], found["duplicated"], found["out_of_order"]) == (0, 0, 0)
    # A message that was on its way when its client was closed may be lost, and is told of.
    assert code == bool(found["unconfirmed"]), found
    assert (found["reconnects"], found["resumed"]) == (3, 3)
    assert found["close_codes"] == {"1001": 3, "1012": 3}


async def receive_until_published(witness: ClientConnection, count: int) -> None:
    for _ in range(count):
        await receive_type(witness, "message")


def test_servers_that_are_no_cluster_are_said_to_be_none(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    first, second = start_server(), start_server()
    flags = ("--url", first.url, "--url", second.url, "--duration", "1h", "--clients", "4")
    result = wsctl("stress", *flags, environ=environ)
    assert result.returncode == 1
    assert f"what {first.url} takes does not arrive at {second.url}" in complaint(result)


def test_of_several_servers_the_wrong_one_is_named(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    full = start_server("--max-connections", "1")
    for other, code, said in (
        ("http://127.0.0.1:1", 5, "cannot connect to http://127.0.0.1:1"),
        (full.url, 6, f"{full.url} refused client stress-4 with HTTP 503"),
        ("nonsense", 2, "--url 'nonsense' is not an address"),
    ):
        server = start_server()
        result = wsctl("stress", "--url", server.url, "--url", other, environ=environ)
        assert result.returncode == code
        assert said in complaint(result)


def test_each_of_several_servers_wants_a_client(environ: dict[str, str]) -> None:
    flags = ("--url", "http://a", "--url", "http://b", "--url", "http://a")
    result = wsctl("stress", *flags, "--clients", "1", environ=environ)
    assert result.returncode == 2
    assert "--clients 1 is too few: each of 2 servers wants one" in complaint(result)


def test_one_address_may_stand_in_the_environment(start_server: StartServer, environ: dict[str, str]) -> None:
    server, other = start_server(), start_server()
    run = partial(wsctl, "stress", "--duration", "200ms", "--json")
    found = run(environ=environ | {"WSCTL_URL": server.url})
    assert json.loads(found.stdout)["servers"] == {server.url: 10}
    found = run("--port", str(other.port), environ=environ | {"WSCTL_URL": server.url})
    assert json.loads(found.stdout)["servers"] == {other.url: 10}


def test_without_a_server_it_is_unreachable(environ: dict[str, str]) -> None:
    result = wsctl("stress", environ=environ)
    assert result.returncode == 5
    assert "no server runs here" in complaint(result)
    result = wsctl("stress", "--url", "http://127.0.0.1:1", environ=environ)
    assert result.returncode == 5
    assert "cannot connect to http://127.0.0.1:1" in complaint(result)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--id", "a b"), "--id"),
        (("--clients", "0"), "'--clients': '0' is not a whole number from 1 to 999999999"),
        (("--clients", "1.5"), "'--clients': '1.5' is not a whole number"),
        (("--rate", "0"), "'--rate': '0' is not a number from 0.001 to 999999999"),
        (("--rate", "x"), "'--rate': 'x' is not a number from 0.001"),
        (("--duration", "0"), "--duration: 0 s is no time: write more than 0"),
        (("--duration", "soon"), "'soon' is not a duration"),
        (("--size", "big"), "'big' is not a size"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_usage_error(
    environ: dict[str, str], flags: tuple[str, ...], said: str
) -> None:
    result = wsctl("stress", *flags, environ=environ)
    assert result.returncode == 2
    assert said in complaint(result)


def test_more_clients_than_open_files_do_not_fit(environ: dict[str, str]) -> None:
    result = subprocess.run(
        [*WSCTL, "stress", "--clients", "100"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 128)),
    )
    assert result.returncode == 2
    assert "--clients 100 does not fit: 128 files may be open" in complaint(result)


def test_on_a_terminal_the_table_is_live_and_gives_way_to_the_summary(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    start_server()
    terminal = Terminal([*WSCTL, "stress", "--duration", "1h"], environ | {"TERM": "xterm-256color"})
    try:
        terminal.wait_for("0:01 of 1:00:00")
        assert "10 of 10" in terminal.text
        terminal.type("\x03")
        assert terminal.wait() == 0
        assert "of 1:00:00" not in terminal.text
        assert "duration" in terminal.text
        assert terminal.text.count("duplicated") == 1
    finally:
        terminal.close()


def test_help_imports_no_framework(environ: dict[str, str]) -> None:
    code = (
        "import sys; from wsctl.cli.app import run; run(['stress', '--help']);"
        "sys.exit(' '.join({'asyncio', 'websockets', 'uvloop', 'rich', 'uvicorn'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=environ,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert result.stderr.strip() == ""
    assert "--duration" in result.stdout
