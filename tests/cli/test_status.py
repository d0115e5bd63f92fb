"""`wsctl status`, as a process."""

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from anyio import to_thread

from tests.conftest import StartServer
from tests.support.clients import join
from tests.support.fake_control import fake_at_a_url
from tests.support.processes import popen
from tests.support.server import DEADLINE, WSCTL, wsctl
from tests.support.status import DRAIN, FACTS, drawn
from tests.support.status import line as told_in_a_line
from tests.support.terminal import Terminal
from wsctl.client.control import ANSWER_TIMEOUT
from wsctl.control.status import TopicList, TopicStatus

pytestmark = pytest.mark.anyio

Spawn = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def watch() -> Iterator[Spawn]:
    """Start `wsctl status --watch` on pipes; its stdout is read line by line."""
    with ExitStack() as stack:

        def start(*flags: str, environ: dict[str, str]) -> "subprocess.Popen[str]":
            command = [*WSCTL, "status", "--watch", *flags]
            pipe = subprocess.PIPE
            process = stack.enter_context(popen(command, env=environ, stdout=pipe, stderr=pipe, text=True))
            watchdog = threading.Timer(DEADLINE, process.kill)
            watchdog.start()
            stack.callback(watchdog.cancel)
            stack.callback(process.kill)
            return process

        yield start


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout
    return process.stdout.readline()


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
    for shown in (drawn((nasty, facts)), told_in_a_line(nasty, facts)):
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


BEHIND = {
    "delivery": {"offers": 3, "mean_s": 0.006188, "longest_s": 0.025},
    "outbox": {"clients": 2, "bytes": 30_000, "largest": 20_000, "slowest": []},
}
"""What a server tells while it delivers, and clients are behind."""


def test_how_long_deliveries_take_and_what_waits_is_one_line() -> None:
    told = "6.19 ms on average, at most 25 ms, 30.0 kB waiting for 2 clients"
    rows = drawn(("http://here", FACTS | BEHIND), width=80).splitlines()
    assert rows[-2:] == [f"  delivery     {told}", "  newest id    1-0"]
    assert f"; delivery {told}" in told_in_a_line("here", FACTS | BEHIND)
    one = {"clients": 1, "bytes": 500, "largest": 500, "slowest": []}
    assert "delivery none in the last 10 s, 500 bytes waiting for 1 client" in told_in_a_line(
        "here", FACTS | {"outbox": one}
    )
    quick = {"offers": 1, "mean_s": 0.0002, "longest_s": 0.0005}
    assert "0.2 ms on average, at most 0.5 ms, nothing waits\n" in drawn(("a", FACTS | {"delivery": quick}))


def test_a_drain_is_told_with_its_forecast_and_those_connected_longest() -> None:
    facts = FACTS | {"status": "draining", "drain": DRAIN}
    told = "2 of 3 connected, elapsed 1:05, remaining 28:55, ETA 0:42"
    assert drawn(("http://here", facts)).splitlines()[-4:] == [
        "  newest id    1-0",
        f"  drain        {told} (SIGTERM)",
        "  longest      bob 2:05 (12.0 kB waiting)",
        "               eve 1:10",
    ]
    assert f"drain {told}" in told_in_a_line("http://here", facts)


def test_a_server_without_a_limit_has_no_capacity_to_tell() -> None:
    assert "  connections  3\n" in drawn(("http://here", FACTS | {"capacity": None}))


OWN = {
    "websockets": 2,
    "responses": 1,
    "routes": [
        {"kind": "websocket", "route": "/ws/{room}", "connections": 2},
        {"kind": "response", "route": "/events", "connections": 1},
    ],
}
"""The connections of an application of one's own."""


def test_an_applications_own_connections_are_told_by_kind_and_route() -> None:
    facts = FACTS | {"application": OWN}
    assert drawn(("http://here", facts)).splitlines()[2:4] == [
        "  connections  3, which take 2 of 1000 places",
        "  application  2 WebSockets, 1 response: /ws/{room} 2, /events 1",
    ]
    assert "; application 2 WebSockets, 1 response: /ws/{room} 2, /events 1" in told_in_a_line("here", facts)
    nobody = FACTS | {"connections": 0, "application": {"websockets": 0, "responses": 0, "routes": []}}
    assert "  application  no connections\n" in drawn(("http://here", nobody))
    assert "application" not in told_in_a_line("here", nobody)


