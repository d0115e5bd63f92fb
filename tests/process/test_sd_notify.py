"""What systemd is told, and that nothing can come of not being heard."""

import logging
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.supervisor import Supervisor
from wsctl.codes import ExitCode
from wsctl.drain.phases import Phase
from wsctl.drain.progress import DrainProgress, HandoverProgress, HandoverState
from wsctl.process import sd_notify
from wsctl.process.sd_notify import EXTENSION, REPORT_EVERY, RETRY, SystemdNotifier, status_text

PID = 100

Notify = Callable[..., SystemdNotifier]

EXTEND = "EXTEND_TIMEOUT_USEC=30000000"

DRAINING = DrainProgress(
    phase=Phase.DRAINING,
    reason="SIGTERM",
    cancellable=False,
    started_with=12,
    active=3,
    elapsed_s=10.0,
    remaining_s=1790.0,
    left=8,
    evicted=1,
    forced=0,
    aborted=0,
    undelivered=0,
    oldest="bob",
)
CANCELLABLE = replace(DRAINING, reason="requested", cancellable=True)
STOPPED = replace(DRAINING, phase=Phase.STOPPED, active=0, left=9, forced=1, aborted=1)

STATUS = "STATUS=draining: 3 of 12 clients connected, 0:29:50 remaining"


class Loop:
    """Calls later, when the test says that time has passed."""

    def __init__(self) -> None:
        self.now = 0.0
        self._due: list[tuple[float, Callable[[], None]]] = []

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        self._due.append((self.now + seconds, call))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end = self.now + seconds
        while due := [each for each in self._due if each[0] <= end]:
            first = min(due, key=lambda each: each[0])
            self._due.remove(first)
            self.now = first[0]
            first[1]()
        self.now = end


@pytest.fixture
def supervisor(runtime_dir: Path) -> Iterator[Supervisor]:
    with Supervisor(str(runtime_dir / "notify")) as found:
        yield found


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def notify(supervisor: Supervisor, loop: Loop) -> Iterator[Notify]:
    """Notifiers of a process that the supervisor started, closed at the end."""
    with ExitStack() as stack:

        def make(environ: dict[str, str] | None = None, *, adopted: bool = False) -> SystemdNotifier:
            found = SystemdNotifier(supervisor.environ | (environ or {}), PID, loop.later, adopted=adopted)
            stack.callback(found.close)
            return found

        yield make


def test_a_server_that_serves_is_ready(notify: Notify, supervisor: Supervisor) -> None:
    notify().ready()
    assert supervisor.heard() == [["READY=1", "STATUS=serving"]]


@pytest.mark.skipif(sys.platform != "linux", reason="the abstract namespace is Linux's")
def test_an_abstract_socket_is_heard_too(loop: Loop) -> None:
    with Supervisor(f"@wsctl-test-{os.getpid()}-{time.monotonic_ns()}") as abstract:
        notifier = SystemdNotifier(abstract.environ, PID, loop.later)
        notifier.ready()
        assert abstract.heard() == [["READY=1", "STATUS=serving"]]
        notifier.close()


