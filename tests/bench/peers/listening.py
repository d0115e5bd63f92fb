"""The listener that every compared server gets, so that none differs by a socket option."""

import socket
from typing import Any


def listener() -> socket.socket:
    """A listening socket on a free port of loopback; its address is printed.

    What it accepts inherits TCP_NODELAY.
    """
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.bind(("127.0.0.1", 0))
    sock.listen(2048)
    print(f"http://127.0.0.1:{sock.getsockname()[1]}", flush=True)
    return sock


def serve_by_uvicorn(app: Any) -> None:
    """Serve an application by stock uvicorn, which sends no pings: the load answers none."""
    import uvicorn

    config = uvicorn.Config(
        app,
        loop="uvloop",
        ws="websockets-sansio",
        ws_ping_interval=None,
        log_level="warning",
        access_log=False,
    )
    uvicorn.Server(config).run(sockets=[listener()])
