"""A server under test: a real process, its log, its API."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.processes import descendants, popen, run

DEADLINE = 20.0
"""Seconds any awaited thing may take; a loaded machine is slow, a broken test is endless."""

WSCTL = (sys.executable, "-m", "wsctl")


_LEVEL = re.compile(r"(?:\S+ )?(WARNING|ERROR|CRITICAL)\b")
"""It stands behind the time in wsctl's lines, and at the beginning in uvicorn's."""


def level_of(line: str) -> str | None:
    """The level of a line of a server's log from WARNING on; None below. A client may be named ERROR."""
    if "Traceback (most recent call last)" in line:
        return "ERROR"
    return found[1] if (found := _LEVEL.match(line)) else None


class ServerProcess:
    """`wsctl serve` on a port chosen by the kernel, with everything it writes."""

    def __init__(self, process: "subprocess.Popen[str]", environ: Mapping[str, str]) -> None:
        self.process = process
        self.pid = process.pid
        self.environ = environ
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""

    @classmethod
    def start(
        cls,
        *flags: str,
        environ: Mapping[str, str],
        command: Sequence[str] = (*WSCTL, "serve", "--port", "0"),
        serving: str = r"serving.* \"?url(?:=|\": \")([^\s\"]+)",
        deadline: float = DEADLINE,
        **options: Any,
    ) -> "ServerProcess":
        """Start it and wait until it says where it serves."""
        process = popen(
            [*command, *flags],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            **{"stdout": subprocess.DEVNULL, **options},
        )
        server = cls(process, environ)
        try:
            server.url = server.wait_for_line(serving, deadline).group(1)
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def ws_url(self) -> str:
        """The WebSocket address, without `/ws/...`."""
        return self.url.replace("http", "ws", 1)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2].split("/")[0])

    def wait_for_line(self, pattern: str, deadline: float = DEADLINE) -> re.Match[str]:
        """The first log line that matches, waited for."""
        until = time.monotonic() + deadline
        with self._news:
            while True:
                found = next((m for line in self.lines if (m := re.search(pattern, line))), None)
                if found:
                    return found
                alive = self._reader.is_alive()
                left = until - time.monotonic()
                if left <= 0 or not alive:
                    raise AssertionError(f"no line like {pattern!r} in:\n" + "\n".join(self.lines))
                self._news.wait(min(left, 0.2))

    @property
    def faults(self) -> list[str]:
        """The lines that log an error, or begin the stack of one."""
        return [line for line in self.lines if level_of(line) in {"ERROR", "CRITICAL"}]

    @property
    def complaints(self) -> list[str]:
        """The lines that log a warning, and the `faults`."""
        return [line for line in self.lines if level_of(line)]

    def signal(self, signum: int = signal.SIGTERM) -> None:
        self.process.send_signal(signum)

    def wait(self, deadline: float = DEADLINE) -> int:
        """The exit code, waited for."""
        code = self.process.wait(deadline)
        self._reader.join(deadline)
        return code

    def stop(self) -> int:
        """SIGTERM, and wait."""
        self.signal()
        return self.wait()

    def kill(self) -> None:
        """Whatever happened, neither it nor a worker of its outlives the test."""
        if self.process.poll() is None:
            left = descendants(self.pid)
            self.process.kill()
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(DEADLINE)
        if self.process.stderr:
            # It could not be closed while somebody waits for its next line.
            assert not self._reader.is_alive(), "a process that it has started is left, and has its log open"
            self.process.stderr.close()

    def api(
        self,
        method: str,
        path: str,
        body: object = None,
        deadline: float = DEADLINE,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, Any]:
        """A request through the control socket: status and decoded JSON."""
        control = Path(self.environ["WSCTL_RUNTIME_DIR"]) / f"{self.pid}.sock"
        return ask(connected(control, deadline), method, path, body, headers or {})

    def http(
        self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        """A request to the port clients reach."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=DEADLINE)
        return ask(connection, method, path, body, headers or {})

    def status(self) -> dict[str, Any]:
        """What `wsctl status` reads."""
        code, facts = self.api("GET", "/api/status?clients=true")
        assert code == 200, facts
        return dict(facts)

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()


def connected(control: Path, deadline: float = DEADLINE) -> http.client.HTTPConnection:
    """A connection to a control socket. Raises `OSError` where none is listened on."""
    connection = http.client.HTTPConnection("localhost", timeout=deadline)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(deadline)
    try:
        connection.sock.connect(str(control))
    except OSError:
        connection.close()
        raise
    return connection


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object, headers: Mapping[str, str]
) -> tuple[int, Any]:
    try:
        sent = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, sent, dict(headers))
        answer = connection.getresponse()
        text = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        return answer.status, json.loads(text) if is_json else text
    finally:
        connection.close()


def wsctl(*arguments: str, environ: Mapping[str, str], stdin: str = "", deadline: float = DEADLINE) -> Any:
    """Run one command to its end: returncode, stdout, stderr."""
    return run([*WSCTL, *arguments], env=dict(environ), input=stdin, timeout=deadline)
