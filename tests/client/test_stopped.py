"""Whether a process is stopped."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import popen
from wsctl.client.stopped import is_stopped


@pytest.mark.parametrize("proc", [Path("/proc"), Path("/nowhere")], ids=["/proc", "ps"])
def test_a_process_is_stopped_from_the_signal_to_the_next(proc: Path) -> None:
    with popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert not is_stopped(process.pid, proc)
        process.send_signal(signal.SIGSTOP)
        os.waitpid(process.pid, os.WUNTRACED)
        assert is_stopped(process.pid, proc)
        process.send_signal(signal.SIGCONT)
        assert not is_stopped(process.pid, proc)
        process.kill()
    assert not is_stopped(process.pid, proc)
