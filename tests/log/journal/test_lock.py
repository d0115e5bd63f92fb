"""The lock of a journal, which ends with its process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from wsctl.log.journal.errors import UnusableJournal
from wsctl.log.journal.lock import FileLock, writer_of


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "journal")


HOLDER = """
import os, sys, time
from wsctl.log.journal.lock import FileLock
lock = FileLock(sys.argv[1])
child = os.fork() if len(sys.argv) > 2 else 1
print(os.getpid(), flush=True)
sys.stdin.read()
"""


def hold(path: str, *arguments: str) -> "subprocess.Popen[str]":
    """Another process that has the lock."""
    command = [sys.executable, "-c", HOLDER, path, *arguments]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    return process


def test_one_process_has_it_and_is_named(path: str) -> None:
    with hold(path) as other:
        assert writer_of(path) == other.pid
        with pytest.raises(UnusableJournal, match=f"the process {other.pid} writes it"):
            FileLock(path)
        other.kill()
    assert writer_of(path) is None
    FileLock(path).release()


def test_it_does_not_pass_on_to_children(path: str) -> None:
    with hold(path, "fork") as other:
        other.send_signal(signal.SIGKILL)
        os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
        FileLock(path).release()
        assert other.stdin
        other.stdin.close()  # upon which the child ends


def test_a_process_has_it_once(path: str) -> None:
    lock = FileLock(path)
    for _ in range(2):
        with pytest.raises(UnusableJournal, match=f"the process {os.getpid()} writes it"):
            FileLock(path)
    lock.release()
    FileLock(path).release()


def test_it_knows_when_others_do_not_see_it(path: str) -> None:
    lock = FileLock(path)
    assert lock.is_in_place
    os.unlink(f"{path}-lock")
    assert not lock.is_in_place
    FileLock(path).release()
    lock.release()


def test_nobody_has_one_that_is_not_there(path: str) -> None:
    assert writer_of(path) is None
