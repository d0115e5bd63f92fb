"""`wsctl upgrade`, as a process, and what it shows."""

import io
import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from tests.support.fake_control import FakeControl, Upgrade, announced_fake, fake_at_a_url
from tests.support.server import WSCTL, wsctl
from tests.support.terminal import Terminal
from wsctl.cli.ui.handover_bar import HandoverLines, outcome, picture, standing
from wsctl.drain.progress import HandoverProgress, HandoverState

START = HandoverProgress(HandoverState.STARTING, None, 0, 0, 0, 0.0, 0.0, None)
MOVE = HandoverProgress(HandoverState.MOVING, 4711, 1000, 120, 10, 1.5, 0.02, None)
END = HandoverProgress(HandoverState.DONE, 4711, 1000, 990, 10, 2.0, 0.081, None)
FAILURE = replace(START, state=HandoverState.FAILED, error="the successor ended with 3")

STARTING, MOVING, DONE, FAILED = (asdict(progress) for progress in (START, MOVE, END, FAILURE))

UPGRADED = "upgraded: moved 990, draining 10 in the old process, longest silence 81 ms (pid 4711 serves)\n"


@pytest.fixture
def server(runtime_dir: Path) -> Iterator[FakeControl]:
    """A server that hands over without trouble."""
    with announced_fake(runtime_dir, 7) as fake:
        fake.course, fake.end = [STARTING, STARTING, MOVING], DONE
        yield fake


def test_it_shows_the_upgrade_to_its_end(server: FakeControl, environ: dict[str, str]) -> None:
    shown = wsctl("upgrade", environ=environ)
    assert (shown.returncode, shown.stdout) == (0, UPGRADED)
    assert shown.stderr.splitlines() == [
        "starting the successor, elapsed 0:00",
        "moving: 120 of 1000 moved, elapsed 0:01",
    ]


def test_as_json_the_end_is_one_object(server: FakeControl, environ: dict[str, str]) -> None:
    shown = wsctl("upgrade", "--json", environ=environ)
    assert (shown.returncode, json.loads(shown.stdout)) == (0, DONE)


@pytest.mark.parametrize("course", [[STARTING], [FAILED]], ids=["later", "at once"])
def test_a_failure_is_told_and_the_server_goes_on(
    server: FakeControl, environ: dict[str, str], course: list[Upgrade]
) -> None:
    server.course, server.end = course, FAILED
    failed = wsctl("upgrade", environ=environ)
    assert (failed.returncode, failed.stdout) == (1, "")
    last = failed.stderr.splitlines()[-1]
    assert last == "wsctl: the upgrade failed: the successor ended with 3; the server goes on"


def test_a_failure_as_json_is_an_object_and_a_line(server: FakeControl, environ: dict[str, str]) -> None:
    server.end = FAILED
    failed = wsctl("upgrade", "--json", environ=environ)
    assert (failed.returncode, json.loads(failed.stdout)) == (1, FAILED)
    assert "wsctl: the upgrade failed: " in failed.stderr


@pytest.mark.parametrize(
    ("refusal", "exit_code", "told"),
    [
        ((409, "an upgrade is under way"), 1, "wsctl: an upgrade is under way\n"),
        ((401, "no"), 6, "wants its token: set WSCTL_TOKEN_FILE or WSCTL_TOKEN\n"),
        (
            (404, "no"),
            5,
            "is no wsctl server: it answered 404 with something else; if it has --admin-port, "
            "name that address\n",
        ),
    ],
)
def test_a_refusal_is_one_line(
    server: FakeControl, environ: dict[str, str], refusal: tuple[int, str], exit_code: int, told: str
) -> None:
    server.refusal = refusal
    failed = wsctl("upgrade", environ=environ)
    assert (failed.returncode, failed.stdout) == (exit_code, "")
    assert failed.stderr.endswith(told)
    assert failed.stderr.count("\n") == 1


def test_a_server_that_vanishes_is_not_said_to_be_upgraded(
    server: FakeControl, environ: dict[str, str]
) -> None:
    server.end = None
    failed = wsctl("upgrade", environ=environ)
    assert (failed.returncode, failed.stdout) == (1, "")
    last = failed.stderr.splitlines()[-1]
    assert last.startswith("wsctl: the server went away before it told how the upgrade ended: 'wsctl status'")


def test_without_waiting_it_starts_the_upgrade_and_ends(server: FakeControl, environ: dict[str, str]) -> None:
    server.awaited = False
    shown = wsctl("upgrade", "--no-wait", environ=environ)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout == "starting the successor, elapsed 0:00\n"
    assert json.loads(wsctl("upgrade", "--no-wait", "--json", environ=environ).stdout) == STARTING
    assert not server.asked.is_set()


def test_a_proxy_that_cuts_long_requests_does_not_hide_the_end(environ: dict[str, str]) -> None:
    with fake_at_a_url() as (server, url):
        server.course, server.end, server.hangs_up = [STARTING, MOVING, DONE], DONE, True
        shown = wsctl("upgrade", "--url", url, environ=environ)
    assert (shown.returncode, shown.stdout) == (0, UPGRADED)


def test_at_an_address_that_the_successor_has_by_then_the_end_is_told_all_the_same(
    environ: dict[str, str],
) -> None:
    with fake_at_a_url() as (server, url):

        def course() -> Iterator[Upgrade | None]:
            yield STARTING
            server.conclude()
            yield None

        server.course, server.end = course(), DONE
        shown = wsctl("upgrade", "--url", url, environ=environ)
    assert (shown.returncode, shown.stdout) == (0, UPGRADED)


