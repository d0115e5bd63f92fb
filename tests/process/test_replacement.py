"""Who can be replaced, and who goes on in a process whose parent has ended."""

import os
import socket
import subprocess
import sys

import pytest

from tests.support.server import DEADLINE
from wsctl.ipc.handshake import HANDOVER_FD, WORKER_FD, receive_packet
from wsctl.process.replacement import INITS, daemonize, why_not_outlived

PROGRAM = """
import os, sys
from wsctl.process.replacement import daemonize
started = os.getpid()
is_successor = daemonize(os.environ)
# Told only when the parent is gone, which closes its end.
sys.stdin.read()
print(is_successor, os.getpid() != started, os.getsid(0) == os.getpid(), os.getpid())
"""


def test_who_is_no_successor_stays_what_it_is() -> None:
    before = os.getpid()
    assert daemonize({}) is False
    assert daemonize({HANDOVER_FD: "none"}) is False
    assert os.getpid() == before


def test_a_successor_goes_on_without_its_parent_and_its_terminal_and_tells_its_number() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=dict(os.environ) | {HANDOVER_FD: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.wait(DEADLINE) == 0
        told = receive_packet(ours, DEADLINE)
        output, _ = process.communicate("", DEADLINE)
    assert told.kind == "pid"
    assert output.split() == ["True", "True", "True", str(told.fields["pid"])]


def test_a_worker_stays_the_child_of_its_parent_and_tells_its_number_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        fd = str(theirs.fileno())
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            env=dict(os.environ) | {HANDOVER_FD: fd, WORKER_FD: fd},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        told = receive_packet(ours, DEADLINE)
        output, _ = process.communicate("", DEADLINE)
    assert (told.kind, told.fields) == ("pid", {"pid": process.pid})
    assert output.split() == ["True", "False", "False", str(process.pid)]


def test_process_1_is_the_container() -> None:
    assert "process 1" in (why_not_outlived(1, 0) or "")


@pytest.mark.parametrize("name", sorted(INITS))
def test_the_child_of_an_init_that_ends_with_it_is_the_container_too(name: str) -> None:
    assert name in (why_not_outlived(7, 1, lambda: name) or "")


@pytest.mark.parametrize(("parent", "first"), [(1, "systemd"), (1, "launchd"), (1, ""), (6, "tini")])
def test_any_other_process_may_end(parent: int, first: str) -> None:
    assert why_not_outlived(7, parent, lambda: first) is None


def test_this_one_may() -> None:
    assert why_not_outlived() is None
