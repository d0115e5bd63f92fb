"""wsctl's own application, as a server process serves it: made when it is first asked for.

Importing FastAPI takes as long as everything else that a server imports, and clients need nothing of it. So
it is imported once they can connect; a request that comes sooner waits for that. Where work waits for the
process from its first moment on, it is imported before.
"""

import asyncio
import gc
import importlib
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, suppress
from enum import Enum, auto
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


class RouteSet(Enum):
    """The routes that an application has."""

    ALL = auto()
    CLIENTS = auto()
    """Without those of operators, which have an address of their own."""
    ADMIN = auto()
    """Those of operators and probes alone, at their own address; anyone who reaches it may read metrics."""


class OwnApplication:
    """The application that `create` makes; its lifespan is `running`, and needs nothing of it.

    It is made in a thread: what is still to be imported would stop the event loop for a quarter of a second.
    """

    def __init__(
        self, create: Callable[[], ASGIApp], running: Callable[[], AbstractAsyncContextManager[None]]
    ) -> None:
        self._create = create
        self._running = running
        self._made: asyncio.Future[ASGIApp] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._run_lifespan(receive, send)
        else:
            app = await self._get()
            await app(scope, receive, send)

    async def _get(self) -> ASGIApp:
        if self._made is None:
            self._made = asyncio.get_running_loop().create_future()
            _start_thread(self._make, asyncio.get_running_loop(), self._made)
        return await asyncio.shield(self._made)  # others wait for it too

    def _make(self, loop: asyncio.AbstractEventLoop, made: "asyncio.Future[ASGIApp]") -> None:
        answer: Callable[[Any], None] = made.set_result
        try:
            found: Any = self._create()
        except Exception as error:
            answer, found = made.set_exception, error
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(answer, found)

    async def _run_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        async with self._running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def import_later() -> None:
    """Import what the application needs, in a thread, so that the first request finds it."""
    _start_thread(import_application)


def import_application() -> None:
    """Import what the application needs, now."""
    with suppress(ImportError):  # the first request tells it
        importlib.import_module("wsctl.server.app")
    gc.freeze()  # modules live to the end, and need not be looked at again


def _start_thread(work: Callable[..., None], *args: Any) -> None:
    """Start a thread that a process which ends does not wait for."""
    threading.Thread(target=work, args=args, daemon=True).start()
