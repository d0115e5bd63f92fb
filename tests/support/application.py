"""An application of one's own, which a server under test serves."""

from pathlib import Path

SOURCE = """
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "heard"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        stays = scope["path"].startswith("/stream")
        await send({"type": "http.response.body", "body": b"hello", "more_body": stays})
        while stays and (await receive())["type"] != "http.disconnect":
            pass
"""
"""Answers each text of a WebSocket with another; an answer at `/stream...` begins and does not end."""


def write_application(folder: Path) -> tuple[str, ...]:
    """Write the application into a folder; return the words with which `wsctl serve` serves it."""
    (folder / "echo.py").write_text(SOURCE)
    return ("echo:app", "--app-dir", str(folder))
