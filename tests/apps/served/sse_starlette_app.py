"""sse-starlette: an event stream."""

from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from tests.apps.served.stamps import lifespan, stamps


async def stream(_request: Request) -> EventSourceResponse:
    return EventSourceResponse(stamps())


app = Starlette(routes=[Route("/events", stream)], lifespan=lifespan)
