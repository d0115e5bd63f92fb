"""Somebody who does what a page of the manual says, block after block."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support import javascript
from tests.support.manual import Block
from tests.support.processes import put_stand_in
from tests.support.server import DEADLINE, ServerProcess
from wsctl.process.registry import running_servers, runtime_folder

TYPED = "hello\n"
"""What is typed into every block; at the end of its input `wsctl client` leaves."""

PATIENCE = 3 * DEADLINE
"""Seconds that a block may take: there are several commands in it."""

PORT = "8000"
"""The port of a server that is told none."""


class Reader:
    """Works in one folder. The ports of the manual stand for those that the kernel chose.

    Blocks of these languages are run, the others are only to be looked at:

        sh          in a fresh shell, which must end with 0
        python, js  must end by itself with 0, or write a line and is ended then

    and words behind the language say more:

        server      `wsctl serve`: is started and runs until the section ends in which it is, or for the first
                    section of a page until the page ends
        forever     goes on until Ctrl-C, which it gets when it has written a line
        by-hand     needs what a test has not; it is not run
    """

    LANGUAGES = frozenset({"sh", "python", "js"})

    def __init__(
        self, folder: Path, environ: Mapping[str, str], ports: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder
        self._forked = folder / "forked"
        self._forked.mkdir()
        put_stand_in(self._forked)
        # Whoever only listens soon hears something.
        self.environ = {**environ, "WSCTL_BROADCAST_INTERVAL": "0.5"}
        self._path = environ["PATH"]
        self._ports = dict(ports or {})
        self._servers: list[tuple[str, ServerProcess]] = []
        self._first = ""

    def read(self, blocks: Sequence[Block], *, cold: bool = False) -> None:
        """Do all of them, in order. What a shell runs as `wsctl` is forked, or the program itself."""
        programs = [] if cold else [str(self._forked)]
        self.environ["PATH"] = os.pathsep.join([*programs, str(Path(sys.executable).parent), self._path])
        self._first = next(block.section for block in blocks if "server" in block.words)
        for block in blocks:
            self._leave(block.section)
            if block.language in self.LANGUAGES and "by-hand" not in block.words:
                self._do(block)

    def close(self) -> None:
        """End what still runs, also what an upgrade has started: that is of a session of its own."""
        for record in running_servers(runtime_folder(self.environ)):
            os.kill(record.pid, signal.SIGKILL)
        for _, server in self._servers:
            _end(server)
        self._servers = []

    def _leave(self, section: str) -> None:
        over = [each for each in self._servers if each[0] not in (section, self._first)]
        for each in over:
            _end(each[1])
            self._servers.remove(each)

    def _do(self, block: Block) -> None:
        if "server" in block.words:
            self._serve(block)
        elif block.language == "sh" and "forever" not in block.words:
            self._run(block)
        else:
            self._begin(block)

    def _serve(self, block: Block) -> None:
        found = re.search(r"--port (\d+)", block.text)
        port = found[1] if found else PORT
        text = self._here(re.sub(r"--port \d+", "", block.text))
        environ = self.environ | {"WSCTL_PORT": "0"}
        command = ["sh", "-ec", text]
        server = ServerProcess.start(
            environ=environ, command=command, cwd=self.folder, start_new_session=True
        )
        self._servers.append((block.section, server))
        self._ports[port] = str(server.port)
        if port == PORT:
            self.environ["WSCTL_PORT"] = str(server.port)  # for what is generated

    def _run(self, block: Block) -> None:
        done = subprocess.run(
            ["sh", "-ec", self._here(block.text)],
            cwd=self.folder,
            env=self.environ,
            input=TYPED,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert done.returncode == 0, f"{block} ended with {done.returncode}\n{done.stdout}{done.stderr}"

    def _begin(self, block: Block) -> None:
        """Who fails says so on stderr, and writes no line."""
        flags = {"NODE_OPTIONS": " ".join(javascript.command()[1:])} if "node " in block.text else {}
        with tempfile.TemporaryFile("w+") as complaints:
            process = subprocess.Popen(
                self._command(block),
                cwd=self.folder,
                env=self.environ | flags,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                text=True,
                start_new_session=True,
            )
            line, code = _first_line(process)
            complaints.seek(0)
            told = complaints.read()
        assert line, f"{block} wrote nothing\n{told}"
        assert not code, f"{block} ended with {code}\n{line}{told}"

    def _command(self, block: Block) -> list[str]:
        text = self._here(block.text)
        if block.language == "sh":
            return ["sh", "-ec", text]
        if block.language == "python":
            return [sys.executable, "-u", "-c", text]
        script = self.folder / f"block{block.line}.mjs"
        script.write_text(text)
        return [*javascript.command(), str(script)]

    def _here(self, text: str) -> str:
        if not self._ports:
            return text
        return re.sub(rf"\b({'|'.join(self._ports)})\b", lambda found: self._ports[found[0]], text)


def _first_line(process: "subprocess.Popen[str]") -> tuple[str, int | None]:
    """The first line it writes, and what it then ends with; None when it goes on, which is stopped."""
    late = threading.Timer(PATIENCE, _send, [process, signal.SIGKILL])
    late.start()
    try:
        assert process.stdout
        with process.stdout:
            line = process.stdout.readline()
            going_on = process.poll() is None
            _send(process, signal.SIGINT)
            process.stdout.read()
        code = process.wait()
    finally:
        late.cancel()
        _send(process, signal.SIGKILL)
    return line, None if going_on else code


def _end(server: ServerProcess) -> None:
    """Its process, and those that it started, which are of its session."""
    _send(server.process, signal.SIGKILL)
    server.kill()


def _send(process: "subprocess.Popen[str]", signum: int) -> None:
    try:
        os.killpg(process.pid, signum)
    except ProcessLookupError:
        return
