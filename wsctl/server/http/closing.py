"""The last answers of a server that shuts down: behind each of them its connection ends."""

from collections.abc import Callable
from typing import Any

from starlette.types import Message

CLOSE_HEADER = (b"connection", b"close")


class ClosingMiddleware:
    """Ends HTTP connections with their next answer while the server shuts down, as `is_shutting_down` tells,
    so that clients connect anew to another server (RFC 9112 section 9.6)."""

    def __init__(self, app: Any, is_shutting_down: Callable[[], bool]) -> None:
        self._app = app
        self._is_shutting_down = is_shutting_down

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def send_closing(message: Message) -> None:
            if message["type"] == "http.response.start" and self._is_shutting_down():
                message = ending_connection(message)
            await send(message)

        await self._app(scope, receive, send_closing if scope["type"] == "http" else send)


def ending_connection(start: Message) -> Message:
    """Return the start of an answer behind which the connection ends."""
    return {**start, "headers": [*start.get("headers", ()), CLOSE_HEADER]}
