"""Why there is no connection, in words for the person at the command line, and as an event."""

import json
import os
import re
import socket
import ssl
from http import HTTPStatus

from websockets.exceptions import InvalidMessage, InvalidURI
from websockets.http11 import Response

from wsctl.client.events import HandshakeRefused

CREDENTIAL_SOURCE = "the token comes from WSCTL_CLIENT_TOKEN_FILE or WSCTL_CLIENT_TOKEN"
"""The advice for a client that a server refused with 401."""

CHECK_ADDRESS = "check the address"

CHECK_SERVER = "check the address, and that a server runs there"

_ERRNO = re.compile(r"\[Errno (\d+)\]")


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
