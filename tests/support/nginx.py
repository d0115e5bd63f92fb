"""nginx in front of servers under test: a real process, with everything of its own in a folder."""

import os
import socket
import subprocess
from contextlib import ExitStack
from pathlib import Path

from tests.support.programs import need
from tests.support.store import keep_port, wait_until

AROUND = """
{user}
pid {folder}/pid;
worker_processes 2;
events {{ worker_connections 512; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
{site}
}}
"""
"""What a machine's nginx.conf has. Unless told so, root's workers are a user who cannot enter the folder."""


class NginxProcess:
    """A site, on `port` in place of 80. It ends with the block it is entered for."""

    def __init__(self, site: str, folder: Path) -> None:
        need("nginx")
        self._kept = ExitStack()
        self.port = keep_port(self._kept)
        self._folder = folder
        own = site.replace("listen 80;", f"listen 127.0.0.1:{self.port};")
        user = "user root root;" if os.getuid() == 0 else ""
        (folder / "nginx.conf").write_text(AROUND.format(user=user, folder=folder, site=own))
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> "NginxProcess":
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
        self._kept.close()
        print(self._log())

    def check(self) -> str:
        """What `nginx -t` has against it; nothing when that is nothing."""
        done = subprocess.run([*self._command(), "-t", "-q"], capture_output=True, text=True, check=False)
        return done.stderr if done.returncode or done.stderr else ""

    def start(self) -> None:
        """Returns when it serves."""
        self._process = subprocess.Popen([*self._command(), "-g", "daemon off;"], stdin=subprocess.DEVNULL)
        wait_until(self._serves, self._log)

    def _command(self) -> list[str]:
        place = str(self._folder)
        return ["nginx", "-p", place, "-c", f"{place}/nginx.conf", "-e", f"{place}/error.log"]

    def _serves(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def _log(self) -> str:
        path = self._folder / "error.log"
        return path.read_text() if path.exists() else ""
