"""What `wsctl generate` printed for programs, running."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tests.support.javascript import WEBSOCKET, command
from tests.support.server import DEADLINE
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.deployment import Place
from wsctl.settings import Settings

NOWHERE = Place(made_by="", program="/wsctl")
"""Clients do not depend on where the server will run."""


def printed(kind: str, url: str) -> str:
    """The example for a server at `url`, http."""
    at = urlsplit(url)
    assert at.hostname
    assert at.port
    return generate_file(kind, Settings(host=at.hostname, port=at.port, root_path=at.path), NOWHERE)


def python(folder: Path, url: str) -> list[str]:
    """How the Python example is started."""
    file = folder / "client.py"
    file.write_text(printed("python", url))
    return [sys.executable, str(file)]


def node(folder: Path, url: str) -> list[str]:
    """How the example for Node is started; where there is no WebSocket it is given one."""
    file = folder / "client.mjs"
    given = f'import {{ WebSocket }} from "{WEBSOCKET.as_uri()}"; globalThis.WebSocket ??= WebSocket;\n'
    file.write_text(given + printed("node", url))
    return [*command(), str(file)]


PROGRAMS: dict[str, Callable[[Path, str], list[str]]] = {"python": python, "node": node}


class Example:
    """A program, and each line that it has shown on either stream."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.lines: list[str] = []
        self._news = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, part: str, times: int = 1) -> None:
        """Wait until so many lines had this in them."""
        until = time.monotonic() + DEADLINE
        with self._news:
            while sum(part in line for line in self.lines) < times:
                left = until - time.monotonic()
                running = left > 0 and self._reader.is_alive()
                assert running, f"no {part!r} in {self.lines}"
                self._news.wait(min(left, 0.2))

    @property
    def messages(self) -> list[str]:
        """What it has shown that others said."""
        return [line for line in self.lines if not line.startswith("* ")]

    def interrupt(self) -> None:
        """Ctrl-C."""
        self._process.send_signal(signal.SIGINT)

    def wait(self) -> int:
        """Its exit code, waited for."""
        code = self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self.lines.append(line.rstrip("\n"))
                self._news.notify_all()


@contextmanager
def running(*command: str, token: str | None = None) -> Iterator[Example]:
    """A program, killed afterwards if it has not ended. `token` is what it shows to the server."""
    environ = {name: value for name, value in os.environ.items() if name != "WSCTL_CLIENT_TOKEN"}
    process = subprocess.Popen(
        command,
        env=environ | ({"WSCTL_CLIENT_TOKEN": token} if token else {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    example = Example(process)
    try:
        yield example
    finally:
        process.kill()
        example.wait()
        assert process.stdout
        process.stdout.close()
