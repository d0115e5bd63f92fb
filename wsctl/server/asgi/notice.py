"""The notice that a server is about to end, as an application sees it.

It is in the scope of each connection and of the lifespan, as the extension `wsctl.shutdown`.
"""

import asyncio
import inspect
import time
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from starlette.requests import HTTPConnection

EXTENSION = "wsctl.shutdown"
"""The name under `extensions` of a scope."""


class ShutdownState:
    """The end of a server, which all notices read.

    Attributes:
        began: set while the server drains, and `withdrawn` while it does not.
        reason: the cause of the drain, as in `wsctl status`; None while there is none.
        deadline_at: the moment on the clock at which everything that is left is closed by force.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self.began = asyncio.Event()
        self.withdrawn = asyncio.Event()
        self.withdrawn.set()
        self.reason: str | None = None
        self.deadline_at = 0.0

    def begin(self, remaining_s: float, reason: str) -> None:
        """Note that a drain has begun, or that its deadline has moved."""
        self.deadline_at = self.clock() + remaining_s
        self.reason = reason
        self.withdrawn.clear()
        self.began.set()

    def withdraw(self) -> None:
        """Note that the drain was cancelled."""
        self.began.clear()
        self.withdrawn.set()
        self.reason = None


class ShutdownNotice:
    """The notice for one connection; it can be unset again, since a drain can be cancelled.

    Example:
        async def ticker(websocket: WebSocket) -> None:
            notice = shutdown_notice(websocket)
            await websocket.accept()
            while not notice.is_set():
                await websocket.send_text(await next_price())
            await websocket.close(1012, "the server restarts: reconnect")

    Attributes:
        closes_at: the moment on the server's clock at which a policy closes this connection, if one does.
    """

    __slots__ = ("_state", "closes_at")

    def __init__(self, state: ShutdownState) -> None:
        self._state = state
        self.closes_at: float | None = None

    def is_set(self) -> bool:
        """Tell whether the server drains."""
        return self._state.began.is_set()

    async def wait(self) -> None:
        """Wait until the server drains; it may have stopped doing so when this returns."""
        await self._state.began.wait()

    @property
    def deadline(self) -> float | None:
        """The seconds until this connection is closed, by its policy or by force, 0 when that is due; None
        while the server does not drain."""
        if not self.is_set():
            return None
        last = self._state.deadline_at
        at = last if self.closes_at is None else min(self.closes_at, last)
        return max(0.0, at - self._state.clock())

    @property
    def reason(self) -> str | None:
        """The cause of the drain: a signal's name, `requested`, `handover`; None while there is none."""
        return self._state.reason


class _NoNotice(ShutdownNotice):
    """The notice under a server that gives none: it never fires."""

    def __init__(self) -> None:
        """Have no state to read."""

    def is_set(self) -> bool:
        return False

    async def wait(self) -> None:
        await asyncio.get_running_loop().create_future()

    @property
    def deadline(self) -> float | None:
        return None

    @property
    def reason(self) -> str | None:
        return None


_NO_NOTICE = _NoNotice()


def shutdown_notice(connection: HTTPConnection | MutableMapping[str, Any]) -> ShutdownNotice:
    """Return the notice for a WebSocket, a request, or an ASGI scope. Under a server that knows nothing of it
    one is returned that never fires. It can be a dependency in FastAPI.

    Example:
        @app.websocket("/ws/prices")
        async def prices(
            websocket: WebSocket, notice: Annotated[ShutdownNotice, Depends(shutdown_notice)]
        ) -> None: ...
    """
    scope: Mapping[str, Any] = getattr(connection, "scope", connection)
    found = (scope.get("extensions") or {}).get(EXTENSION)
    return found if isinstance(found, ShutdownNotice) else _NO_NOTICE


# FastAPI gives a dependency the connection only where it is annotated so and nothing else.
shutdown_notice.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
    [inspect.Parameter("connection", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=HTTPConnection)],
    return_annotation=ShutdownNotice,
)
