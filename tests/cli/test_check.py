"""`wsctl check`, as a process."""

import json
import os
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StartServer
from tests.support import certificates
from tests.support.server import WSCTL, wsctl
from tests.support.terminal import Terminal


@pytest.fixture
def environ(environ: dict[str, str]) -> dict[str, str]:
    """Nothing of the container that the tests may run in, as far as a variable tells."""
    environ.pop("KUBERNETES_SERVICE_HOST", None)
    return environ


def told(*flags: str, environ: dict[str, str]) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what it says, by name."""
    done = wsctl("check", "--json", *flags, environ=environ)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    counted = [row["level"] for row in said["checks"]]
    assert said["counts"] == {
        word: counted.count(word) for word in ("ok", "unknown", "advice", "warning", "error")
    }
    return done.returncode, {row["name"]: row for row in said["checks"]}


def test_on_an_ordinary_machine_all_is_listed(environ: dict[str, str], runtime_dir: Path) -> None:
    code, found = told("--port", "0", environ=environ)
    assert code == 0
    assert {"stop time", "address", "open files", "memory", "backlog", "keepalive", "token"} <= set(found)
    assert found["address"] == {
        "name": "address",
        "level": "ok",
        "text": "127.0.0.1 is here; the kernel picks a port",
        "fix": None,
    }
    assert found["leaving"]["level"] == "advice"
    assert list(runtime_dir.iterdir()) == []


def test_a_taken_port_ends_it_with_1_and_the_fix(environ: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = wsctl("check", environ=environ | {"WSCTL_PORT": str(port)})
    assert (done.returncode, done.stderr) == (1, "")
    lines = done.stdout.splitlines()
    at = next(n for n, line in enumerate(lines) if line.startswith("error    address"))
    assert f"port {port}: Address already in use" in lines[at]
    assert lines[at + 1].strip().startswith("fix: find who has it")
    assert lines[-1].startswith("1 error, ")


def test_a_server_of_ours_goes_on_and_is_named(start_server: StartServer) -> None:
    server = start_server()
    code, found = told("--port", str(server.port), environ=dict(server.environ))
    assert code == 0
    assert found["address"]["text"] == f"your own server has it: {server.url}, pid {server.pid}"
    assert server.http("GET", "/health/ready")[0] == 200


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["one process", "workers"])
def test_a_journal_is_looked_at_and_a_server_of_ours_that_has_it_is_named(
    start_server: StartServer, tmp_path: Path, environ: dict[str, str], workers: tuple[str, ...]
) -> None:
    path = tmp_path / "log.db"
    flags = ("--port", "0", "--journal", str(path), *workers)
    code, found = told(*flags, environ=environ)
    assert (code, found["journal"]["level"], "journal disk" in found) == (0, "ok", True)
    assert not path.exists()
    server = start_server("--journal", str(path), *workers)
    code, found = told(*flags, environ=dict(server.environ))
    assert (code, found["journal"]["level"]) == (0, "warning")
    assert found["journal"]["text"] == f"your own server has {path}: {server.url}, pid {server.pid}"
    assert server.http("GET", "/health")[1]["degraded"] is False
    assert "journal" not in told("--port", "0", environ=environ)[1]


def test_everything_that_is_wrong_is_told_at_once(environ: dict[str, str], tmp_path: Path) -> None:
    cert, key = certificates.certificate(tmp_path, timedelta(-9), timedelta(-1))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        redis = f"redis://127.0.0.1:{nobody.getsockname()[1]}"
        tls = ("--ssl-certfile", cert, "--ssl-keyfile", key)
        flags = ("--port", "0", *tls, "--redis", redis, "--stop-timeout", "30")
        code, found = told(*flags, environ=environ)
    assert code == 1
    assert found["certificate"]["text"].startswith("expired on")
    assert found["redis"]["level"] == "error"
    assert "kills 30 s after SIGTERM, but a drain may last 1810 s" in found["stop time"]["text"]


def test_what_serve_cannot_start_with_is_told_with_its_fix(environ: dict[str, str]) -> None:
    flags = ("--host", "nobody.invalid", "--redis", "redis://nobody.invalid")
    code, found = told(*flags, "--shutdown-timeout", "10", "--drain-spread", "20", environ=environ)
    assert code == 1
    assert "no name that is known here" in found["address"]["text"]
    assert found["address"]["fix"].startswith("--host names an address of this machine")
    assert found["redis"]["text"].endswith("the name of its host is not known")
    assert found["redis"]["fix"] == "correct the host of --redis"
    assert found["drain pace"]["text"].startswith("--drain-spread 20 is longer than a drain")


def test_the_unit_that_is_named_is_asked_for(environ: dict[str, str], tmp_path: Path) -> None:
    fake = tmp_path / "systemctl"
    facts = "LoadState=loaded\\nType=simple\\nTimeoutStopUSec=1min 30s\\nLimitNOFILE=512"
    fake.write_text(f"#!{sys.executable}\nimport sys\nprint('{facts}' if '--user' in sys.argv else '')\n")
    fake.chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{environ['PATH']}"}
    code, found = told("--port", "0", "--unit", "wsctl.service", environ=environ | path)
    assert code == 0
    assert found["stop time"]["text"].startswith("systemd (wsctl.service) kills 90 s after SIGTERM")
    assert "512 open files in wsctl.service" in found["open files"]["text"]


def test_a_unit_that_is_not_there_is_an_error(environ: dict[str, str], tmp_path: Path) -> None:
    fake = tmp_path / "systemctl"
    fake.write_text(f"#!{sys.executable}\nprint('LoadState=not-found')\n")
    fake.chmod(0o755)
    path = {"PATH": f"{tmp_path}{os.pathsep}{environ['PATH']}"}
    done = wsctl("check", "--port", "0", "--unit", "none.service", environ=environ | path)
    assert done.returncode == 1
    assert "systemd has no unit none.service" in done.stdout
    fake.unlink()
    done = wsctl("check", "--port", "0", "--unit", "none.service", environ=environ | {"PATH": str(tmp_path)})
    assert "there is no systemd on this machine" in done.stdout
    assert "fix: check where none.service is to run, or give its TimeoutStopSec as" in done.stdout


def test_what_was_said_for_nothing_is_told(environ: dict[str, str]) -> None:
    said = {"WSCTL_BOGUS": "1", "WSCTL_HISTROY": "5", "WSCTL_CLIENT_TOKEN": "s3cret"}
    done = wsctl("check", "--port", "0", environ=environ | said)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert any(line.startswith("warning  variables") and "WSCTL_BOGUS" in line for line in lines)
    assert "fix: did you mean WSCTL_HISTORY?" in lines
    assert any(line.startswith("warning  secrets") and "WSCTL_CLIENT_TOKEN is set" in line for line in lines)
    assert "s3cret" not in done.stdout


@pytest.mark.parametrize(
    "url", ["redis://h?foo=1", "redis://h?timeout=5", "redis://h?decode_responses=true", "redis://h/1/2"]
)
def test_a_redis_url_is_understood_whole_or_told_in_one_line(url: str, environ: dict[str, str]) -> None:
    for command in ("check", "serve"):
        done = wsctl(command, "--port", "0", environ=environ | {"WSCTL_REDIS": url})
        assert (done.returncode, done.stdout) == (2, "")
        assert len(done.stderr.splitlines()) == 1


def test_a_wrong_value_is_a_usage_error(environ: dict[str, str]) -> None:
    done = wsctl("check", "--shutdown-timeout", "soon", environ=environ)
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not a duration" in done.stderr


def test_on_a_terminal_long_lines_go_on_below_where_they_began(environ: dict[str, str]) -> None:
    command = [*WSCTL, "check", "--port", "0", "--stop-timeout", "30"]
    terminal = Terminal(command, environ, columns=80)
    try:
        assert terminal.wait() == 0
    finally:
        terminal.close()
    screen = terminal.text.splitlines()
    at = next(n for n, line in enumerate(screen) if line.startswith("warning  stop time"))
    assert len(screen[at]) <= 80
    assert screen[at + 1].startswith(" " * 25)
    assert b"\x1b[33m" in terminal.raw
