"""The paths at which clients are connected."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class ClientPath(NamedTuple):
    """The path of a client: its id, still percent-encoded, and what else the path names."""

    client_id: str
    params: Mapping[str, Any] = MappingProxyType({})


FindClient = Callable[[str], ClientPath | None]
"""Returns what a path, without the root path, names; None if it is not a client's."""


class ClientPaths(NamedTuple):
    """The paths at which clients can be connected: by a WebSocket, or by an event stream."""

    websocket: FindClient
    stream: FindClient


def _find_below(prefix: str) -> FindClient:
    def find(path: str) -> ClientPath | None:
        name = path[len(prefix) :]
        return ClientPath(name) if path.startswith(prefix) and "/" not in name else None

    return find


def _find_none(path: str) -> None:
    return None


OWN_PATHS = ClientPaths(_find_below("/ws/"), _find_below("/events/"))
"""The paths where wsctl's own routes are served."""

NO_PATHS = ClientPaths(_find_none, _find_none)
"""No path is a client's."""
