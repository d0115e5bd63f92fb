"""How a process starts another one of its program, and goes on as one whose parent has ended."""

import os
import socket
import subprocess
import sys

import pytest

from tests.support.other_end import no_descriptor_left
from tests.support.server import DEADLINE
from wsctl.ipc.hello import receive_packet
from wsctl.process.spawn import (
    HANDOVER_FD,
    INITS,
    JOB_FD,
    WORKER_FD,
    daemonize,
    spawn_with_channel,
    why_not_outlived,
)

PROGRAM = """
import os, sys
from wsctl.process.spawn import daemonize
started = os.getpid()
is_successor = daemonize(os.environ)
# Told only when the parent is gone, which closes its end.
sys.stdin.read()
print(is_successor, os.getpid() != started, os.getsid(0) == os.getpid(), os.getpid())
"""

LATE = """
import os, sys
from wsctl.ipc.framing import encode_packet
from wsctl.process import spawn

leave = os._exit
os._exit = lambda code: (sys.stdin.read(), leave(code))
started = os.getpid()
spawn.daemonize(os.environ)
here = {"alone": os.getppid() != started}
os.write(int(os.environ[spawn.HANDOVER_FD]), encode_packet("here", here, (), ()))
"""
"""A successor whose parent ends late: when its standard input does."""

STARTER = """
import os, socket, subprocess, sys
from wsctl.process.spawn import HANDOVER_FD, JOB_FD, WORKER_FD, Spawner

GIVEN = [HANDOVER_FD, WORKER_FD, JOB_FD, "LISTEN_FDS", "NOTIFY_SOCKET", "KEPT"]

def ends(name):
    ours, theirs = socket.socketpair()
    mine.append(ours)
    return theirs

if "STARTER" in os.environ.get("KEPT", ""):
    mine = []
    environ = {**dict.fromkeys(GIVEN, "77"), "KEPT": "by the successor", "PATH": os.environ["PATH"]}
    spawner = Spawner(environ)
    if sys.argv[1] == "successor":
        with ends(HANDOVER_FD) as channel:
            process = spawner.successor(channel.fileno(), ends(JOB_FD))
    else:
        with ends(WORKER_FD) as channel, ends(HANDOVER_FD) as predecessor:
            process = spawner.worker(channel.fileno(), predecessor.fileno())
    print([end.recv(99).decode() for end in mine])  # each end that is open here alone hangs up
    print(process.wait())
else:
    for name in (HANDOVER_FD, WORKER_FD, JOB_FD):
        if os.environ.get(name, "77") != "77":
            socket.socket(fileno=int(os.environ[name])).sendall(name.encode())
    names = [name for name in GIVEN if name in os.environ]
    os.write(2, f"{names} {os.environ['KEPT']} {os.getpgrp() == os.getpid()}".encode())
"""


def _started(kind: str) -> tuple[list[str], str]:
    """What came over the channels of a process that was started, and what it says it was given."""
    shown = subprocess.run(
        [sys.executable, "-u", "-c", STARTER, kind],
        env=dict(os.environ) | {"KEPT": "STARTER"},
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=True,
    )
    return shown.stdout.splitlines(), shown.stderr


def test_a_successor_has_its_channel_its_line_and_the_same_environment_but_for_what_was_ours() -> None:
    told, given = _started("successor")
    assert told == [f"['{HANDOVER_FD}', '{JOB_FD}']", "0"]
    assert given == f"['{HANDOVER_FD}', '{JOB_FD}', 'NOTIFY_SOCKET', 'KEPT'] by the successor False"


def test_a_worker_leaves_systemd_to_its_parent_and_has_a_group_of_its_own() -> None:
    told, given = _started("worker")
    assert told == [f"['{WORKER_FD}', '{HANDOVER_FD}']", "0"]
    assert given == f"['{HANDOVER_FD}', '{WORKER_FD}', 'KEPT'] by the successor True"


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


def test_a_successor_tells_its_number_before_anything_else_and_begins_when_its_parent_has_ended() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        with subprocess.Popen(
            [sys.executable, "-c", LATE],
            env=dict(os.environ) | {HANDOVER_FD: str(theirs.fileno())},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.PIPE,
        ) as process:
            told = receive_packet(ours, DEADLINE)
            assert process.poll() is None
        here = receive_packet(ours, DEADLINE)
    assert told.kind == "pid"
    assert told.fields["pid"] != process.pid
    assert (here.kind, here.fields) == ("here", {"alone": True})


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


def test_a_process_has_one_end_and_whoever_starts_it_the_other() -> None:
    ours, theirs = spawn_with_channel(lambda channel: socket.socket(fileno=os.dup(channel)))
    with ours, theirs:
        theirs.sendall(b"here")
        assert ours.recv(9) == b"here"
        theirs.close()
        assert ours.recv(9) == b""


def test_of_a_process_that_cannot_be_started_nothing_is_left() -> None:
    kept: list[int] = []

    def fail(channel: int) -> None:
        kept.append(channel)
        raise OSError("no room")

    with no_descriptor_left(), pytest.raises(OSError, match="no room"):
        spawn_with_channel(fail)
    assert kept
