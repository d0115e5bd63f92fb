"""`wsctl drain`, as a process, and what it shows."""

import asyncio
import contextlib
import io
import json
import re
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import pytest
from anyio import to_thread
from rich.console import Console
from rich.text import Text
from websockets.asyncio.client import ClientConnection

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.terminal import Terminal
from wsctl.cli.drain import _begin_and_wait
from wsctl.cli.ui.drain_bar import DrainBar, DrainLines, outcome, picture, standing
from wsctl.codes import ExitCode
from wsctl.drain.phases import Phase
from wsctl.drain.progress import ConnectedClient, ConnectionKind, DrainProgress, RouteCount

pytestmark = pytest.mark.anyio

PROGRESS = DrainProgress(
    phase=Phase.DRAINING,
    reason="requested",
    cancellable=True,
    started_with=4,
    active=2,
    elapsed_s=65.0,
    remaining_s=1735.0,
    left=2,
    evicted=0,
    forced=0,
    aborted=0,
    undelivered=0,
    oldest="bob",
    longest=(ConnectedClient("bob", 125.0, 12_000), ConnectedClient("eve", 70.0, 0)),
)


def named(client_id: str | None) -> dict[str, Any]:
    """The fields of a drain in which this client has been there longest."""
    longest = (ConnectedClient(client_id, 125.0, 12_000),) if client_id else ()
    return {"oldest": client_id, "longest": longest}


def drain(server: ServerProcess, *flags: str) -> "asyncio.Task[Any]":
    """`wsctl drain`, running beside the test."""
    call = partial(wsctl, "drain", *flags, environ=server.environ)
    return asyncio.create_task(asyncio.to_thread(call))


async def announced(client: ClientConnection) -> dict[str, Any]:
    """The drain, as it was announced to a client."""
    return await receive_type(client, "shutdown")


async def test_it_shows_the_drain_until_everybody_has_left(start_server: StartServer) -> None:
    server = start_server()
    bob, eve = await join(server.ws_url, "bob"), await join(server.ws_url, "eve")
    running = drain(server)
    await announced(bob)
    await bob.close()
    await eve.close()
    shown = await running
    assert shown.returncode == 0
    assert re.match(r"draining: 2 of 2 connected, elapsed 0:0\d, remaining (30:00|29:5\d)\n", shown.stderr)
    assert re.fullmatch(
        r"drained in 0:0\d: 2 left by themselves\n",
        shown.stdout,
    )
    assert server.wait() == 0


