"""Starting: what cannot work says so in one line, with the right exit code."""

import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect, unix_connect

from tests.conftest import StartServer
from tests.e2e.ways import TOKEN, embedded, module
from tests.support.clients import join, receive, receive_type
from tests.support.processes import popen, run
from tests.support.server import DEADLINE, WSCTL, wsctl

pytestmark = pytest.mark.anyio


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    return lines[0]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--port", "http"], "'http' is not a port"),
        (["--port", "65536"], "is not a port"),
        (["--host", ""], "write 127.0.0.1, or 0.0.0.0 or ::"),
        (["--root-path", "chat"], "begin it with /"),
        (["--shutdown-timeout", "soon"], "is not a duration"),
        (["--shutdown-timeout", "-1"], "is not a duration"),
        (["--max-queue", "1x"], "is not a size"),
        (["--history", "9" * 5000], "is not a whole number from 0 to 9"),
        (["--port", "9" * 5000], "is not a port"),
        (["--backlog", "0"], "--backlog 0 is out of range: write 1 to 2147483647"),
        (["--backlog", "2147483648"], "--backlog 2147483648 is out of range: write 1 to 2147483647"),
        (["--workers", "0"], "--workers 0 is out of range: write 1 or more"),
        (["--rate", "fast"], "is not a rate"),
        (["--log-level", "loud"], "is not one of debug, info, warning, error"),
        (["--allow-origin", "example.org"], "is not an origin"),
        (["--uds", "/tmp/x", "--fd", "3"], "--uds and --fd"),
        (["--ssl-keyfile", "key.pem"], "--ssl-certfile"),
        (["--no-such-flag"], "--no-such-flag"),
        (["argument"], "argument"),
    ],
)
def test_a_wrong_value_is_a_usage_error(environ: dict[str, str], flags: list[str], says: str) -> None:
    ended = wsctl("serve", *flags, environ=environ)
    assert ended.returncode == 2
    assert says in one_line(ended.stderr)
    assert ended.stdout == ""


def test_a_wrong_variable_is_a_usage_error(environ: dict[str, str]) -> None:
    ended = wsctl("serve", environ=environ | {"WSCTL_SHUTDOWN_TIMEOUT": "soon"})
    assert ended.returncode == 2
    assert "is not a duration" in one_line(ended.stderr)


def test_a_wrong_variable_stops_the_guest_too(environ: dict[str, str]) -> None:
    ended = run(
        [sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0"],
        env=environ | {"WSCTL_SHUTDOWN_TIMEOUT": "soon"},
        timeout=DEADLINE,
    )
    assert ended.returncode
    assert "WSCTL_SHUTDOWN_TIMEOUT: 'soon' is not a duration" in one_line(ended.stderr)


def test_what_is_told_of_a_server_under_plain_uvicorn_leads_to_it(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = embedded(start_server)
    told = wsctl("client", "--id", "bob", "--port", str(server.port), environ=environ)
    assert told.returncode == 5
    url = told.stderr.split()[-1]
    assert told.stderr.endswith(f"--url {server.url}\n")
    assert wsctl("client", "--url", url, "--id", "bob", environ=environ, stdin="hello\n").returncode == 0
    token = {"WSCTL_TOKEN": TOKEN}
    assert wsctl("status", "--url", url, environ=environ | token).returncode == 0


@pytest.mark.parametrize("place", ["port", "uds"])
def test_a_place_that_a_server_of_ours_has_is_said_so(
    place: str, start_server: StartServer, runtime_dir: Path
) -> None:
    path = str(runtime_dir / "public")
    server = start_server(*(("--uds", path) if place == "uds" else ()))
    flags = ("--uds", path) if place == "uds" else ("--port", str(server.port))
    for workers in ("1", "2"):
        ended = wsctl("serve", *flags, "--workers", workers, environ=server.environ)
        assert ended.returncode == 3
        line = one_line(ended.stderr)
        at = path if place == "uds" else server.url
        assert f"your own server has it: {at}, pid {server.pid}; 'wsctl upgrade' replaces it" in line


def test_a_taken_port_is_said_so(environ: dict[str, str], taken_port: int) -> None:
    ended = wsctl("serve", "--port", str(taken_port), environ=environ)
    assert ended.returncode == 3
    assert f"port {taken_port}" in one_line(ended.stderr)
    assert "in use" in ended.stderr


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--ssl-certfile", "/nowhere/cert.pem"], "No such file or directory; correct --ssl-certfile"),
        (["--ssl-certfile", __file__], "give PEM files: the certificate first"),
        (["--fd", "99"], "is not a socket to listen on"),
        (["--host", "203.0.113.1"], "203.0.113.1"),
        (["--host", "nobody.invalid"], "no name that is known here; --host names an address"),
        (["--uds", "/nowhere/socket"], "No such file or directory; make its folder first"),
        (["--uds", "/tmp"], "that is a folder; name a file in it"),
        (["--redis", "redis://nobody.invalid"], "the name of its host is not known; correct the host"),
    ],
    ids=["no certificate", "no PEM", "--fd", "--host", "no name", "--uds", "a folder", "--redis"],
)
def test_what_it_cannot_start_with_is_said_so(environ: dict[str, str], flags: list[str], says: str) -> None:
    ended = wsctl("serve", "--port", "0", *flags, environ=environ)
    assert ended.returncode == 3
    assert one_line(ended.stderr).startswith("wsctl: ")
    assert says in ended.stderr


