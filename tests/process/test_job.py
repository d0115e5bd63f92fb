"""The process that was started stays where somebody waits for it."""

import signal
import socket
import subprocess

import pytest

from tests.support.server import DEADLINE
from wsctl.drain.progress import HandoverProgress, HandoverState
from wsctl.process.job import Job, job


@pytest.mark.parametrize(
    ("environ", "stays", "outlives"),
    [({}, False, False), ({}, True, True), ({"NOTIFY_SOCKET": "/run/notify"}, True, False)],
)
def test_it_stays_where_it_is_told_to_and_no_service_manager_knows_the_others(
    environ: dict[str, str], stays: bool, outlives: bool
) -> None:
    assert job(environ, stays=stays).outlives is outlives


def test_who_has_handed_over_passes_signals_on_that_still_reach_it() -> None:
    ours, theirs = socket.socketpair()
    successor = subprocess.Popen(["sleep", "60"])
    with ours, theirs, successor:
        part = Job(ours, supervised=False)
        assert not part.pass_on(signal.SIGTERM)
        done = HandoverProgress(
            state=HandoverState.DONE,
            successor=successor.pid,
            total=0,
            moved=0,
            staying=0,
            elapsed_s=0.0,
            silence_s=0.0,
            error=None,
        )
        part.handing_over(done)
        assert theirs.recv(99) == b"serves %d\n" % successor.pid
        assert part.pass_on(signal.SIGHUP)
        assert successor.wait(DEADLINE) == -signal.SIGTERM