def test_what_nobody_can_tell_at_an_address_any_more_is_not_called_an_upgrade(
    environ: dict[str, str],
) -> None:
    with fake_at_a_url() as (server, url):
        server.course, server.hangs_up = itertools.chain([STARTING], itertools.repeat(None)), True
        failed = wsctl("upgrade", "--url", url, environ=environ)
    assert (failed.returncode, failed.stdout) == (1, "")
    assert "the server went away before it told how the upgrade ended" in failed.stderr


def test_the_process_that_serves_is_upgraded_and_not_the_one_before(
    runtime_dir: Path, environ: dict[str, str]
) -> None:
    with (
        announced_fake(runtime_dir, 7, generation=1, status="draining") as older,
        announced_fake(runtime_dir, 8, generation=2) as newer,
    ):
        newer.course, newer.end = [STARTING], DONE
        assert wsctl("upgrade", environ=environ).stdout == UPGRADED
        assert not older.asked.is_set()


def test_without_a_server_there_is_nothing_to_upgrade(environ: dict[str, str]) -> None:
    failed = wsctl("upgrade", environ=environ)
    assert (failed.returncode, failed.stdout) == (5, "")
    assert failed.stderr.startswith("wsctl: no server runs here")


@pytest.fixture
def stages() -> tuple[threading.Event, threading.Event]:
    """The start of the successor is over; the move is over."""
    return threading.Event(), threading.Event()


@pytest.fixture
def terminal(
    server: FakeControl, stages: tuple[threading.Event, threading.Event], environ: dict[str, str]
) -> Iterator[Terminal]:
    """The command on a terminal, and a server that goes on when it is told to."""

    def course() -> Iterator[Upgrade]:
        for stage, upgrade in zip(stages, (STARTING, MOVING), strict=True):
            yield from itertools.takewhile(lambda _, over=stage: not over.is_set(), itertools.repeat(upgrade))

    server.course = course()
    shown = Terminal([*WSCTL, "upgrade"], environ, columns=80)
    yield shown
    shown.close()


def test_on_a_terminal_a_bar_moves_and_leaves_the_outcome(
    terminal: Terminal, stages: tuple[threading.Event, threading.Event]
) -> None:
    started, moved = stages
    assert terminal.wait_for("elapsed 0:00") == "Starting the successor  elapsed 0:00"
    started.set()
    rows = terminal.wait_for("120 of 1000 moved").splitlines()
    assert len(rows) == 1
    assert rows[0].startswith("Moving  ")
    assert "\u2501" in rows[0]
    moved.set()
    assert terminal.wait() == 0
    # The terminal's width breaks the line, where a blank may be.
    assert "".join(terminal.text.split()) == "".join(UPGRADED.split())


def test_ctrl_c_stops_the_watching_and_not_the_upgrade(terminal: Terminal) -> None:
    terminal.wait_for("Starting the successor")
    terminal.type("\x03")
    assert terminal.wait() == 130
    assert terminal.text.endswith("wsctl: the upgrade goes on: 'wsctl status' shows it")
    assert "Starting" not in terminal.text


def test_lines_come_with_each_state_and_every_ten_seconds() -> None:
    stream = io.StringIO()
    lines = HandoverLines(stream)
    for tenth in range(250):
        lines.show(replace(START if tenth < 35 else MOVE, elapsed_s=tenth / 10))
    told = [row.rpartition(" ") for row in stream.getvalue().splitlines()]
    assert [clock for _, _, clock in told] == ["0:00", "0:03", "0:13", "0:23"]
    assert [row.split()[0] for row, _, _ in told] == ["starting", "moving:", "moving:", "moving:"]


def drawn(progress: HandoverProgress, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, soft_wrap=True, color_system=None)
    with console.capture() as shown:
        console.print(picture(progress, width))
    return [row.rstrip() for row in shown.get().splitlines()]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("progress", [START, MOVE, replace(MOVE, total=100_000, moved=99_999)])
def test_a_picture_is_one_line_however_narrow(progress: HandoverProgress, width: int) -> None:
    rows = drawn(progress, width)
    assert len(rows) == 1
    assert len(rows[0]) <= width
    assert "\u2026" not in rows[0]


def test_a_picture_drops_the_bar_first_and_then_the_time() -> None:
    assert "\u2501" in drawn(MOVE, 60)[0]
    assert drawn(MOVE, 44) == ["Moving  120 of 1000 moved  elapsed 0:01"]
    assert drawn(MOVE, 30) == ["Moving  120 of 1000 moved"]


def test_a_successor_s_own_words_cannot_act_on_the_terminal() -> None:
    assert standing(replace(FAILURE, error="bad\x1b[2J\nand worse")) == "failed: bad\\x1b[2J and worse"
    assert standing(replace(FAILURE, error=None)) == "failed: the server does not say why"


def test_where_nothing_has_moved_no_silence_is_claimed() -> None:
    told = outcome(replace(END, moved=0, staying=1, silence_s=0.0))
    assert told == "upgraded: moved 0, draining 1 in the old process (pid 4711 serves)"
    told = outcome(replace(END, moved=2, staying=0, silence_s=0.081))
    assert told == "upgraded: moved 2, draining 0, longest silence 81 ms (pid 4711 serves)"
