"""The process that was started stays where somebody waits for it."""

import signal
import socket
import subprocess

import pytest

from tests.support.server import DEADLINE
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.process.job import Job, job
from wsctl.process.waiter import Waiter


@pytest.mark.parametrize(
    ("environ", "stays", "outlives"),
    [({}, False, False), ({}, True, True), ({"NOTIFY_SOCKET": "/run/notify"}, True, False)],
)
def test_it_stays_where_it_is_told_to_and_no_service_manager_knows_the_others(
    environ: dict[str, str], stays: bool, outlives: bool
) -> None:
    assert job(environ, stays=stays).outlives is outlives


def done(successor: int) -> HandoverProgress:
    return HandoverProgress(
        state=HandoverState.DONE,
        successor=successor,
        total=0,
        moved=0,
        staying=0,
        elapsed_s=0.0,
        silence_s=0.0,
        error=None,
    )


def ended() -> int:
    """The pid of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_who_has_handed_over_passes_signals_on_that_still_reach_it() -> None:
    ours, theirs = socket.socketpair()
    successor = subprocess.Popen(["sleep", "60"])
    with ours, theirs, successor:
        part = Job(ours, supervised=False)
        assert not part.pass_on(signal.SIGTERM)
        part.handing_over(done(successor.pid))
        assert theirs.recv(99) == b"serves %d\n" % successor.pid
        assert part.pass_on(signal.SIGHUP)
        assert successor.wait(DEADLINE) == -signal.SIGTERM


def test_the_first_process_passes_them_on_to_who_serves_by_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wsctl.process.job._adopt_orphans", lambda: None)
    part = Job(None, supervised=False, stays=True)
    line, serving = part.line_for_successor(), subprocess.Popen(["sleep", "60"])
    assert line
    assert part._waits_at
    with line, part._waits_at, serving:
        part.handing_over(done(ended()))
        line.sendall(b"serves %d\nserves %d\nserves 1" % (ended(), serving.pid))  # the last one is not whole
        for _ in range(2):  # it stays there, for the waiter
            assert part.pass_on(signal.SIGUSR1)
        assert serving.wait(DEADLINE) == -signal.SIGUSR1


def test_the_waiter_passes_those_on_that_other_threads_caught_before() -> None:
    (ours, theirs), (caught, noted) = socket.socketpair(), socket.socketpair()
    serving = subprocess.Popen(["sleep", "60"])
    with ours, theirs, noted, serving:
        noted.send(bytes([signal.SIGUSR1]))
        Waiter(ours.fileno(), serving.pid, caught.detach())._pass_caught()
        assert serving.wait(DEADLINE) == -signal.SIGUSR1


def test_the_waiter_passes_them_on_to_who_serves_though_it_is_told_of_that_and_of_the_signal_at_once() -> (
    None
):
    ours, theirs = socket.socketpair()
    serving = subprocess.Popen(["sleep", "60"])
    with ours, theirs, serving:
        theirs.sendall(b"serves %d\nserves 1" % serving.pid)
        Waiter(ours.fileno(), ended())._pass(signal.SIGUSR1, from_terminal=False)
        assert serving.wait(DEADLINE) == -signal.SIGUSR1
