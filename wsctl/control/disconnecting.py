"""The request to disconnect a client, and its answer."""

import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, quote, unquote, urlencode, urlsplit

from wsctl.client_ids import client_id
from wsctl.codes import CloseCode, can_be_sent

PATH = "/api/clients/{client_id}"
"""The path of a client, for operators."""

BY_OPERATOR = "disconnected by an operator"
"""The reason in the close frame unless another one is given."""

MAX_REASON = 123
"""Bytes of UTF-8 that the reason in a close frame may have (RFC 6455 section 5.5)."""

_NOT_FOR_SERVERS = frozenset({CloseCode.PROTOCOL_ERROR, CloseCode.INVALID_DATA})


@dataclass(frozen=True, slots=True)
class Disconnect:
    """All connections of a client are to be closed with this close code and reason.

    Raises:
        InvalidClientId: the id is none.
        ValueError: the code may not be sent, or the reason is too long.
    """

    client_id: str
    code: int = CloseCode.DISCONNECTED
    reason: str = BY_OPERATOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "client_id", client_id(self.client_id))
        if not can_be_sent(self.code) or self.code in _NOT_FOR_SERVERS:
            raise ValueError(f"{int(self.code)} is no close code for this: choose one from 4000 to 4999")
        if len(self.reason.encode()) > MAX_REASON:
            raise ValueError(f"the reason is longer than {MAX_REASON} bytes")

    @property
    def path(self) -> str:
        """The path of the client."""
        return PATH.format(client_id=quote(self.client_id, safe=""))

    @property
    def target(self) -> str:
        """Path and query with which this is asked for."""
        return f"{self.path}?{urlencode({'code': int(self.code), 'reason': self.reason})}"


@dataclass(frozen=True, slots=True)
class DisconnectResult:
    """The end of a client's connections."""

    connections: int = field(metadata={"description": "Connections that were closed."})


def read_code(text: str) -> int:
    """Return the close code in a text.

    Raises:
        ValueError: it is none.
    """
    if not re.fullmatch(r"4[0-9]{3}", text):
        raise ValueError("code: must be a close code from 4000 to 4999")
    return int(text)


def read_disconnect(target: str) -> Disconnect:
    """Return what is asked for with a path and query.

    Raises:
        InvalidClientId: the id is none.
        ValueError: the code or the reason cannot be used.
    """
    at = urlsplit(target)
    query = parse_qs(at.query, keep_blank_values=True)
    code = read_code(query.get("code", [str(int(CloseCode.DISCONNECTED))])[-1])
    return Disconnect(unquote(at.path.rpartition("/")[2]), code, query.get("reason", [BY_OPERATOR])[-1])