async def test_clients_that_were_forced_make_it_exit_4(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    shown = await drain(server, "--timeout", "100ms", "--json")
    assert shown.returncode == 4
    told = json.loads(shown.stdout)
    assert told["exit_code"] == 4
    assert (told["drain"]["forced"], told["drain"]["left"]) == (1, 0)
    await bob.wait_closed()
    assert server.wait() == 4


def test_a_server_with_no_clients_has_drained_at_once(start_server: StartServer) -> None:
    server = start_server()
    shown = wsctl("drain", environ=server.environ)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == "drained in 0:00: nobody was connected\n"
    assert server.wait() == 0


async def test_a_drain_cancelled_from_elsewhere_makes_it_exit_1(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    running = drain(server)
    await announced(bob)
    cancelled = await drain(server, "--cancel")
    assert (cancelled.returncode, cancelled.stdout, cancelled.stderr) == (0, "drain cancelled\n", "")
    shown = await running
    assert (shown.returncode, shown.stdout) == (1, "")
    assert shown.stderr.endswith("wsctl: the drain was cancelled from elsewhere: the server goes on\n")
    assert server.status()["status"] == "serving"
    await bob.close()


async def test_a_server_killed_meanwhile_makes_it_exit_1(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    running = drain(server)
    await announced(bob)
    server.kill()
    shown = await running
    assert (shown.returncode, shown.stdout) == (1, "")
    assert "wsctl: the server went away before it told how its drain ended" in shown.stderr
    await bob.wait_closed()


async def test_without_waiting_it_starts_the_drain_and_ends(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    shown = await drain(server, "--no-wait", "--timeout", "5m")
    assert (shown.returncode, shown.stderr) == (0, "")
    pattern = r"draining: 1 of 1 connected, elapsed 0:0\d, remaining (5:00|4:5\d)\n"
    assert re.fullmatch(pattern, shown.stdout)
    assert json.loads((await drain(server, "--no-wait", "--json")).stdout)["status"] == "draining"
    assert (await drain(server, "--cancel", "--json")).stdout == '{"status": "serving", "drain": null}\n'
    await bob.close()


async def test_a_timeout_moves_the_deadline_of_a_drain_that_runs(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    server.signal()
    assert (await announced(bob))["deadline_s"] > 1700
    await drain(server, "--timeout", "2h", "--no-wait")
    assert (await announced(bob))["deadline_s"] == pytest.approx(7200, abs=1)
    await bob.close()


async def test_a_drain_begun_by_a_signal_cannot_be_cancelled(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    server.signal()
    await announced(bob)
    failed = await drain(server, "--cancel")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr == "wsctl: a drain begun by a signal cannot be cancelled\n"
    await bob.close()


def test_cancelling_no_drain_is_an_error(start_server: StartServer) -> None:
    failed = wsctl("drain", "--cancel", environ=start_server().environ)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "there is no drain to cancel" in failed.stderr


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--cancel", "--timeout", "5"], "--cancel ends a drain and --timeout moves its deadline"),
        (["--timeout", "soon"], "'soon' is not a duration"),
        (["--url", "http://there", "--port", "1"], "--url and --port both choose a server"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_error(environ: dict[str, str], flags: list[str], text: str) -> None:
    failed = wsctl("drain", *flags, environ=environ)
    assert (failed.returncode, failed.stdout) == (2, "")
    assert text in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_two_servers_need_a_choice_and_none_is_drained(start_server: StartServer) -> None:
    first, second = start_server(), start_server()
    failed = wsctl("drain", environ=first.environ)
    assert failed.returncode == 2
    assert first.url in failed.stderr
    assert second.url in failed.stderr
    assert wsctl("drain", "--port", str(first.port), environ=first.environ).returncode == 0
    assert first.wait() == 0
    assert second.status()["status"] == "serving"


def test_without_a_server_there_is_nothing_to_drain(environ: dict[str, str]) -> None:
    failed = wsctl("drain", environ=environ)
    assert (failed.returncode, failed.stdout) == (5, "")
    assert failed.stderr.startswith("wsctl: no server runs here")


def test_a_wrong_token_drains_nothing(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_TOKEN": "right"})
    wrong = dict(server.environ) | {"WSCTL_TOKEN": "wrong"}
    failed = wsctl("drain", "--url", server.url, environ=wrong)
    assert (failed.returncode, failed.stdout) == (6, "")
    assert server.status()["status"] == "serving"


@contextlib.asynccontextmanager
async def impatient_proxy(server: ServerProcess) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A proxy that hangs up on the first request that waits for the drain's end.

    Gives its URL, and an event: the wait was begun again, and something else was answered since.
    """
    waits, again = 0, asyncio.Event()

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal waits
        head = await reader.readuntil(b"\r\n\r\n")
        size = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(size[1])) if size else b""
        is_wait = head.startswith(b"GET /api/drain ")
        waits += is_wait
        if not is_wait or waits > 1:
            with contextlib.suppress(OSError):  # the server may have ended
                onward, out = await asyncio.open_connection("127.0.0.1", server.port)
                out.write(head + body)
                writer.write(await onward.read())
                out.close()
            if waits > 1:
                again.set()
        writer.close()

    proxy = await asyncio.start_server(relay, "127.0.0.1", 0)
    async with proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}", again


async def test_a_proxy_that_cuts_long_requests_does_not_end_the_watch(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_TOKEN": "t"})
    bob = await join(server.ws_url, "bob")
    async with impatient_proxy(server) as (url, again):
        running = drain(server, "--url", url)
        async with asyncio.timeout(DEADLINE):
            await again.wait()
        await bob.close()
        shown = await running
    assert shown.returncode == 0, shown.stderr
    assert "1 left by itself" in shown.stdout


@pytest.fixture
async def crowd(start_server: StartServer) -> AsyncIterator[tuple[ServerProcess, list[ClientConnection]]]:
    """A server with two clients, the older one with the longest id there can be."""
    server = start_server()
    clients = [await join(server.ws_url, name) for name in ("x" * 128, "bob")]
    yield server, clients
    for client in clients:
        await client.close()


def complete(*texts: str) -> Callable[[str], bool]:
    """Whether a screen shows all of a picture with these texts: it may be read in the middle of one."""
    return lambda shown: all(text in shown for text in (*texts, "the drain goes on"))


async def test_on_a_terminal_a_bar_moves_and_leaves_the_outcome(
    crowd: tuple[ServerProcess, list[ClientConnection]],
) -> None:
    server, (older, bob) = crowd
    terminal = Terminal([*WSCTL, "drain"], server.environ, columns=80)
    try:
        shown = await to_thread.run_sync(terminal.wait_for, complete("2 of 2 connected"))
        rows = shown.splitlines()
        assert rows[0].startswith("Draining")
        assert re.fullmatch(r"elapsed 0:0\d  remaining (30:00|29:5\d)  longest: x{20,}\u2026", rows[1])
        assert rows[2:] == ["Ctrl-C: stop watching, the drain goes on"]
        await older.close()
        await to_thread.run_sync(terminal.wait_for, complete("1 of 2 connected", "longest: bob"))
        await bob.close()
        assert await to_thread.run_sync(terminal.wait) == 0
        assert re.match(r"drained in 0:0\d: 2 left by themselves", terminal.text)
        assert "Draining" not in terminal.text
    finally:
        terminal.close()


async def test_ctrl_c_stops_the_watching_and_not_the_drain(
    crowd: tuple[ServerProcess, list[ClientConnection]],
) -> None:
    server, _ = crowd
    terminal = Terminal([*WSCTL, "drain"], server.environ)
    try:
        await to_thread.run_sync(terminal.wait_for, "2 of 2 connected")
        terminal.type("\x03")
        assert await to_thread.run_sync(terminal.wait) == 130
        assert "wsctl: the drain goes on" in terminal.text
        assert "'wsctl drain --cancel' takes it back" in terminal.text.replace("\n", " ")
        assert "Draining" not in terminal.text
        assert server.status()["status"] == "draining"
    finally:
        terminal.close()


async def test_a_force_by_the_servers_operator_is_told_as_forced(start_server: StartServer) -> None:
    server = start_server()
    bob = await join(server.ws_url, "bob")
    running = drain(server)
    await announced(bob)
    while server.process.poll() is None:  # it takes SIGINT for force from the first second on
        server.signal(signal.SIGINT)
        await asyncio.wait([running], timeout=0.25)
    shown = await running
    assert shown.returncode == 4
    assert "1 closed by force" in shown.stdout
    await bob.wait_closed()


def test_lines_come_at_the_start_and_every_ten_seconds() -> None:
    stream = io.StringIO()
    lines = DrainLines(stream)
    lines.began(replace(PROGRESS, elapsed_s=0.0))
    for tenth in range(1, 250):
        lines.progressed(replace(PROGRESS, elapsed_s=tenth / 10))
    told = re.findall(r"elapsed (\S+),", stream.getvalue())
    assert told == ["0:00", "0:10", "0:20"]


def drawn(progress: DrainProgress, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, color_system=None)
    with console.capture() as shown:
        console.print(picture(progress, width))
    return [row.rstrip() for row in shown.get().splitlines()]


def test_a_wide_terminal_has_it_all_in_one_line() -> None:
    for width in (85, 100):
        row = drawn(PROGRESS, width)
        assert len(row) == 1
        assert re.fullmatch(
            r"Draining  \u2501+\s+2 of 4 connected  elapsed 1:05  remaining 28:55  longest: bob", row[0]
        )
    assert len(drawn(PROGRESS, 84)) == 2


@pytest.mark.parametrize(
    ("width", "end"),
    [
        (129, "ETA 0:42  longest: bob"),
        (130, "ETA 0:42  longest: bob 2:05 (12.0 kB waiting)"),
        (139, "ETA 0:42  longest: bob 2:05 (12.0 kB waiting)"),
        (140, "ETA 0:42  longest: bob 2:05 (12.0 kB waiting), eve 1:10"),
    ],
)
def test_who_is_left_is_told_as_far_as_there_is_room(width: int, end: str) -> None:
    row = drawn(replace(PROGRESS, eta_s=42.5), width)
    assert len(row) == 1
    assert row[0].endswith(f"remaining 28:55  {end}")


def test_a_narrow_terminal_tells_the_rest_in_a_second_line() -> None:
    rows = drawn(replace(PROGRESS, eta_s=42.5), 80)
    assert rows[1] == "elapsed 1:05  remaining 28:55  ETA 0:42  longest: bob 2:05 (12.0 kB waiting)"
    assert drawn(replace(PROGRESS, eta_s=42.5), 30)[1] == "remaining 28:55  ETA 0:42"


WAITING = replace(PROGRESS, phase=Phase.LAMEDUCK, active=4, waiting_for=2)
"""Two servers of its cluster drain before it."""


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 120, 200])
@pytest.mark.parametrize("oldest", [None, "bob", "x" * 128, "\u65e5" * 128])
@pytest.mark.parametrize("eta", [None, 12.0, 100_000.0])
@pytest.mark.parametrize("base", [PROGRESS, WAITING], ids=["draining", "waiting"])
def test_a_picture_never_needs_more_columns_or_lines_than_there_are(
    width: int, oldest: str | None, eta: float | None, base: DrainProgress
) -> None:
    progress = replace(base, started_with=10_000, active=5_000, eta_s=eta, **named(oldest))
    rows = drawn(progress, width)
    assert len(rows) <= 2
    assert all(Console().measure(row).maximum <= width for row in rows)
    assert "remaining 28:55" in rows[-1]


def test_who_waits_for_a_turn_says_so_and_how_many_are_before_it() -> None:
    told = "waits for its turn, 2 before it"
    assert drawn(WAITING, 120)[0].startswith(f"Lameduck: {told}  ")
    assert drawn(WAITING, 45)[0] == f"Lameduck: {told}"
    assert standing(WAITING).startswith(f"lameduck: {told}, 4 of 4 connected, elapsed 1:05")
    for other in (replace(WAITING, waiting_for=0), replace(WAITING, phase=Phase.DRAINING)):
        assert "turn" not in standing(other) + "".join(drawn(other, 120))


def test_an_id_cannot_act_on_the_terminal() -> None:
    assert "longest: [b]\\x1b[2J\\n" in drawn(replace(PROGRESS, **named("[b]\x1b[2J\n")), 120)[0]


OWN = replace(
    PROGRESS,
    started_with=9,
    active=7,
    websockets=3,
    responses=2,
    routes=(
        RouteCount(ConnectionKind.WEBSOCKET, "/ws/{room}", 3),
        RouteCount(ConnectionKind.RESPONSE, "/eve\x1b[2J" + "\u65e5" * 60, 2),
    ),
)
"""A drain of an application of one's own, of which one route is what somebody has asked for."""


@pytest.mark.parametrize("width", [24, 40, 60, 80, 100, 120, 300])
def test_the_bar_breaks_the_applications_own_connections_down_in_a_line_that_fits(width: int) -> None:
    stream = io.StringIO()
    console = Console(file=stream, width=width, height=24, force_terminal=True, color_system=None)
    bar = DrainBar(console)
    bar.began(OWN)
    bar.stop()
    rows = [Text.from_ansi(row) for row in stream.getvalue().splitlines()]
    (row,) = {row.plain.strip() for row in rows if "application" in row.plain}
    assert row.startswith("application: 3 WebSockets, 2 responses: /ws/{room} 3, /eve"[: width - 8])
    assert all(row.cell_len <= width for row in rows)
    assert "\x1b[2J\u65e5" not in stream.getvalue()


def test_lines_break_the_applications_own_connections_down_too() -> None:
    one = replace(OWN, websockets=1, responses=0, routes=OWN.routes[:1])
    assert standing(one).endswith("remaining 28:55 (1 WebSocket: /ws/{room} 3)")
    assert standing(PROGRESS).endswith("remaining 28:55")


def test_the_bar_of_a_server_that_is_still_lame_is_drawn_anew_when_clients_are_told() -> None:
    stream = io.StringIO()
    bar = DrainBar(Console(file=stream, width=120, force_terminal=True, color_system=None))
    bar.began(replace(PROGRESS, phase=Phase.LAMEDUCK))
    bar.began(PROGRESS)
    bar.ended(PROGRESS, ExitCode.DONE)
    assert stream.getvalue().index("Lameduck") < stream.getvalue().index("Draining")


@pytest.mark.parametrize(
    ("counts", "told"),
    [
        ({}, "nobody was connected"),
        ({"left": 1}, "1 left by itself"),
        (
            {"left": 2, "evicted": 1, "forced": 3, "aborted": 1, "undelivered": 5},
            "2 left by themselves, 1 closed for breaking a limit, 3 closed by force, "
            "1 cut without an answer, 5 messages not delivered",
        ),
        ({"handed_over": 9, "undelivered": 1}, "9 handed over, 1 message not delivered"),
    ],
)
def test_the_end_says_how_it_went_and_not_what_there_was_not(counts: dict[str, int], told: str) -> None:
    nothing = dict.fromkeys(("left", "evicted", "forced", "aborted", "handed_over", "undelivered"), 0)
    assert outcome(replace(PROGRESS, **nothing | counts)) == f"drained in 1:05: {told}"


@pytest.mark.parametrize(
    ("progress", "hint"),
    [
        (replace(PROGRESS, cancellable=False), "Ctrl-C: close everybody now"),
        (replace(PROGRESS, cancellable=True), "Ctrl-C twice: close everybody now"),
        (replace(PROGRESS, phase=Phase.CLOSING), "Ctrl-C: do not wait for their answers"),
    ],
)
def test_the_bar_of_a_server_says_what_ctrl_c_does_next(progress: DrainProgress, hint: str) -> None:
    stream = io.StringIO()
    bar = DrainBar(Console(file=stream, width=120, force_terminal=True, color_system=None))
    bar.began(progress)
    bar.stop()
    assert hint in stream.getvalue()


class EndedAtOnce:
    """The control API of a server that had stopped when it answered."""

    def __init__(self, forced: int, aborted: int) -> None:
        self._progress = replace(PROGRESS, phase=Phase.STOPPED, active=0, forced=forced, aborted=aborted)

    def wait_drained(self, asked: Callable[[], object]) -> dict[str, Any]:
        asked()
        return {}

    def drain(self, timeout: float | None) -> dict[str, Any]:
        return {"status": Phase.STOPPED, "drain": asdict(self._progress)}


@pytest.mark.parametrize(("forced", "aborted", "code"), [(0, 0, 0), (1, 0, 4), (0, 1, 4)])
def test_a_drain_that_is_over_at_once_has_the_code_of_what_it_did(
    forced: int, aborted: int, code: int
) -> None:
    ended = _begin_and_wait(EndedAtOnce(forced, aborted), 0.0)  # type: ignore[arg-type]
    assert ended["exit_code"] == code
