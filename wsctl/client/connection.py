"""One WebSocket connection to a target: the credential that opens it, why it was not opened, in words for the
person at the command line and as an event, and how it is closed."""

import asyncio
import json
import logging
import os
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from typing import Any

from websockets.asyncio.client import ClientConnection, connect, unix_connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidURI
from websockets.http11 import Response
from websockets.typing import Subprotocol

from wsctl import __version__
from wsctl.client.events import Closed, HandshakeRefused
from wsctl.client.target import Target
from wsctl.client.transport import ClientTransport
from wsctl.codes import CloseCode
from wsctl.settings import read_client_token

Credential = Callable[[], str | None]
"""A function that returns the token for the next attempt to connect; None: there is none.

Raises:
    UsageError: it cannot be read.
"""

AsyncCredential = Callable[[], Awaitable[str | None]]
"""A credential that has to be waited for."""

OPEN_TIMEOUT = 10.0
"""Seconds for the handshake, and as long again for the first frame."""

ANSWER_TIMEOUT = 20.0
"""Seconds that a server has to answer a command: longer than it waits for what it needs itself."""

CLOSE_TIMEOUT = 2.0
"""Seconds the server has to answer our close frame."""

PING_INTERVAL = 10.0
PING_TIMEOUT = 15.0
"""Seconds between pings, and for the answer: a server that is silently gone is noticed within 25."""

MAX_FRAME = 64 << 20
"""Longest frame taken, in bytes: the server decides what it lets through, this only bounds our memory."""

CREDENTIAL_SOURCE = "the token comes from WSCTL_CLIENT_TOKEN_FILE or WSCTL_CLIENT_TOKEN"
"""The advice for a client that a server refused with 401."""

CHECK_ADDRESS = "check the address"

CHECK_SERVER = "check the address, and that a server runs there"

_ERRNO = re.compile(r"\[Errno (\d+)\]")

# Events tell what websockets logs; without a handler Python would print its warnings on stderr.
_log = logging.getLogger("wsctl.client.connection")
_log.addHandler(logging.NullHandler())


def no_credential() -> str | None:
    """Return None: the credential of a client without a token."""
    return None


def credential_from(environ: Mapping[str, str]) -> Credential:
    """Return the client token of the environment as a credential. A file is read at each attempt: somebody
    may have put a new one there.

    Raises:
        UsageError: it cannot be read now.
    """

    def read() -> str | None:
        return read_client_token(environ)

    read()
    return read


async def open_connection(
    target: Target, url: str, token: str | None = None, subprotocols: Sequence[str] = ()
) -> ClientConnection:
    """Return an accepted connection, without compression: a frame is read as it was written. To another
    server than the target, the token does not follow a redirect.

    Raises:
        OSError, WebSocketException, ValueError: there is none; `explain` has the words.
    """
    options: dict[str, Any] = {
        "additional_headers": {"Authorization": f"Bearer {token}"} if token else None,
        "subprotocols": [Subprotocol(name) for name in subprotocols] or None,
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
    return await connect(url, ssl=trusted() if url.startswith("wss:") else None, **options)


async def close_connection(connection: ClientTransport) -> None:
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
def trusted() -> ssl.SSLContext:
    """Return the certificates to trust: read once, for it takes longer than a handshake, and many clients
    come back at one moment."""
    return ssl.create_default_context()


def explain(error: Exception) -> str:
    """Describe a failure to connect, without addresses and numbers."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case ssl.SSLError():
            return _explain_tls(error)
        case OSError():
            return _explain_system(error)
        case InvalidMessage():
            return "what answers there does not speak HTTP, or hung up"
        case InvalidURI():
            return error.msg
    return str(error) or type(error).__name__


def advice(error: Exception) -> str:
    """Say what to do about a failure to connect; empty where its description says that already."""
    match error:
        case ssl.SSLCertVerificationError():
            return ""
        case ssl.SSLError():
            return "for a server without TLS write http://"
        case socket.gaierror() | InvalidURI():
            return CHECK_ADDRESS
        case InvalidMessage():
            return "check the address, and whether it wants https://"
        case PermissionError():
            return "ask whoever runs the server for access"
    return CHECK_SERVER


def _explain_tls(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        text = error.verify_message.rstrip(".")
        return f"its certificate is not trusted: {text}; SSL_CERT_FILE names the authority to trust"
    # Errors that Python itself raises have no `reason`.
    return f"TLS failed ({getattr(error, 'reason', None) or error})"


def _explain_system(error: OSError) -> str:
    """Describe an error in the system's own words; asyncio folds the errors of several addresses into one
    text."""
    if isinstance(error, socket.gaierror):
        return f"its name is not known ({error.strerror})"
    number = error.errno or next((int(found) for found in _ERRNO.findall(str(error))), 0)
    return os.strerror(number).lower() if number else str(error)


def refused_event(answer: Response) -> HandshakeRefused:
    """Return the event of an HTTP answer: code and message of wsctl's JSON error, else the status in
    words."""
    code, message = "", _phrase(answer)
    if answer.status_code == HTTPStatus.NO_CONTENT:
        message = "the server wants this client to stay away"
    try:
        error = json.loads(bytes(answer.body))["error"]
        code, message = str(error["code"]), str(error["message"])
    except (ValueError, LookupError, TypeError, RecursionError):
        pass  # a proxy's page, or nothing
    return HandshakeRefused(answer.status_code, code, message, _retry_after(answer))


def _phrase(answer: Response) -> str:
    try:
        return HTTPStatus(answer.status_code).phrase
    except ValueError:
        return answer.reason_phrase


def _retry_after(answer: Response) -> float:
    """Return the seconds of Retry-After on a 503 (RFC 9110 section 10.2.3); its date form is left aside."""
    text = answer.headers.get("Retry-After", "") if answer.status_code == 503 else ""
    return float(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0.0
