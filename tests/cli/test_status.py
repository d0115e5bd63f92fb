"""`wsctl status`, as a process."""

import io
import json
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread
from rich.console import Console

from tests.conftest import StartServer
from tests.support.clients import join
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.terminal import Terminal
from wsctl.cli.ui import tables

pytestmark = pytest.mark.anyio

Spawn = Callable[..., "subprocess.Popen[str]"]

FACTS: dict[str, Any] = {
    "status": "serving",
    "connections": 3,
    "uptime_s": 3725.0,
    "version": "0.1.0",
    "pid": 7,
    "capacity": 1000,
    "closing": 0,
    "newest_id": "1-0",
    "messages": {"published": 1, "received": 0, "delivered": 3},
    "rates": {"published": 0.1, "received": 0.0, "delivered": 12.5},
    "drain": None,
}

DRAIN: dict[str, Any] = {
    "phase": "draining",
    "reason": "SIGTERM",
    "cancellable": False,
    "started_with": 3,
    "active": 2,
    "elapsed_s": 65.0,
    "remaining_s": 1735.0,
    "left": 1,
    "evicted": 0,
    "forced": 0,
    "aborted": 0,
    "undelivered": 0,
    "oldest": "bob",
    "handed_over": 0,
    "eta_s": 42.5,
    "longest": [
        {"client_id": "bob", "connected_s": 125.0, "waiting_bytes": 12_000},
        {"client_id": "eve", "connected_s": 70.0, "waiting_bytes": 0},
    ],
}


@pytest.fixture
def watch() -> Iterator[Spawn]:
    """Start `wsctl status --watch` on pipes; its stdout is read line by line."""
    with ExitStack() as stack:

        def start(*flags: str, environ: dict[str, str]) -> "subprocess.Popen[str]":
            command = [*WSCTL, "status", "--watch", *flags]
            pipe = subprocess.PIPE
            process = stack.enter_context(
                subprocess.Popen(command, env=environ, stdout=pipe, stderr=pipe, text=True)
            )
            watchdog = threading.Timer(DEADLINE, process.kill)
            watchdog.start()
            stack.callback(watchdog.cancel)
            stack.callback(process.kill)
            return process

        yield start


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline()


def drawn(*seen: tables.Seen, height: int | None = None, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, force_terminal=True, color_system=None)
    with console.capture() as shown:
        console.print(tables.blocks(seen, height))
    return "\n".join(row.rstrip() for row in shown.get().splitlines())


async def test_a_server_is_shown_with_its_clients(start_server: StartServer) -> None:
    server = start_server("--max-connections", "9")
    bob = await join(server.ws_url, "bob")
    shown = await to_thread.run_sync(lambda: wsctl("status", "--clients", environ=server.environ))
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = [row.rstrip() for row in shown.stdout.splitlines()]
    assert rows[0].startswith(f"{server.url}  pid {server.pid}, wsctl ")
    assert rows[1:3] == ["  phase        serving", "  connections  1 of 9"]
    assert any(row.split()[:2] == ["bob", f"127.0.0.1:{bob.local_address[1]}"] for row in rows)
    assert "\x1b" not in shown.stdout
    await bob.close()


async def test_a_long_client_id_is_whole_on_a_pipe(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "b" * 128)
    shown = await to_thread.run_sync(lambda: wsctl("status", "--clients", environ=server.environ))
    assert "b" * 128 in shown.stdout
    await bob.close()


def test_json_is_what_the_server_answers(start_server: StartServer) -> None:
    server = start_server()
    for flags, path in ([], "/api/status"), (["--clients"], "/api/status?clients=true"):
        shown = wsctl("status", "--json", *flags, environ=server.environ)
        _, answer = server.api("GET", path)
        told = json.loads(shown.stdout)
        assert shown.stdout.count("\n") == 1
        moving = {"uptime_s": 0, "rates": 0}
        assert told | moving == answer | moving


