"""Large messages to few: what stalls clients, and fills histories, without work for anybody else."""

import asyncio

from tests.soak.request import ask, content

SIZE = 60_000
"""Bytes of each, nearly as much as a message may have."""

AT_ONCE = 8
"""Requests at a time."""

NOBODY = "nobody"


async def feed(port: int, token: str, client_id: str) -> list[int | None]:
    """So many at once to a client; how many got each, None for one that was not taken."""
    body = {"data": "x" * SIZE, "to": [client_id]}
    asked = (ask(port, "POST", "/api/broadcast", body, token) for _ in range(AT_ONCE))
    return [(content(answer) or {}).get("recipients") for answer in await asyncio.gather(*asked)]


async def fill(port: int, token: str, history_bytes: int) -> None:
    """More than a history may have."""
    for _ in range(2 + history_bytes // (SIZE * AT_ONCE)):
        await feed(port, token, NOBODY)
