"""Who goes on in a process whose parent has ended."""

import os
import socket
import subprocess
import sys

from tests.support.server import DEADLINE
from wsctl.ipc.handshake import HANDOVER_FD, WORKER_FD, receive_packet
from wsctl.lifecycle.orphan import leave_parent

PROGRAM = """
import os, sys
from wsctl.lifecycle.orphan import leave_parent
started = os.getpid()
is_successor = leave_parent(os.environ)
# Told only when the parent is gone, which closes its end.
sys.stdin.read()
print(is_successor, os.getpid() != started, os.getsid(0) == os.getpid(), os.getpid())
"""


def test_who_is_no_successor_stays_what_it_is() -> None:
    before = os.getpid()
    assert leave_parent({}) is False
    assert leave_parent({HANDOVER_FD: "none"}) is False
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