async def test_a_drain_is_shown_as_it_stands(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    server.signal()
    server.wait_for_line("draining")
    shown = await to_thread.run_sync(lambda: wsctl("status", environ=server.environ))
    assert "  phase        draining" in shown.stdout
    assert "1 of 1 connected, elapsed 0:0" in shown.stdout
    assert "(SIGTERM)" in shown.stdout
    await bob.close()


def test_all_servers_of_the_machine_are_shown(start_server: StartServer) -> None:
    first, second = start_server(), start_server()
    shown = wsctl("status", environ=first.environ)
    assert shown.stdout.index(first.url) < shown.stdout.index(second.url)
    as_json = wsctl("status", "--json", environ=first.environ)
    assert [json.loads(row)["pid"] for row in as_json.stdout.splitlines()] == [first.pid, second.pid]
    one = wsctl("status", "--json", "--port", str(second.port), environ=first.environ)
    assert json.loads(one.stdout)["pid"] == second.pid


def test_a_killed_server_is_no_server_and_nothing_of_it_stays(
    start_server: StartServer, runtime_dir: Path
) -> None:
    server = start_server()
    assert server.status()["status"] == "serving"
    server.kill()
    assert {path.suffix for path in runtime_dir.iterdir()} == {".json", ".sock"}
    failed = wsctl("status", environ=server.environ)
    assert (failed.returncode, failed.stdout) == (5, "")
    assert failed.stderr.startswith("wsctl: no server runs here")
    assert list(runtime_dir.iterdir()) == []


def test_a_server_elsewhere_that_is_none_of_ours_is_named(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        failed = wsctl("status", "--url", url, environ=environ)
        thread.join(DEADLINE)
    assert (failed.returncode, failed.stdout) == (5, "")
    assert failed.stderr == f"wsctl: {url} is no wsctl server: it answered 200 with something else\n"


def test_a_refused_token_is_told(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_TOKEN": "right"})
    failed = wsctl("status", "--url", server.url, environ=dict(server.environ) | {"WSCTL_TOKEN": "wrong"})
    assert (failed.returncode, failed.stdout) == (6, "")
    assert "has another token" in failed.stderr


def test_watching_on_a_pipe_prints_a_line_a_second_until_ctrl_c(
    start_server: StartServer, watch: Spawn
) -> None:
    server = start_server()
    process = watch(environ=server.environ)
    for _ in range(2):
        assert line(process).startswith(f"{server.url} serving: 0 of ")
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=DEADLINE)[1] == ""
    assert process.returncode == 0


def test_watching_as_json_prints_an_object_a_second(start_server: StartServer, watch: Spawn) -> None:
    server = start_server()
    process = watch("--json", "--clients", environ=server.environ)
    first, second = json.loads(line(process)), json.loads(line(process))
    assert second["uptime_s"] - first["uptime_s"] >= 0.9
    assert first["clients"] == []


def test_watching_ends_when_whoever_reads_has_enough(start_server: StartServer, watch: Spawn) -> None:
    process = watch(environ=start_server().environ)
    line(process)
    assert process.stdout
    process.stdout.close()
    assert process.wait(DEADLINE) == 1
    assert process.stderr
    assert process.stderr.read() == ""


def test_a_reader_that_has_gone_before_is_no_traceback(start_server: StartServer) -> None:
    environ = start_server().environ
    command = " ".join([*WSCTL, "status", "--clients", "|", "true"])
    shown = subprocess.run(
        ["bash", "-c", command], env=environ, capture_output=True, text=True, timeout=DEADLINE, check=False
    )
    assert shown.stderr == ""


def test_watching_ends_with_an_error_when_the_server_is_killed(
    start_server: StartServer, watch: Spawn
) -> None:
    server = start_server()
    process = watch(environ=server.environ)
    line(process)
    server.kill()
    assert process.wait(DEADLINE) == 5
    assert process.stderr
    assert f"{server.url} is gone, and was not draining" in process.stderr.read()


async def test_watching_ends_well_when_the_server_has_drained(
    start_server: StartServer, watch: Spawn
) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    server.signal()
    server.wait_for_line("draining")
    process = watch(environ=server.environ)
    assert "draining: 1 of " in (told := line(process))
    assert "drain 1 of 1 connected" in told
    await bob.close()
    assert await to_thread.run_sync(process.wait, DEADLINE) == 0
    assert process.stderr
    assert process.stderr.read() == f"wsctl: {server.url} has drained and is gone\n"


def test_watching_goes_on_with_the_servers_that_are_left(start_server: StartServer, watch: Spawn) -> None:
    first, second = start_server(), start_server()
    process = watch(environ=first.environ)
    assert line(process).startswith(first.url)
    assert line(process).startswith(second.url)
    first.kill()
    while line(process).startswith(first.url):
        assert line(process).startswith(second.url)
    assert line(process).startswith(second.url)
    second.kill()
    assert process.wait(DEADLINE) == 5


def test_watching_clients_needs_a_terminal(start_server: StartServer, watch: Spawn) -> None:
    process = watch("--clients", environ=start_server().environ)
    assert process.wait(DEADLINE) == 2
    assert process.stderr
    assert process.stderr.read().startswith("wsctl: --watch --clients draws a table")


async def test_watching_on_a_terminal_draws_over_itself(start_server: StartServer) -> None:
    server = start_server()
    terminal = Terminal([*WSCTL, "status", "--watch", "--clients"], server.environ, columns=80)
    try:
        await to_thread.run_sync(terminal.wait_for, "connections  0 of")
        bob = await join(server.ws_url, "bob")
        shown = await to_thread.run_sync(
            terminal.wait_for, lambda text: "connections  1 of" in text and "bob" in text
        )
        assert shown.count("phase") == 1
        terminal.type("\x03")
        assert await to_thread.run_sync(terminal.wait) == 0
        await bob.close()
    finally:
        terminal.close()


def test_the_colour_can_be_turned_off_on_a_terminal(start_server: StartServer) -> None:
    server = start_server()
    for env, coloured in ({}, True), ({"NO_COLOR": "1"}, False):
        terminal = Terminal([*WSCTL, "status"], dict(server.environ) | env)
        try:
            assert terminal.wait() == 0
            assert (b"\x1b[1;32m" in terminal.raw) == coloured
        finally:
            terminal.close()


def test_what_comes_from_elsewhere_is_text_and_nothing_else() -> None:
    nasty = "[red]\x1b[2J\n\u202e"
    row = {"client_id": nasty, "address": nasty, "connected_s": 1.0, "waiting_bytes": 0}
    facts = FACTS | {"newest_id": nasty, "version": nasty, "clients": [row]}
    for shown in (drawn((nasty, facts)), tables.line(nasty, facts)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[red]\\x1b[2J\\n\\u202e" in shown


def test_a_block_tells_phase_connections_uptime_rates_and_newest_id() -> None:
    assert drawn(("http://here", FACTS | {"closing": 2})).splitlines() == [
        "http://here  pid 7, wsctl 0.1.0",
        "  phase        serving",
        "  connections  3 of 1000, 2 closing",
        "  uptime       1:02:05",
        "  rates        published 0.1/s, received 0/s, delivered 12.5/s",
        "  newest id    1-0",
    ]


def test_a_drain_is_told_with_its_forecast_and_those_connected_longest() -> None:
    facts = FACTS | {"status": "draining", "drain": DRAIN}
    told = "2 of 3 connected, elapsed 1:05, remaining 28:55, ETA 0:42"
    assert drawn(("http://here", facts)).splitlines()[-4:] == [
        "  newest id    1-0",
        f"  drain        {told} (SIGTERM)",
        "  longest      bob 2:05 (12.0 kB waiting)",
        "               eve 1:10",
    ]
    assert f"drain {told}" in tables.line("http://here", facts)


def test_a_server_without_a_limit_has_no_capacity_to_tell() -> None:
    assert "  connections  3\n" in drawn(("http://here", FACTS | {"capacity": None}))


def test_a_crowd_is_listed_as_far_as_the_screen_reaches() -> None:
    rows = [{"client_id": f"c{n}", "address": "", "connected_s": 1.0, "waiting_bytes": 0} for n in range(100)]
    drained = drawn(("http://here", FACTS | {"drain": DRAIN, "clients": rows}), height=24).splitlines()
    assert len(drained) <= 24
    assert "  and 89 more" in drained[-1]
    seen = ("http://here", FACTS | {"clients": rows})
    shown = drawn(seen, height=24).splitlines()
    assert len(shown) <= 24
    assert "  and 87 more" in shown[-1]
    assert len(drawn(seen, seen, height=40).splitlines()) <= 40
    assert "c99" in drawn(seen)


# Servers that share a Redis


def node(number: int, **facts: Any) -> dict[str, Any]:
    return {
        "node": f"0000000{number}",
        "host": "alpha",
        "pid": 100 + number,
        "url": f"http://127.0.0.1:800{number}",
        "version": "0.1.0",
        "generation": 1,
        "phase": "serving",
        "connections": 300,
        "turn": None,
        "this": number == 1,
    } | facts


SHARED: dict[str, Any] = FACTS | {
    "degraded": None,
    "redis": {"url": "redis://there:6379/0", "state": "up", "for_s": 3725.0, "why": None},
    "nodes": [node(1), node(2, phase="lameduck", turn={"place": 1, "of": 2}), node(3, url=None)],
    "cluster": {"nodes": 3, "connections": 900},
}

AWAY: dict[str, Any] = SHARED | {
    "degraded": "Redis is away: connection refused",
    "redis": {"url": "redis://there:6379/0", "state": "away", "for_s": 12.3, "why": "connection refused"},
}


def from_second(facts: dict[str, Any]) -> dict[str, Any]:
    """The same cluster, as its second node tells of it."""
    return facts | {"nodes": [each | {"this": n == 1} for n, each in enumerate(facts["nodes"])]}


def test_a_cluster_is_told_with_its_redis_and_its_nodes() -> None:
    assert drawn(("http://here", SHARED)).splitlines() == [
        "http://here  pid 7, node 00000001, wsctl 0.1.0",
        "  phase        serving",
        "  connections  3 of 1000",
        "  uptime       1:02:05",
        "  rates        published 0.1/s, received 0/s, delivered 12.5/s",
        "  newest id    1-0",
        "  redis        redis://there:6379/0 up for 1:02:05",
        "  cluster      3 nodes, 900 clients",
        "",
        "  node      process    url                    phase     connections  turn",
        "  00000001  alpha:101  http://127.0.0.1:8001  serving           300",
        "  00000002  alpha:102  http://127.0.0.1:8002  lameduck          300  1 of 2",
        "  00000003  alpha:103  -                      serving           300",
    ]
    assert tables.line("http://here", SHARED).endswith("delivered 12.5/s; cluster 3 nodes, 900 clients")


def test_a_column_for_turns_is_there_only_when_one_waits() -> None:
    alone = SHARED | {"nodes": [node(1)], "cluster": {"nodes": 1, "connections": 1}}
    shown = drawn(("http://here", alone))
    assert "turn" not in shown
    assert "  cluster      1 node, 1 client\n" in shown


def test_a_redis_that_is_away_is_told_with_since_when_and_why() -> None:
    shown = drawn(("http://here", AWAY)).splitlines()
    assert shown[1] == "  phase        serving, degraded"
    assert shown[6] == "  redis        redis://there:6379/0 away for 0:12: connection refused"
    told = tables.line("http://here", AWAY)
    assert told.startswith("http://here serving, degraded: 3 of 1000 connected; ")
    assert "; redis away for 0:12: connection refused; cluster 3 nodes" in told
    assert told.count("connection refused") == 1


@pytest.mark.parametrize("redis", [None, SHARED["redis"]])
def test_a_server_that_is_degraded_otherwise_says_why(redis: object) -> None:
    facts = FACTS | {"degraded": "Redis is full", "redis": redis}
    assert "  degraded     Redis is full" in drawn(("http://here", facts)).splitlines()
    assert tables.line("http://here", facts).endswith("; Redis is full")


def test_an_older_server_or_one_alone_has_nothing_of_that_to_tell() -> None:
    alone = FACTS | dict.fromkeys(("degraded", "redis", "nodes", "cluster"))
    assert drawn(("http://here", alone)) == drawn(("http://here", FACTS))
    assert tables.line("http://here", alone) == tables.line("http://here", FACTS)


def test_clients_of_all_nodes_are_listed_with_their_node_and_what_is_not_known_is_a_dash() -> None:
    rows = [
        {
            "client_id": "bob",
            "address": "1.2.3.4:5",
            "connected_s": 9.0,
            "waiting_bytes": 0,
            "node": "00000001",
        },
        {"client_id": "eve", "address": None, "connected_s": 5.0, "waiting_bytes": None, "node": "00000002"},
    ]
    shown = drawn(("http://here", SHARED | {"clients": rows})).splitlines()
    assert [row.split() for row in shown[-3:]] == [
        ["client", "address", "connected", "waiting", "node"],
        ["bob", "1.2.3.4:5", "0:09", "0", "bytes", "00000001"],
        ["eve", "-", "0:05", "-", "00000002"],
    ]
    assert [*drawn(("http://here", FACTS | {"clients": rows[:1]})).splitlines()[-2].split()][-1] == "node"
    plain = [{name: value for name, value in rows[0].items() if name != "node"}]
    assert "node" not in drawn(("http://here", FACTS | {"clients": plain}))


def test_what_servers_of_one_cluster_tell_alike_stands_once() -> None:
    rows = [{"client_id": "bob", "address": None, "connected_s": 9.0, "waiting_bytes": None, "node": "x"}]
    facts = SHARED | {"clients": rows}
    other = FACTS | {"clients": [{"client_id": "zoe", "address": "", "connected_s": 1.0, "waiting_bytes": 0}]}
    shown = drawn(("http://one", facts), ("http://alone", other), ("http://two", from_second(facts)))
    assert (shown.count("alpha:102"), shown.count("bob"), shown.count("zoe")) == (1, 1, 1)
    assert (
        shown.index("http://alone")
        < shown.index("zoe")
        < shown.index("http://two")
        < shown.index("alpha:102")
    )
    assert "http://two  pid 7, node 00000002, wsctl" in shown


def test_two_clusters_have_their_nodes_each() -> None:
    another = SHARED | {"nodes": [node(8), node(9)]}
    shown = drawn(("http://one", SHARED), ("http://two", another))
    assert (shown.count("alpha:101"), shown.count("alpha:109")) == (1, 1)


@pytest.mark.parametrize("height", [24, 30, 60])
@pytest.mark.parametrize("servers", [1, 2])
@pytest.mark.parametrize("clients", [None, 0, 3, 100])
@pytest.mark.parametrize("count", [3, 100])
@pytest.mark.parametrize("width", [80, 100])
def test_a_cluster_fits_the_screen(
    height: int, servers: int, clients: int | None, count: int, width: int
) -> None:
    row = {"client_id": "bob", "address": None, "connected_s": 9.0, "waiting_bytes": None, "node": "0000000"}
    found = [
        node(1, node=f"{n:08}", host="a-host-with-a-long-name.example", this=n == 0) for n in range(count)
    ]
    facts = AWAY | {"nodes": found, "drain": DRAIN if servers == 1 and height > 24 else None}
    if clients is not None:
        facts |= {"clients": [row] * clients}
    shown = drawn(*[(f"http://{n}", dict(facts)) for n in range(servers)], height=height, width=width)
    assert len(shown.splitlines()) <= height
    shares = height // servers
    if clients and shares >= 30:
        assert "bob" in shown
        assert "00000000" in shown


def test_nothing_of_a_cluster_commands_the_terminal() -> None:
    nasty = "[red]\x1b[2J\n\u202e"
    facts = AWAY | {
        "degraded": nasty,
        "redis": {"url": nasty, "state": nasty, "for_s": 1.0, "why": nasty},
        "nodes": [node(1, node=nasty, host=nasty, url=nasty, phase=nasty)],
        "clients": [
            {"client_id": "bob", "address": None, "connected_s": 1.0, "waiting_bytes": None, "node": nasty}
        ],
    }
    for shown in (drawn(("http://here", facts), width=1000), tables.line("http://here", facts)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "[red]\\x1b[2J\\n\\u202e" in shown
