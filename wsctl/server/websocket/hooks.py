"""The hooks of an application: what they are given, how they refuse, and which there are."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, QueryParams

_REJECT_CODE = re.compile(r"[a-z0-9_]{1,64}")


@dataclass(frozen=True, slots=True)
class Handshake:
    """A client's request to connect, which passed all other checks.

    Attributes:
        client_id: the id in the path.
        headers: the headers; names in any case, values as they came.
        query: the parameters behind `?`.
        path_params: what else the path names, where the router's prefix has parameters.
        subprotocols: the WebSocket subprotocols that the client offers.
        address: its IP address and port, as `192.0.2.1:50123`.
    """

    client_id: str
    headers: Headers
    query: QueryParams
    path_params: Mapping[str, Any]
    subprotocols: tuple[str, ...]
    address: str


@dataclass(frozen=True, slots=True)
class Client:
    """A connected client.

    Attributes:
        id: its client id.
        address: its IP address and port, as `192.0.2.1:50123`.
        connected_at: the Unix second in which it connected.
        identity: what `on_connect` returned beside the id; None where it returned nothing more.
        topics: the topics that it subscribes to, as it named them: some may be patterns.
    """

    id: str
    address: str
    connected_at: float
    identity: Any = None
    topics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that a client sent.

    Attributes:
        data: what it sent: a text, or of a client that speaks commands any JSON value.
        topic: the topic that it is for; None for everybody.
        key: its idempotency key, if it has one.
    """

    data: Any
    topic: str | None = None
    key: str | None = None


class Refuse(Exception):
    """Raised by `on_connect`: the client does not connect, and is answered with this HTTP status.

    Raises:
        ValueError: the status is not one of an error, 400 to 599.

    Example:
        raise Refuse(403, "this room is for members")
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        if not 400 <= status <= 599:
            raise ValueError(f"{status} is no status of an error: choose one from 400 to 599")
        self.status = HTTPStatus(status)
        self.message = message


class Reject(Exception):
    """Raised by `on_message`: the message is not published, and its client gets an `error` frame. Raised by
    `on_subscribe`: the client is not subscribed to what it asked for, and gets an `error` frame, or in the
    handshake a 403.

    Raises:
        ValueError: the code is not 1 to 64 characters of a-z, 0-9 and _.

    Example:
        raise Reject("too_long", "a message has 500 characters at most")
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        if not _REJECT_CODE.fullmatch(code):
            raise ValueError(f"{code!r} is no code: choose 1 to 64 of a-z, 0-9 and _")
        self.code = code
        self.message = message


@dataclass(slots=True)
class Hooks:
    """The functions of an application that the hub calls, as far as there are any; each may be a coroutine
    function."""

    on_connect: Callable[[Handshake], Any] | None = None
    on_message: Callable[[Client, Incoming], Any] | None = None
    on_subscribe: Callable[[Client, str], Any] | None = None
    on_disconnect: Callable[[Client, int, str], Any] | None = None


def hook_name(hook: Callable[..., Any]) -> str:
    """Return the name of a hook, as the application writes it."""
    module, name = getattr(hook, "__module__", None), getattr(hook, "__qualname__", None)
    return f"{module}.{name}" if name else repr(hook)
