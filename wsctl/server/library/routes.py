"""The routes of an application that lead to its hub.

Under `wsctl serve` the hub's clients are served without the application, so that it must be known which paths
are theirs. The application's own order of routes holds: what an earlier route takes is not the hub's.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from starlette.convertors import Convertor
from starlette.routing import Mount, Route, WebSocketRoute, compile_path

from wsctl.errors import CannotStart
from wsctl.server.client_paths import ClientPath

MAX_DEPTH = 16
"""Applications within each other that are looked through: middleware, mounts."""

_INNER = ("app", "other_asgi_app", "application")
"""The attributes in which middleware and other frameworks keep the application that they wrap."""

_CLIENT_ID = "client_id"

RouteKind = type[WebSocketRoute | Route]


class _Found(NamedTuple):
    """A route: its path, and whether it is the hub's and calls dependencies first."""

    path: str
    of_hub: bool
    guarded: bool = False


class HubRoutes:
    """The routes of one kind that lead to an endpoint, in the application's order: those for WebSockets, or
    those for requests."""

    def __init__(
        self,
        app: object,
        endpoint: Callable[..., Any],
        *,
        kind: type[WebSocketRoute | Route] = WebSocketRoute,
    ) -> None:
        found = list(_routes(app, _Wanted(endpoint, kind)))
        last = max((at for at, route in enumerate(found) if route.of_hub), default=-1)
        self._check(found)
        self._patterns = [(*_compiled(route.path), route.of_hub) for route in found[: last + 1]]

    def __bool__(self) -> bool:
        return bool(self._patterns)

    def find(self, path: str) -> ClientPath | None:
        """Return the client that a path names, still percent-encoded; None if the path is not the hub's."""
        for pattern, convertors, of_hub in self._patterns:
            if matched := pattern.match(path):
                return _client_path(matched.groupdict(), convertors) if of_hub else None
        return None

    def _check(self, found: Sequence[_Found]) -> None:
        guarded = next((route.path for route in found if route.of_hub and route.guarded), None)
        if guarded:
            text = f"the hub's route {guarded} has dependencies, which no client of a hub passes"
            raise CannotStart(
                f"{text}: check clients in @hub.on_connect, and include hub.router without them"
            )


class _Wanted(NamedTuple):
    """A search: routes of one kind, and among them those of an endpoint."""

    endpoint: Callable[..., Any]
    kind: RouteKind


def _client_path(groups: dict[str, str], convertors: dict[str, Convertor[Any]]) -> ClientPath:
    name = groups.pop(_CLIENT_ID)
    params = {key: convertors[key].convert(unquote(value)) for key, value in groups.items()}
    return ClientPath(name, params)


def _compiled(path: str) -> tuple[Any, dict[str, Convertor[Any]]]:
    pattern, _, convertors = compile_path(path)
    return pattern, convertors


def _routes(app: object, wanted: _Wanted, prefix: str = "", depth: int = MAX_DEPTH) -> Iterator[_Found]:
    """Yield the routes of an application that are of the wanted kind, or of what it wraps."""
    routes = getattr(app, "routes", None)
    if isinstance(routes, list):
        for route in routes:
            yield from _of_route(route, wanted, prefix, depth)
        return
    inner = next((found for name in _INNER if (found := getattr(app, name, None)) is not None), None)
    if inner is not None and depth:
        yield from _routes(inner, wanted, prefix, depth - 1)


def _of_route(route: Any, wanted: _Wanted, prefix: str, depth: int) -> Iterator[_Found]:
    if isinstance(route, Mount):
        if depth:
            yield from _routes(route.app, wanted, prefix + route.path, depth - 1)
        yield _Found(f"{prefix}{route.path}/{{path:path}}", of_hub=False)
    elif isinstance(getattr(route, "original_route", route), wanted.kind):
        if "GET" not in (getattr(route, "methods", None) or {"GET"}):
            return
        # FastAPI's routes have a list of dependencies, Starlette's have none.
        guarded = bool(getattr(route, "dependencies", ()))
        yield _Found(prefix + route.path, route.endpoint == wanted.endpoint, guarded)
    elif included := getattr(route, "effective_route_contexts", None):
        # FastAPI keeps an included router as one route, which makes those that it stands for when asked.
        for context in included():
            # What stands for a route for requests has all that is asked for here.
            inner = getattr(context, "starlette_route", None) or context
            yield from _of_route(inner, wanted, prefix, depth)
