"""python-socketio: an event that is acknowledged."""

from typing import Any

import socketio

from tests.apps.served.stamps import report_end, stamp

server = socketio.AsyncServer(async_mode="asgi")
app = socketio.ASGIApp(server, on_shutdown=report_end)


@server.event
async def say(_sid: str, _data: Any) -> str:
    return stamp()