@pytest.mark.parametrize(
    ("socket_at", "noted"),
    [
        (None, 0),
        ("", 0),
        ("vsock:2:1234", 0),
        ("@", 1),
        ("/nowhere/socket", 1),
        ("/" + "x" * 300, 1),
        ("/\udcff", 1),
    ],
)
def test_nobody_has_to_listen(
    socket_at: str | None, noted: int, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    given = {} if socket_at is None else {"NOTIFY_SOCKET": socket_at}
    notifier = SystemdNotifier(given | {"WATCHDOG_USEC": "1000000"}, PID, loop.later)
    with caplog.at_level(logging.DEBUG, "wsctl"):
        notifier.ready()
        notifier.began(DRAINING)
        loop.run(10)
        notifier.close()
        notifier.ended(STOPPED, ExitCode.DONE)
    assert [record.levelno for record in caplog.records] == [logging.DEBUG] * noted


def test_a_socket_that_went_away_is_noted_once(
    notify: Notify, supervisor: Supervisor, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    notifier = notify({"WATCHDOG_USEC": "2000000"})
    notifier.ready()
    os.unlink(supervisor.environ["NOTIFY_SOCKET"])
    with caplog.at_level(logging.DEBUG, "wsctl"):
        loop.run(10)
        notifier.began(DRAINING)
    assert [record.getMessage() for record in caplog.records] == ["systemd does not hear"]
    assert "No such file" in caplog.records[0].__dict__["fields"]["why"]


def _fill(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            while True:
                sock.sendto(b"noise", path)
        except OSError:
            pass


def test_what_a_full_socket_did_not_take_is_said_again(
    notify: Notify, supervisor: Supervisor, loop: Loop
) -> None:
    notifier = notify()
    _fill(supervisor.environ["NOTIFY_SOCKET"])
    notifier.ready()
    loop.run(3 * RETRY)
    assert {"noise"} == {line for said in supervisor.heard() for line in said}
    loop.run(RETRY)
    assert supervisor.heard() == [["READY=1", "STATUS=serving"]]
    loop.run(100)
    assert supervisor.heard() == []


def test_at_the_end_what_a_full_socket_did_not_take_waits_for_room(
    notify: Notify, supervisor: Supervisor
) -> None:
    notifier = notify()
    _fill(supervisor.environ["NOTIFY_SOCKET"])
    notifier.main_pid(200)
    closing = threading.Thread(target=notifier.close)
    closing.start()
    said = supervisor.hear_one("MAINPID=")
    closing.join()
    assert said == ["MAINPID=200", "READY=1", "STATUS=serving"]


def test_an_end_waits_no_longer_than_it_may(
    notify: Notify, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sd_notify, "CLOSE_TIMEOUT", 0.01)
    notifier = notify()
    _fill(supervisor.environ["NOTIFY_SOCKET"])
    notifier.main_pid(200)
    notifier.close()
    assert {"noise"} == {line for said in supervisor.heard() for line in said}


def test_of_two_changes_that_a_full_socket_did_not_take_the_later_counts(
    notify: Notify, supervisor: Supervisor, loop: Loop
) -> None:
    notifier = notify()
    _fill(supervisor.environ["NOTIFY_SOCKET"])
    notifier.reloading()
    notifier.main_pid(200)
    supervisor.heard()
    loop.run(10 * RETRY)
    assert supervisor.heard() == [["MAINPID=200", "READY=1", "STATUS=serving"]]


def test_figures_that_a_full_socket_did_not_take_are_not_said_late(
    notify: Notify, supervisor: Supervisor, loop: Loop
) -> None:
    notifier = notify()
    notifier.began(DRAINING)
    _fill(supervisor.environ["NOTIFY_SOCKET"])
    notifier.progressed(DRAINING)
    supervisor.heard()
    loop.run(10 * RETRY)
    assert supervisor.heard() == []


def test_a_drain_that_is_final_is_a_stop_and_asks_for_time(notify: Notify, supervisor: Supervisor) -> None:
    notifier = notify()
    notifier.began(DRAINING)
    notifier.progressed(replace(DRAINING, active=2, remaining_s=1785.0))
    notifier.progressed(replace(DRAINING, phase=Phase.CLOSING, active=1, remaining_s=0.0))
    notifier.ended(STOPPED, ExitCode.FORCED)
    assert supervisor.heard() == [
        ["STOPPING=1", STATUS, EXTEND],
        ["STATUS=draining: 2 of 12 clients connected, 0:29:45 remaining", EXTEND],
        ["STATUS=closing: 1 of 12 clients connected, 0:00:00 remaining", EXTEND],
        ["STATUS=stopped: 9 clients left, 2 closed by force", EXTEND],
    ]


def test_each_extension_outlasts_several_reports() -> None:
    assert EXTENSION >= 3 * REPORT_EVERY
    assert SystemdNotifier.interval == REPORT_EVERY


def test_a_drain_that_can_be_cancelled_is_no_stop_yet(notify: Notify, supervisor: Supervisor) -> None:
    notifier = notify()
    notifier.began(replace(CANCELLABLE, phase=Phase.LAMEDUCK))
    notifier.progressed(CANCELLABLE)
    notifier.cancelled()
    notifier.began(CANCELLABLE)
    assert supervisor.heard() == [
        [STATUS.replace("draining", "lameduck")],
        [STATUS],
        ["READY=1", "STATUS=serving"],
        [STATUS],
    ]
    notifier.progressed(DRAINING)  # a signal came
    notifier.progressed(DRAINING)
    assert supervisor.heard() == [["STOPPING=1", STATUS, EXTEND], [STATUS, EXTEND]]


def test_a_drain_that_ends_before_it_was_final_is_a_stop_after_all(
    notify: Notify, supervisor: Supervisor
) -> None:
    notifier = notify()
    notifier.began(CANCELLABLE)
    notifier.ended(STOPPED, ExitCode.DONE)
    assert [said[0] for said in supervisor.heard()] == [STATUS, "STOPPING=1"]


def test_the_figures_tell_when_it_will_be_over() -> None:
    assert status_text(replace(DRAINING, eta_s=3725.4)).endswith("0:29:50 remaining, done in about 1:02:05")


def test_a_handover_is_a_reload_that_ends_with_another_main_process(
    notify: Notify, supervisor: Supervisor
) -> None:
    old, new = notify(), notify(adopted=True)
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    old.reloading()
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    ((reload, at, status),) = supervisor.heard()
    assert (reload, status) == ("RELOADING=1", "STATUS=handing over to a fresh process")
    assert before <= int(at.removeprefix("MONOTONIC_USEC=")) <= after
    old.main_pid(200)
    new.ready()
    assert supervisor.heard() == [
        ["MAINPID=200", "READY=1", "STATUS=serving"],
        ["READY=1", "STATUS=serving"],
    ]


def test_who_handed_over_says_nothing_more(notify: Notify, supervisor: Supervisor, loop: Loop) -> None:
    notifier = notify({"WATCHDOG_USEC": "2000000"})
    notifier.ready()
    notifier.reloading()
    notifier.main_pid(200)
    # The successor has a whole interval from here on.
    assert supervisor.heard()[-1] == ["MAINPID=200", "READY=1", "STATUS=serving", "WATCHDOG=1"]
    notifier.began(DRAINING)
    notifier.progressed(DRAINING)
    notifier.ended(STOPPED, ExitCode.DONE)
    notifier.ready()
    notifier.reloading()
    notifier.main_pid(300)
    loop.run(60)
    assert supervisor.heard() == []


def test_after_a_failed_handover_it_is_ready_again_and_can_still_stop(
    notify: Notify, supervisor: Supervisor
) -> None:
    notifier = notify()
    notifier.ready()
    notifier.reloading()
    notifier.ready()
    notifier.began(DRAINING)
    assert [said[0] for said in supervisor.heard()] == ["READY=1", "RELOADING=1", "READY=1", "STOPPING=1"]


def _handover(state: HandoverState, successor: int | None = 200) -> HandoverProgress:
    return HandoverProgress(
        state, successor, total=3, moved=2, staying=1, elapsed_s=1.0, silence_s=0.1, error=None
    )


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([HandoverState.STARTING, HandoverState.MOVING], ["RELOADING=1"]),
        ([HandoverState.STARTING, HandoverState.MOVING, HandoverState.DONE], ["RELOADING=1", "MAINPID=200"]),
        ([HandoverState.STARTING, HandoverState.FAILED], ["RELOADING=1", "READY=1"]),
    ],
)
def test_it_follows_a_handover(
    notify: Notify, supervisor: Supervisor, states: list[HandoverState], said: list[str]
) -> None:
    notifier = notify()
    for state in states:
        notifier.handing_over(_handover(state))
    assert [lines[0] for lines in supervisor.heard()] == said


def test_a_handover_that_fails_when_a_stop_was_asked_for_is_no_return(
    notify: Notify, supervisor: Supervisor
) -> None:
    notifier = notify()
    notifier.handing_over(_handover(HandoverState.STARTING))
    notifier.began(DRAINING)
    notifier.handing_over(_handover(HandoverState.FAILED))
    assert [lines[0] for lines in supervisor.heard()] == ["RELOADING=1", "STOPPING=1"]


def _beats(supervisor: Supervisor) -> int:
    return supervisor.heard().count(["WATCHDOG=1"])


def test_it_beats_twice_an_interval_from_when_it_is_ready(
    notify: Notify, supervisor: Supervisor, loop: Loop
) -> None:
    notifier = notify({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(PID)})
    loop.run(10)
    assert _beats(supervisor) == 0
    notifier.ready()
    assert _beats(supervisor) == 1
    for _ in range(4):
        loop.run(1.49)
        assert _beats(supervisor) == 0
        loop.run(0.01)
        assert _beats(supervisor) == 1


def test_being_ready_again_does_not_beat_faster(notify: Notify, supervisor: Supervisor, loop: Loop) -> None:
    notifier = notify({"WATCHDOG_USEC": "2000000"})
    for _ in range(3):
        notifier.ready()
    loop.run(4)
    assert _beats(supervisor) == 5


@pytest.mark.parametrize(
    ("environ", "adopted", "beats"),
    [
        ({"WATCHDOG_USEC": "2000000"}, False, True),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "100"}, False, True),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "99"}, False, False),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": ""}, False, False),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "99"}, True, True),
        ({"WATCHDOG_PID": "100"}, False, False),
        ({"WATCHDOG_USEC": "0"}, False, False),
        ({"WATCHDOG_USEC": "-5"}, False, False),
        ({"WATCHDOG_USEC": "2s"}, True, False),
        ({"WATCHDOG_USEC": "9" * 5000}, False, False),
        ({}, True, False),
    ],
)
def test_the_watchdog_is_whom_it_names_or_the_successor(
    notify: Notify, supervisor: Supervisor, environ: dict[str, str], adopted: bool, beats: bool
) -> None:
    notify(environ, adopted=adopted).ready()
    assert bool(_beats(supervisor)) is beats