def test_a_key_that_is_not_there_is_named(environ: dict[str, str], certificate: tuple[str, str]) -> None:
    files = ("--ssl-certfile", certificate[0], "--ssl-keyfile", "/nowhere/key.pem")
    ended = wsctl("serve", "--port", "0", *files, environ=environ)
    assert ended.returncode == 3
    assert "no TLS: /nowhere/key.pem: No such file or directory" in one_line(ended.stderr)


def test_under_a_root_path_it_starts_without_a_warning(start_server: StartServer) -> None:
    for way in (module, embedded):
        server = way(start_server, "--root-path", "/chat")
        assert server.http("GET", "/health/live")[0] == 200
        server.stop()
        assert not [line for line in server.lines if "Warning" in line]


def test_a_flag_beats_its_variable_and_a_variable_the_default(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_MAX_CONNECTIONS": "5"})
    assert server.status()["capacity"] == 5
    server = start_server("--max-connections", "7", env={"WSCTL_MAX_CONNECTIONS": "5"})
    assert server.status()["capacity"] == 7


def test_port_zero_prints_the_address_on_stdout(start_server: StartServer, environ: dict[str, str]) -> None:
    process = popen(
        [*WSCTL, "serve", "--port", "0"],
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout
        line = process.stdout.readline()
        assert line.startswith("http://127.0.0.1:")
        socket.create_connection(("127.0.0.1", int(line.strip().rpartition(":")[2]))).close()
    finally:
        process.kill()
        process.communicate()


async def test_it_serves_tls(start_server: StartServer, certificate: tuple[str, str]) -> None:
    cert, key = certificate
    server = start_server("--ssl-certfile", cert, "--ssl-keyfile", key, "--shutdown-timeout", "1")
    trusting = ssl.create_default_context(cafile=cert)
    bob = await join(server.ws_url, "bob", ssl=trusting)
    for n in range(50):
        assert server.api("POST", "/api/broadcast", {"data": "x" * 10_000 + str(n)})[0] == 200
        assert (await receive_type(bob, "message"))["data"].endswith(str(n))
    server.signal()
    await bob.wait_closed()
    assert bob.close_code == 1012
    assert server.wait() == 4


async def test_it_serves_a_unix_socket(start_server: StartServer, runtime_dir: Path) -> None:
    path = runtime_dir / "s"
    server = start_server("--uds", str(path), serving=r"url=unix:(\S+)")
    async with unix_connect(str(path), "ws://localhost/ws/bob") as bob:
        assert (await receive(bob))["type"] == "welcome"
        await bob.send("hi")
        assert (await receive_type(bob, "message"))["data"] == "hi"
    assert server.stop() == 0
    assert not path.exists()


async def test_under_a_root_path_both_kinds_of_proxy_work(start_server: StartServer) -> None:
    server = start_server("--root-path", "/live", "--allow-origin", "https://example.org")
    base = f"ws://127.0.0.1:{server.port}"
    for url in (f"{base}/ws/bob", f"{base}/live/ws/bob"):
        async with connect(url, origin="https://example.org", proxy=None) as bob:
            assert (await receive(bob))["type"] == "welcome"


def test_it_takes_the_sockets_systemd_passes(environ: dict[str, str]) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        os.set_inheritable(listening.fileno(), True)
        exec_with_pid = (
            f"import os; os.dup2({listening.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            "os.environ['LISTEN_FDS'] = '1'; "
            f"os.execv({sys.executable!r}, [{sys.executable!r}, '-m', 'wsctl', 'serve'])"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", exec_with_pid],
            env=environ,
            pass_fds=(listening.fileno(),),
            stderr=subprocess.PIPE,
            text=True,
        )
    try:
        assert process.stderr
        assert f"url=http://127.0.0.1:{port}" in process.stderr.readline()
    finally:
        process.kill()
        process.communicate()


SAID_FOR_NOTHING = {"WSCTL_SHUTDWON_TIMEOUT": "5m", "WSCTL_CLIENT_TOKEN": "s3cret"}


@pytest.mark.parametrize("way", ["alone", "workers", "embedded"])
def test_what_was_said_for_nothing_is_logged_once(way: str, start_server: StartServer) -> None:
    if way == "embedded":
        command = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0")
        server = start_server(command=command, serving=r"running on (\S+)", env=SAID_FOR_NOTHING)
    else:
        flags = ("--workers", "2") if way == "workers" else ()
        server = start_server(
            *flags, env=SAID_FOR_NOTHING | {"FORWARDED_ALLOW_IPS": "*", "WSCTL_JWT_KEY": ""}
        )
        server.wait_for_line("WSCTL_JWT_KEY is empty, which counts as not set")
    server.wait_for_line("did you mean WSCTL_SHUTDOWN_TIMEOUT")
    server.wait_for_line("WSCTL_CLIENT_TOKEN is set, but --auth is none")
    told = [line for line in server.lines if "WSCTL_" in line]
    assert len([line for line in told if "SHUTDWON" in line]) == 1
    assert any("FORWARDED_ALLOW_IPS is uvicorn's" in line for line in server.lines) == (way != "embedded")
    assert not [line for line in server.lines if "s3cret" in line]


def test_the_guest_warns_of_several_workers(start_server: StartServer) -> None:
    command = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0", "--workers", "2")
    server = start_server(command=command, serving=r"running on (\S+)")
    server.wait_for_line("WARNING .*several workers of this server share no messages")
    server.stop()


def test_the_guest_warns_of_web_concurrency(start_server: StartServer) -> None:
    command = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0")
    server = start_server(command=command, serving=r"running on (\S+)", env={"WEB_CONCURRENCY": "2"})
    server.wait_for_line("WARNING .*several workers of this server share no messages")
    server.stop()


def test_the_guest_with_one_worker_does_not_warn(start_server: StartServer) -> None:
    server = embedded(start_server)
    server.stop()
    assert server.complaints == []


def test_without_a_usable_runtime_folder_it_serves_and_warns(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    server = start_server(env={"WSCTL_RUNTIME_DIR": str(tmp_path / "file")})
    server.wait_for_line("WARNING no control socket.*WSCTL_RUNTIME_DIR")
    assert server.http("GET", "/health")[0] == 200
    assert server.stop() == 0
