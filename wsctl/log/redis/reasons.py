"""Reasons why a Redis did not do what it was asked, in words for operators, and what to do about them."""

import errno
import re
import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple

ANSWER_TIMEOUT = 1.5
"""Seconds for one answer: more than a busy Redis needs, and soon enough to notice one that hangs."""

LEAST_VERSION = 7
"""The oldest Redis whose scripts and streams can do what is needed; Valkey began with 7.2."""

START_ONE = "start a Redis there, or correct --redis"
CORRECT_HOST = "correct the host of --redis"
CORRECT_LOGIN = "correct the user of --redis and WSCTL_REDIS_PASSWORD"
CHECK_REDIS = f"check that a Redis {LEAST_VERSION} or newer answers there, or correct --redis"

_NO_WAY = frozenset({errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})


class Trouble(NamedTuple):
    """A failure in words: `what` went wrong, in one line without a secret, and the `cure`."""

    what: str
    cure: str


DEFAULT_PORT = ":6379"

_PLACE = re.compile(r"connecting to (\S+)\. ")
"""The address in the client's own words."""


def trouble(error: BaseException, url: str = "") -> Trouble:
    """Explain a failure of the Redis client. Its causes say more than its own text. The address is named
    where the `url`, which people are told too, does not have it: it is that of a node or of a primary."""
    for cause in _causes(error):
        if found := _of_client(cause):
            return found
        if found := _of_system(cause):
            place = _PLACE.search(str(error))
            if place is None or place[1].removesuffix(DEFAULT_PORT) in url:
                return found
            return found._replace(what=f"{found.what} ({place[1]})")
    text = " ".join(str(error).split()) or type(error).__name__
    return Trouble(text if text.isprintable() else ascii(text), CHECK_REDIS)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield the failure, then its causes."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_client(error: BaseException) -> Trouble | None:
    """Explain an error of the client's own classes, by name: they are there only where its package is."""
    match type(error).__name__:
        case "MasterNotFoundError":  # its text says how the client was made
            return Trouble(
                "no sentinel knows a primary of this service",
                "check that the sentinels of --redis run, and the name behind /",
            )
        case "AuthenticationError" if "required" in str(error).lower():
            return Trouble("authentication failed: it wants a password", "give it in WSCTL_REDIS_PASSWORD")
        case "AuthenticationError":
            return Trouble("authentication failed: it knows no such user and password", CORRECT_LOGIN)
        case "NoPermissionError":
            text = " ".join(str(error).split())
            return Trouble(text, "'wsctl docs deploy' has the rights that its user needs")
        case "TimeoutError":
            return Trouble(f"no answer within {ANSWER_TIMEOUT:g} s", _WITH_TLS)
    return None


_WITH_TLS = f"{CHECK_REDIS} (rediss:// where it speaks TLS, redis:// where not)"


_SYSTEM: tuple[tuple[type[OSError], Trouble], ...] = (
    (socket.gaierror, Trouble("the name of its host is not known", CORRECT_HOST)),
    (ssl.SSLError, Trouble("it speaks no TLS, or another", "write redis:// where it speaks none")),
    (ConnectionRefusedError, Trouble("nothing listens there", START_ONE)),
    (FileNotFoundError, Trouble("there is no such socket", START_ONE)),
    (PermissionError, Trouble("its socket is not for this user", "give the user a group that may use it")),
)


def _of_system(error: BaseException) -> Trouble | None:
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message.rstrip(".")
        return Trouble(f"its certificate is not trusted: {reason}", "?ssl_ca_certs=FILE names whom to trust")
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return Trouble("no way leads to its host", f"check the network, or {CORRECT_HOST}")
    return next((found for kind, found in _SYSTEM if isinstance(error, kind)), None)