FACTS: dict[str, Callable[[SystemdNotifier], None]] = {
    "ready": SystemdNotifier.ready,
    "a handover": SystemdNotifier.reloading,
    "a successor": lambda notifier: notifier.main_pid(200),
    "a drain": lambda notifier: notifier.began(CANCELLABLE),
    "a final drain": lambda notifier: notifier.progressed(DRAINING),
    "cancelled": SystemdNotifier.cancelled,
    "the end": lambda notifier: notifier.ended(STOPPED, ExitCode.DONE),
}


def _told(facts: list[str]) -> list[list[str]]:
    """What a supervisor hears of some facts."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder, Supervisor(f"{folder}/notify") as supervisor:
        notifier = SystemdNotifier(supervisor.environ, PID, Loop().later)
        told = []
        for fact in facts:
            FACTS[fact](notifier)
            told += supervisor.heard()
        notifier.close()
        return told


@given(st.lists(st.sampled_from(sorted(FACTS))))
def test_time_is_asked_for_in_a_stop_alone_and_a_successor_is_the_last_word(facts: list[str]) -> None:
    told = _told(facts)
    firsts = [said[0].partition("=")[0] for said in told]
    assert firsts.count("STOPPING") <= 1
    assert "MAINPID" not in firsts[:-1]
    stop = firsts.index("STOPPING") if "STOPPING" in firsts else len(told)
    assert not [said for said in told[:stop] if EXTEND in said]
    assert "READY" not in firsts[stop:]
