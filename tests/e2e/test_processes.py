"""A server that is forked from a process with everything imported is like one that starts cold."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

import wsctl as wsctl_package
from tests.conftest import StartServer
from tests.support.processes import (
    LENT,
    ForkedProcess,
    can_fork,
    children,
    is_lent,
    lending,
    lives,
    popen,
    put_stand_in,
    run,
)
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from tests.support.terminal import Terminal
from tests.support.workers import pids, serving, until

pytestmark = pytest.mark.skipif(not can_fork(WSCTL, {}), reason="nothing is forked here")

UVICORN = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0")

Facts = dict[str, Any]


WITH_MODULES = (sys.base_prefix, sys.prefix, str(Path(wsctl_package.__file__).parent))
"""Where modules are. Whoever imports looks into folders there too, which are open meanwhile."""

FOR_THREADS = 3 << 31
"""Signals 32 and 33, which glibc handles from the first thread of a process on."""


def of_process(pid: int) -> Facts:
    """All that can be told of a process from outside, and is the same at each start."""
    proc = Path(f"/proc/{pid}")
    status = until(lambda: signals_are_settled(proc), "no thread begins")
    files = until(lambda: files_without_modules(proc), "no module is read")
    facts: Facts = {name: status[name] for name in ("SigBlk", "SigIgn", "Umask", "NoNewPrivs")}
    facts["SigCgt"] = int(status["SigCgt"], 16) & ~FOR_THREADS
    return facts | {
        "session": os.getsid(pid) == os.getsid(0),
        "group": os.getpgid(pid) - pid if os.getpgid(pid) != os.getpgid(0) else "ours",
        "folder": os.readlink(proc / "cwd"),
        "limits": (proc / "limits").read_text(),
        "files": sorted(files),
    }


def files_without_modules(proc: Path) -> list[tuple[int, str]] | None:
    """The files of a process, unless it is importing just now: the framework comes after the listeners.
    Beyond the standard streams, numbers go to who comes first."""
    numbers = [int(fd) for fd in os.listdir(proc / "fd")]
    try:
        files = [(min(fd, 3), os.readlink(proc / f"fd/{fd}")) for fd in numbers]
    except FileNotFoundError:  # closed meanwhile
        return None
    if any(name.startswith(WITH_MODULES) for _, name in files):
        return None
    return [(fd, re.sub(r"\d+", "N", name)) for fd, name in files]


@pytest.mark.parametrize(
    ("place", "seen"),
    [
        (WITH_MODULES[2], False),
        (Path(os.__file__).parent, False),
        (pytest.__file__, False),
        (os.devnull, True),
    ],
    ids=["our folder", "Python's folder", "a module", "none"],
)
def test_a_process_is_looked_at_while_it_has_no_module_and_no_place_of_modules_open(
    place: str, seen: bool
) -> None:
    fd = os.open(place, os.O_RDONLY)
    process = popen(["sleep", "60"], pass_fds=(fd,), stdin=subprocess.DEVNULL)
    os.close(fd)
    try:
        files = partial(files_without_modules, Path(f"/proc/{process.pid}"))
        assert until(files, "it has begun") if seen else files() is None
    finally:
        process.kill()
        process.wait()


def signals_are_settled(proc: Path) -> dict[str, str] | None:
    """The status of a process, unless it is beginning a thread just now: all its signals are blocked then."""
    status = dict(line.split(":\t", 1) for line in (proc / "status").read_text().splitlines())
    return None if int(status["SigBlk"], 16) & (1 << signal.SIGSEGV - 1) else status


def two_serve(server: ServerProcess) -> list[int] | None:
    found = serving(server)
    return found if len(found) == 2 else None


def has_just(server: ServerProcess, workers: list[int]) -> bool:
    return children(server.pid) == {*workers}


def has_ended(pid: int) -> bool:
    return not lives(pid)


def described(server: ServerProcess) -> Facts:
    """What can be told of a server, and how it answers; ends it."""
    facts = of_process(server.pid)
    facts |= {path: server.http("GET", path)[0] for path in ("/health", "/docs", "/metrics", "/nowhere")}
    facts |= {"health": sorted(server.http("GET", "/health")[1]), "code": server.stop()}
    return facts | {"log": [re.sub(r"\d+", "N", line) for line in server.lines]}


@pytest.mark.parametrize(
    ("command", "how"),
    [
        ((*WSCTL, "serve", "--port", "0"), {}),
        ((*WSCTL, "serve", "--port", "0"), {"start_new_session": True, "cwd": "/"}),
        (UVICORN, {}),
    ],
    ids=["wsctl", "in another session and folder", "uvicorn"],
)
def test_a_forked_server_is_as_a_cold_one(
    environ: dict[str, str], command: tuple[str, ...], how: Facts
) -> None:
    found = []
    for cold in (False, True):
        serving = r"(?:url=|running on )(\S+)"
        server = ServerProcess.start(environ=environ, command=command, serving=serving, cold=cold, **how)
        try:
            assert isinstance(server.process, ForkedProcess) is not cold
            found.append(described(server))
        finally:
            server.kill()
    assert found[0] == found[1]


def test_so_are_its_workers_also_after_an_upgrade(start_server: StartServer) -> None:
    found = []
    for cold in (False, True):
        server = start_server("--workers", "2", cold=cold)
        facts: Facts = {"workers": [of_process(pid) for pid in pids(server)]}
        started = "fork_server" in Path(f"/proc/{pids(server)[0]}/cmdline").read_text()
        assert started is not cold
        done = wsctl("upgrade", environ=server.environ, deadline=2 * DEADLINE)
        assert done.returncode == 0, done
        fresh = pids(server)
        assert ("fork_server" in Path(f"/proc/{fresh[0]}/cmdline").read_text()) is not cold
        until(partial(has_just, server, fresh), "those before have ended")
        facts["fresh"] = [of_process(pid) for pid in fresh]
        if not cold:  # one that starts cold hears of the end of a child by itself
            os.kill(min(fresh), signal.SIGKILL)
            server.wait_for_line(f"a worker died pid={min(fresh)} signal=SIGKILL")
            assert until(partial(two_serve, server), "two serve") != fresh
        found.append(facts | {"code": server.stop()})
    assert found[0] == found[1]


def test_so_is_its_successor(start_server: StartServer) -> None:
    found = []
    for cold in (False, True):
        server = start_server(cold=cold)
        successor = upgraded(server, server.pid)
        code = server.process.wait(DEADLINE)  # its log stays open in the successor
        facts = {"code": code} | of_successor(successor, cold=cold)
        if not cold:  # one that has begun a session of its own has a successor that is like it
            before, successor = successor, upgraded(server, successor)
            until(partial(has_ended, before), "the one before ends")
            assert {"code": code} | of_successor(successor, cold=cold) == facts
        os.kill(successor, signal.SIGTERM)
        until(partial(has_ended, successor), "it ends")
        found.append(facts)
    assert found[0] == found[1]


def upgraded(server: ServerProcess, before: int) -> int:
    """Upgrade a server; returns the pid of the successor."""
    done = wsctl("upgrade", environ=server.environ, deadline=2 * DEADLINE)
    serves = re.search(r"pid (\d+) serves", done.stdout)
    assert serves, done
    assert int(serves[1]) != before
    return int(serves[1])


def of_successor(pid: int, *, cold: bool) -> Facts:
    assert ("fork_server" in Path(f"/proc/{pid}/cmdline").read_text()) is not cold
    return of_process(pid) | {"session": os.getsid(pid) == pid}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["--help"],
        ["serve", "--no-such-flag"],
        ["broadcast", "hello"],
        ["generate", "systemd"],
        ["client", "--id", "\udcff"],
    ],
    ids=" ".join,
)
def test_a_forked_command_answers_as_a_cold_one(environ: dict[str, str], arguments: list[str]) -> None:
    forked, cold = (
        run([*WSCTL, *arguments], env=environ, timeout=DEADLINE, cold=cold) for cold in (False, True)
    )
    assert (forked.returncode, forked.stdout, forked.stderr) == (cold.returncode, cold.stdout, cold.stderr)


def test_what_stands_for_it_in_a_shell_answers_as_a_cold_one(environ: dict[str, str], tmp_path: Path) -> None:
    put_stand_in(tmp_path)
    script = """
        echo hello | wsctl broadcast - ; echo $?
        (umask 027; wsctl generate systemd --output "$1"; stat -c %a "$1"); wsctl "two words" '*' ; echo $?
    """
    found = []
    for number, programs in enumerate((tmp_path, Path(sys.executable).parent)):
        path = os.pathsep.join([str(programs), environ["PATH"]])
        unit = str(tmp_path / f"{number}.service")
        command = ["sh", "-c", script, "sh", unit]
        done = run(command, env=environ | {"PATH": path}, timeout=DEADLINE)
        found.append([text.replace(unit, "UNIT") for text in (done.stdout, done.stderr)])
    assert found[0] == found[1]


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=lambda end: end.name)
def test_what_stands_for_it_ends_with_it(
    start_server: StartServer, tmp_path: Path, end: signal.Signals
) -> None:
    put_stand_in(tmp_path)
    server = start_server(command=[str(tmp_path / "wsctl"), "serve", "--port", "0"])
    [forked] = children(server.pid)
    server.signal(end)
    until(partial(has_ended, forked), "it ends")
    assert server.wait() == (0 if end == signal.SIGTERM else -end)
    again = start_server(command=[str(tmp_path / "wsctl"), "serve", "--port", "0"])
    os.kill(*children(again.pid), end)
    assert again.wait() == (0 if end == signal.SIGTERM else -end)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=lambda end: end.name)
def test_its_end_is_told_as_that_of_a_child(start_server: StartServer, end: signal.Signals) -> None:
    codes = []
    for cold in (False, True):
        server = start_server(cold=cold)
        assert server.process.poll() is None
        server.signal(end)
        codes.append((server.wait(), server.process.poll()))
    assert codes[0] == codes[1]


def test_it_gets_the_descriptors_that_are_passed_under_their_numbers(environ: dict[str, str]) -> None:
    reading, writing = os.pipe()
    try:
        for cold in (False, True):
            command = [*WSCTL, "serve", "--fd", str(writing)]
            with popen(command, env=environ, pass_fds=(writing,), cold=cold, text=True, stderr=-1) as process:
                assert process.stderr
                told = process.stderr.read()
            assert "socket" in told, "the descriptor is there, and no socket"
    finally:
        os.close(reading)
        os.close(writing)


def test_ctrl_c_at_its_terminal_reaches_it(environ: dict[str, str]) -> None:
    terminal = Terminal([*WSCTL, "serve", "--port", "0"], environ)
    try:
        assert isinstance(terminal.process, ForkedProcess)
        terminal.wait_for("serving")
        terminal.type("\x03")
        assert terminal.wait() == 0
    finally:
        terminal.close()


def test_an_interpreter_that_is_told_something_starts_cold() -> None:
    here = dict(os.environ)
    fits: Callable[..., bool] = can_fork
    assert fits(WSCTL, {"env": here | {"PYTHONUNBUFFERED": "1", "WSCTL_PORT": "1"}})
    assert not fits(WSCTL, {"env": here | {"PYTHONUTF8": "1"}})
    assert not fits(WSCTL, {"env": here | {"LC_ALL": "de_DE"}})
    assert not fits(WSCTL, {"preexec_fn": lambda: None})
    assert not fits((*UVICORN, "--workers", "2"), {})
    assert not fits(("wsctl", "serve"), {})


BORROWS = """
import os, subprocess, sys
from tests.support.processes import LENT, is_lent, popen
own = {name: value for name, value in os.environ.items() if name != LENT}
command = [sys.executable, "-m", "wsctl", "serve", "--port", "0"]
with popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
    print(is_lent(), process.pid, flush=True)
    sys.stdin.read()
    process.kill()
print(process.returncode)
"""


def test_a_program_of_the_tests_may_use_the_fork_server_of_who_has_started_it() -> None:
    assert not is_lent()
    with popen([sys.executable, "-c", BORROWS], env=lending(), stdin=PIPE, stdout=PIPE, text=True) as program:
        assert program.stdout
        lent, pid = program.stdout.readline().split()
        assert lent == "True"
        assert int(pid) in children(program.pid)
        status = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        assert int(status[1]) != program.pid, "it is a child of the fork server"
        assert program.communicate("")[0] == "-9\n"


def test_it_is_not_lent_to_who_tells_interpreters_something_else() -> None:
    assert LENT not in lending({**os.environ, "PYTHONHASHSEED": "1"})
