"""nginx with nchan, as one process: its clients publish to one channel, and subscribe to it.

With `--test` it only says, by its exit code, whether there is an nginx with that module.
"""

import os
import socket
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

CONFIG = """
load_module modules/ngx_nchan_module.so;
daemon off;
master_process off;
pid {folder}/pid;
error_log stderr;
events {{ worker_connections 20000; }}
http {{
    access_log off;
    client_body_temp_path {folder};
    proxy_temp_path {folder};
    fastcgi_temp_path {folder};
    uwsgi_temp_path {folder};
    scgi_temp_path {folder};
    server {{
        listen {address} backlog=2048;
        location /ws/ {{
            nchan_pubsub websocket;
            nchan_channel_id all;
            nchan_subscriber_first_message newest;
        }}
    }}
}}
"""


def write(folder: str, address: str) -> Path:
    """The configuration for this address; returns its file."""
    path = Path(folder) / "nginx.conf"
    path.write_text(CONFIG.format(folder=folder, address=address))
    return path


def test() -> int:
    """The exit code of nginx's test of its configuration."""
    with tempfile.TemporaryDirectory(prefix="wsb") as folder:
        return os.spawnlp(os.P_WAIT, "nginx", "nginx", "-q", "-t", "-c", str(write(folder, "127.0.0.1:1")))


def main() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host, port = free.getsockname()
    path = write(os.environ["WSCTL_RUNTIME_DIR"], f"{host}:{port}")
    if not os.fork():
        announce(host, port)
        return
    os.execlp("nginx", "nginx", "-c", str(path))


def announce(host: str, port: int) -> None:
    """Print where nginx listens, as soon as it does."""
    for _ in range(500):
        time.sleep(0.01)
        with suppress(OSError), socket.create_connection((host, port)):
            print(f"http://{host}:{port}", flush=True)
            return


if __name__ == "__main__":
    sys.exit(test() if sys.argv[1:] == ["--test"] else main())