def test_a_crowd_is_listed_as_far_as_the_screen_reaches() -> None:
    rows = [{"client_id": f"c{n}", "address": "", "connected_s": 1.0, "waiting_bytes": 0} for n in range(100)]
    drained = drawn(("http://here", FACTS | {"drain": DRAIN, "clients": rows}), height=24).splitlines()
    assert len(drained) <= 24
    assert "  and 89 more" in drained[-1]
    seen = ("http://here", FACTS | {"clients": rows})
    own = ("http://here", FACTS | BEHIND | {"clients": rows, "drain": DRAIN, "application": OWN})
    assert len(drawn(own, height=24).splitlines()) <= 24
    shown = drawn(seen, height=24).splitlines()
    assert len(shown) <= 24
    assert "  and 87 more" in shown[-1]
    assert len(drawn(seen, seen, height=40).splitlines()) <= 40
    assert "c99" in drawn(seen)


# Topics


async def test_topics_are_listed_with_their_subscribers_and_what_is_kept(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0")
    for topic in ("b.two", "a.one", "a.one"):
        sent = await to_thread.run_sync(
            lambda t=topic: wsctl("broadcast", "--topic", t, "x", environ=server.environ)
        )
        assert sent.returncode == 0, sent.stderr
    shown = await to_thread.run_sync(lambda: wsctl("status", "--topics", environ=server.environ))
    assert (shown.returncode, shown.stderr) == (0, "")
    rows = [row.split() for row in shown.stdout.splitlines()]
    assert ["topics", "2", "with", "messages,", "0", "subscriptions"] in rows
    head = rows.index(["topic", "subscribers", "kept", "size", "newest", "id"])
    assert [row[:3] for row in rows[head + 1 :]] == [["a.one", "0", "2"], ["b.two", "0", "1"]]
    as_json = await to_thread.run_sync(lambda: wsctl("status", "--topics", "--json", environ=server.environ))
    told = json.loads(as_json.stdout)
    assert told["topics"] == 2
    assert [row["topic"] for row in told["topic_list"]["topics"]] == ["a.one", "b.two"]
    assert told["topic_list"]["more"] is False


def test_a_server_of_the_release_before_has_no_topics_to_list(environ: dict[str, str]) -> None:
    with fake_at_a_url() as (fake, url):
        fake.absent = {"error": {"code": "not_found", "message": "no such route"}}
        failed = wsctl("status", "--topics", "--url", url, environ=dict(environ) | {"WSCTL_TOKEN": "t"})
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == f"wsctl: {url} knows no topics: it is of a release before them\n"


def listed(count: int, *, more: bool = False) -> TopicList:
    """So many topics."""
    return TopicList(tuple(TopicStatus(f"t.{n}", n, n, 1000 * n, f"{n}-0") for n in range(count)), more)


def test_topics_and_clients_are_listed_as_far_as_the_screen_reaches() -> None:
    rows = [{"client_id": f"c{n}", "address": "", "connected_s": 1.0, "waiting_bytes": 0} for n in range(100)]
    facts = FACTS | {"topics": 100, "subscriptions": 7}
    for told in (facts, facts | {"clients": rows}, facts | {"clients": rows, "drain": DRAIN}):
        shown = drawn(("http://here", told), topics=[listed(100)], height=30).splitlines()
        assert len(shown) <= 30
        assert any(row.startswith("  t.0") for row in shown)
        assert sum(" more" in row for row in shown) == (2 if "clients" in told else 1)
    assert "t.99" in drawn(("http://here", facts), topics=[listed(100)])
    assert drawn(("http://here", facts), topics=[listed(2, more=True)]).endswith("\n  and more")
    assert "t.0" not in drawn(("http://here", facts), topics=[None])


def test_topics_of_workers_stand_once() -> None:
    group = {"pid": 5, "status": "serving", "connections": 0, "drain": None, "upgrade": None, "workers": []}
    workers = [("http://here", FACTS | {"group": group}), ("http://here", FACTS | {"group": group})]
    assert drawn(*workers, topics=[listed(1), listed(1)]).count("t.0") == 1
    alone = [("http://a", FACTS), ("http://b", FACTS)]
    assert drawn(*alone, topics=[listed(1), listed(1)]).count("t.0") == 2


def test_a_topic_without_kept_messages_has_no_newest_id() -> None:
    shown = drawn(("http://here", FACTS), topics=[TopicList((TopicStatus("a\x1b", 1, 0, 0, None),), False)])
    assert shown.splitlines()[-1].split() == ["a\\x1b", "1", "0", "0", "bytes", "-"]


def test_clients_are_listed_with_their_topics() -> None:
    row = {"address": "127.0.0.1:1", "connected_s": 1.0, "waiting_bytes": 0}
    many = [f"t.{n}" for n in range(8)]
    rows = [row | {"client_id": "ann", "topics": many}, row | {"client_id": "bob"}]
    shown = drawn(("http://here", FACTS | {"clients": rows}), width=120).splitlines()
    assert shown[-3].split() == ["client", "address", "connected", "waiting", "topics"]
    assert shown[-2].endswith("t.0, t.1, t.2, t.3, t.4 and 3 more")
    assert shown[-1].split()[-1] == "-"
    placed = [each | {"node": "00000001"} for each in rows]
    shown = drawn(("http://here", FACTS | {"clients": placed}), width=120).splitlines()
    assert shown[-3].split()[-2:] == ["node", "topics"]
    assert shown[-1].split()[-2:] == ["00000001", "-"]
    narrow = drawn(("http://here", FACTS | {"clients": rows}), width=80, height=24).splitlines()
    assert len(narrow) == len(shown)
    assert narrow[-2].endswith("t.0, t.1, t.2, t.3, t.4 and…")


def test_clients_are_listed_with_how_they_are_connected_where_one_is_an_event_stream() -> None:
    row = {"address": "127.0.0.1:1", "connected_s": 1.0, "waiting_bytes": 0}
    rows = [row | {"client_id": name, "transport": "websocket"} for name in ("ann", "bob")]
    shown = drawn(("http://here", FACTS | {"clients": rows})).splitlines()
    assert shown[-3].split() == ["client", "address", "connected", "waiting"]
    rows += [row | {"client_id": "cat", "transport": "stream"}, row | {"client_id": "dan"}]
    shown = drawn(("http://here", FACTS | {"clients": rows})).splitlines()
    assert [line.split()[-1] for line in shown[-5:]] == ["transport", "websocket", "websocket", "stream", "-"]


def test_several_connections_of_one_client_are_told_apart() -> None:
    shown = drawn(("http://here", FACTS | {"client_ids": 1}))
    assert "  connections  3 of 1000, of 1 client\n" in shown


ASKING = {
    "status": ("status",),
    "json": ("status", "--json", "--clients"),
    "watch": ("status", "--watch"),
    "drain": ("drain",),
    "cancel": ("drain", "--cancel"),
    "upgrade": ("upgrade",),
    "broadcast": ("broadcast", "hello"),
    "client": ("client", "--id", "bob"),
    "stress": ("stress",),
}


@pytest.mark.parametrize("words", ASKING.values(), ids=ASKING)
def test_where_nobody_listens_is_unreachable_whatever_is_asked(
    words: tuple[str, ...], environ: dict[str, str]
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        told = wsctl(*words, "--url", url, environ=environ)
    assert (told.returncode, told.stdout) == (5, "")
    assert len(told.stderr.splitlines()) == 1
    assert url in told.stderr


@pytest.mark.parametrize("name", [name for name in ASKING if name != "watch"])
def test_a_server_that_is_stopped_is_named_at_once_and_asked_nothing(
    name: str, start_server: StartServer
) -> None:
    server = start_server()
    server.signal(signal.SIGSTOP)
    began = time.monotonic()
    told = wsctl(*ASKING[name], environ=server.environ)
    took = time.monotonic() - began
    server.signal(signal.SIGCONT)
    assert (told.returncode, told.stdout) == (5, "")
    assert f"{server.url} (pid {server.pid}) does not answer: it is stopped" in told.stderr
    assert f"'kill -CONT {server.pid}' lets it go on" in told.stderr
    assert took < ANSWER_TIMEOUT / 2
    assert server.status()["status"] == "serving"
    assert server.stop() == 0


def test_a_server_that_is_stopped_for_a_while_is_watched_on(start_server: StartServer, watch: Spawn) -> None:
    server = start_server()
    process = watch(environ=server.environ)
    assert "serving" in line(process)
    server.signal(signal.SIGSTOP)
    assert process.stderr
    assert "it is stopped" in process.stderr.readline()
    server.signal(signal.SIGCONT)
    while "serving" not in line(process):
        pass
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE) == 0
    assert process.stderr.read() == ""
