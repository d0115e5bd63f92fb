"""The paths of an application that are its hub's."""

from collections.abc import Callable
from typing import Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Request, Response, WebSocket
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Mount, Route, WebSocketRoute

from wsctl.errors import CannotStart
from wsctl.server.library.routes import HubRoutes


async def of_hub(websocket: WebSocket) -> None: ...


async def own(websocket: WebSocket) -> None: ...


async def stream_of_hub(request: Request) -> Response:
    return Response()


def streams_in(app: Any) -> HubRoutes:
    return HubRoutes(app, stream_of_hub, kind=Route)


async def own_answer() -> None: ...


def hub_router() -> APIRouter:
    router = APIRouter()
    router.add_api_websocket_route("/ws/{client_id}", of_hub)
    router.add_api_route("/events/{client_id}", own_answer, methods=["POST"])
    router.add_api_route("/events/{client_id}", stream_of_hub)
    return router


def including(**options: Any) -> FastAPI:
    app = FastAPI()
    app.include_router(hub_router(), **options)
    return app


def nested() -> FastAPI:
    middle = APIRouter(prefix="/v1")
    middle.include_router(hub_router(), prefix="/live")
    app = FastAPI()
    app.include_router(middle)
    return app


def mounted() -> Starlette:
    return Starlette(routes=[Mount("/chat", including())])


def wrapped() -> Any:
    return CORSMiddleware(including(prefix="/a"))


def plain() -> Starlette:
    paths = WebSocketRoute("/deep/er/{client_id}", of_hub), Route("/deep/est/{client_id}", stream_of_hub)
    return Starlette(routes=list(paths))


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (including, "/ws/bob"),
        (nested, "/v1/live/ws/bob"),
        (mounted, "/chat/ws/bob"),
        (wrapped, "/a/ws/bob"),
        (plain, "/deep/er/bob"),
    ],
)
def test_the_path_of_a_client_is_found_wherever_the_router_is_included(
    make: Callable[[], Any], path: str
) -> None:
    found = HubRoutes(make(), of_hub).find(path)
    assert found
    assert found.client_id == "bob"


@pytest.mark.parametrize(
    ("make", "path"),
    [
        (including, "/events/bob"),
        (nested, "/v1/live/events/bob"),
        (mounted, "/chat/events/bob"),
        (wrapped, "/a/events/bob"),
        (plain, "/deep/est/bob"),
    ],
)
def test_so_is_the_path_of_an_event_stream(make: Callable[[], Any], path: str) -> None:
    found = streams_in(make()).find(path)
    assert found
    assert found.client_id == "bob"


def test_the_path_of_a_stream_is_not_that_of_a_websocket() -> None:
    app = including()
    assert HubRoutes(app, of_hub).find("/events/bob") is None
    assert streams_in(app).find("/ws/bob") is None


def test_a_route_for_get_that_comes_first_keeps_its_path_and_one_for_other_methods_does_not() -> None:
    app = FastAPI()
    app.add_api_route("/events/own", own_answer)
    app.add_api_route("/events/{name}", own_answer, methods=["DELETE"])
    app.include_router(hub_router())
    routes = streams_in(app)
    assert routes.find("/events/own") is None
    assert routes.find("/events/bob")


@pytest.mark.parametrize("path", ["/", "/ws", "/ws/", "/ws/a/b", "/x/ws/bob", "/ws/bob/"])
def test_other_paths_are_not_the_hubs(path: str) -> None:
    assert HubRoutes(including(), of_hub).find(path) is None


def test_a_prefix_can_have_parameters() -> None:
    found = HubRoutes(including(prefix="/rooms/{room}/{floor:int}"), of_hub).find("/rooms/a%20b/3/ws/b%C3%A9")
    assert found == ("b%C3%A9", {"room": "a b", "floor": 3})


def test_a_route_that_comes_first_keeps_its_path() -> None:
    app = FastAPI()
    app.add_api_websocket_route("/ws/own", own)
    app.include_router(hub_router())
    app.add_api_websocket_route("/ws/{name}", own)
    routes = HubRoutes(app, of_hub)
    assert routes.find("/ws/own") is None
    assert routes.find("/ws/bob")


def test_a_mount_that_comes_first_keeps_what_is_below_it() -> None:
    app = FastAPI()
    app.mount("/ws", Starlette())
    app.include_router(hub_router())
    assert HubRoutes(app, of_hub).find("/ws/bob") is None


@pytest.mark.parametrize("app", [FastAPI(), Starlette(), own, object()])
def test_an_application_without_the_router_has_no_such_routes(app: Any) -> None:
    routes = HubRoutes(app, of_hub)
    assert not routes
    assert routes.find("/ws/bob") is None


def test_an_application_that_wraps_itself_is_looked_through_to_a_bound() -> None:
    class Endless:
        @property
        def app(self) -> "Endless":
            return Endless()

    assert not HubRoutes(Endless(), of_hub)


@pytest.mark.parametrize("where", ["router", "application"])
def test_dependencies_that_no_client_would_pass_are_an_error(where: str) -> None:
    guards: list[Any] = [Depends(lambda: None)]
    app = FastAPI(dependencies=guards if where == "application" else None)
    app.include_router(hub_router(), dependencies=guards if where == "router" else None)
    with pytest.raises(CannotStart, match=r"/ws/\{client_id\} has dependencies.*on_connect"):
        HubRoutes(app, of_hub)
    with pytest.raises(CannotStart, match=r"/events/\{client_id\} has dependencies"):
        streams_in(app)
