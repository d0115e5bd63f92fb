"""python-socketio on stock uvicorn, without rooms and polling: each event is emitted to all."""

import socketio

from tests.bench.peers.listening import serve_by_uvicorn

server = socketio.AsyncServer(async_mode="asgi", transports=["websocket"], ping_interval=3600)


@server.event
async def message(sid: str, data: str) -> None:
    await server.emit("message", data)


# The path is that of the other servers, so that the same client finds it.
app = socketio.ASGIApp(server, socketio_path="ws")
serve_by_uvicorn(app)
