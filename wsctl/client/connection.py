"""One WebSocket connection to a target: how it is opened and closed."""

import asyncio
import logging
import ssl
from contextlib import suppress
from functools import cache
from typing import Any

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed

from wsctl import __version__
from wsctl.client.events import Closed
from wsctl.client.target import Target
from wsctl.codes import CloseCode

OPEN_TIMEOUT = 10.0
"""Seconds for the handshake, and as long again for the first frame."""

CLOSE_TIMEOUT = 2.0
"""Seconds the server has to answer our close frame."""

PING_INTERVAL = 10.0
PING_TIMEOUT = 15.0
"""Seconds between pings, and for the answer: a server that is silently gone is noticed within 25."""

MAX_FRAME = 64 << 20
"""Longest frame taken, in bytes: the server decides what it lets through, this only bounds our memory."""

# Events tell what websockets logs; without a handler Python would print its warnings on stderr.
_log = logging.getLogger("wsctl.client")
_log.addHandler(logging.NullHandler())


async def open_connection(target: Target, url: str, token: str | None = None) -> ClientConnection:
    """Return an accepted connection, without compression: a frame is read as it was written. To another
    server than the target, the token does not follow a redirect.

    Raises:
        OSError, WebSocketException, ValueError: there is none; `connect_errors.explain` has the words.
    """
    options: dict[str, Any] = {
        "additional_headers": {"Authorization": f"Bearer {token}"} if token else None,
        "compression": None,
        "proxy": None,
        "user_agent_header": f"wsctl/{__version__}",
        "open_timeout": OPEN_TIMEOUT,
        "close_timeout": CLOSE_TIMEOUT,
        "ping_interval": PING_INTERVAL,
        "ping_timeout": PING_TIMEOUT,
        "max_size": MAX_FRAME,
        "logger": _log,
    }
    if target.uds:
        return await unix_connect(target.uds, url, **options)
    return await connect(url, ssl=_tls() if url.startswith("wss:") else None, **options)


async def close_connection(connection: ClientConnection) -> None:
    """Close what is still open. Reading on makes room for the server's answer."""
    closing = asyncio.ensure_future(connection.close())
    with suppress(ConnectionClosed):
        while True:
            await connection.recv()
    await closing


def closed_event(error: ConnectionClosed) -> Closed:
    """Return the server's close frame as an event; without one, what our side knows."""
    if error.rcvd:
        return Closed(error.rcvd.code, error.rcvd.reason)
    reason = error.sent.reason if error.sent else ""
    return Closed(CloseCode.ABNORMAL, reason or "the connection was lost")


@cache
def _tls() -> ssl.SSLContext:
    """Return the certificates to trust: read once, for it takes longer than a handshake, and many clients
    come back at one moment."""
    return ssl.create_default_context()
