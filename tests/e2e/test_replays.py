"""Clients that come back for all of history hold up nobody, on a real server."""

import contextlib
import json

from tests.conftest import StartServer
from tests.support.raw import RawClient, handshake

MISSED = 250
SIZE = 60_000
"""Characters of each: together a quarter of what history holds."""

RESUMING = 8


def test_a_handshake_does_not_wait_for_those_who_resume(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0")
    since = server.api("POST", "/api/broadcast", {"data": "the one that was seen"})[1]["id"]
    words = json.dumps(list(range(SIZE // 7)))[:SIZE]
    for n in range(MISSED):
        assert server.api("POST", "/api/broadcast", {"data": f"{n} {words}"})[0] == 200
    with contextlib.ExitStack() as stack:
        resuming = [stack.enter_context(RawClient(server.port)) for _ in range(RESUMING)]
        for n, peer in enumerate(resuming):
            offer = "Sec-WebSocket-Extensions: permessage-deflate"
            peer.send(handshake(f"/ws/back-{n}?since={since}", offer))
        plain = stack.enter_context(RawClient(server.port))
        plain.join("new")
        # Each of them is sent a slice a turn: it takes hundreds until all have everything.
        assert server.status()["messages"]["delivered"] < RESUMING * MISSED
        assert b"permessage-deflate" in resuming[0].read_head()
