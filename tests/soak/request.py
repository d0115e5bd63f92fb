"""An HTTP request on a connection of its own."""

import json
from contextlib import suppress
from typing import Any

from tests.support.raw_stream import RawStream


async def ask(port: int, method: str, path: str, body: object = None, token: str | None = None) -> bytes:
    """The whole answer; nothing when there is none. A server may answer and hang up before it has read."""
    sent = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Connection: close",
        f"Content-Length: {len(sent)}",
    ]
    if token is not None:
        head.append(f"Authorization: Bearer {token}")
    async with await RawStream.connect(port) as peer:
        with suppress(OSError):
            await peer.send("\r\n".join([*head, "", ""]).encode() + sent)
        return await peer.answer()


def status(answer: bytes) -> str:
    """Of an answer, as text; nothing when there is none."""
    return answer[9:12].decode()


def content(answer: bytes) -> Any:
    """The JSON of an answer; None when it has none."""
    try:
        return json.loads(answer.partition(b"\r\n\r\n")[2])
    except ValueError:
        return None
