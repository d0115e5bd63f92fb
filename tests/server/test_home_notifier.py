"""What clients are told of the home of the log."""

from typing import Any

import pytest
from websockets.frames import Opcode

from tests.support.frames import read
from tests.support.homes import FollowerStandIn
from tests.support.transport import HandTransport
from tests.support.wires import MakeServer, close_of, frames, turn
from wsctl.server.home_notifier import AWAY

pytestmark = pytest.mark.anyio


def told(transport: HandTransport) -> list[dict[str, Any]]:
    """What a client was sent after its first welcome."""
    found, _ = frames(transport.drain())
    return [read(bytes(f.data)) for f in found if f.opcode is Opcode.TEXT][1:]


async def test_clients_hear_that_nothing_is_published_and_whether_they_missed_any(
    make_server: MakeServer,
) -> None:
    server = make_server()
    transports = {name: server.join(name)[1] for name in ("bob", "eve")}
    server.node.log.cut_off("Error 111 connecting to 127.0.0.1:37487")
    server.node.log.back(recovered=True)
    server.node.log.back(recovered=False)
    await turn()
    for name, transport in transports.items():
        error, kept, lost = told(transport)
        assert (error["type"], error["code"]) == ("error", "degraded")
        assert error["message"] == AWAY
        assert (kept["type"], kept["client_id"], kept["recovered"]) == ("welcome", name, True)
        assert (lost["type"], lost["client_id"], lost["recovered"]) == ("welcome", name, False)
        assert lost["id"] == server.node.log.newest


async def test_who_has_a_newer_connection_elsewhere_is_replaced(make_server: MakeServer) -> None:
    server = make_server()
    wire, transport = server.join("bob")
    follower = FollowerStandIn()
    server.node.log.follower = follower
    server.node.home_notifier.replaced("bob", wire.serial + 1)
    assert follower.told == [("bob", wire.serial + 1)]
    await turn()
    assert wire.end_reason is None
    server.node.home_notifier.replaced("bob", wire.serial)
    await turn()
    assert close_of(frames(transport.drain())[0])[0] == 4501
    assert (wire.code, len(follower.told)) == (4501, 1)
    server.node.home_notifier.replaced("eve", None)
    assert follower.told[1:] == [("eve", None)]
