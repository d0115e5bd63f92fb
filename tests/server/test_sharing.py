"""What one server among several tells its operators when its link to Redis says something."""

import json

import pytest

from tests.support.frames import read
from tests.support.wires import MakeServer, Server, frames
from wsctl.drain.phases import Phase
from wsctl.server.sharing import Sharing

pytestmark = pytest.mark.anyio

NOWHERE = "redis://somebody:secret@127.0.0.1:1/0"
"""Nobody asks it anything here."""


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    return make_server(redis=NOWHERE, max_draining=2)


def member(server: Server) -> Sharing:
    assert server.node.shared
    return server.node.shared


async def test_while_redis_is_away_everybody_can_see_it(server: Server) -> None:
    assert server.node.reporter.health().degraded is False
    assert server.node.reporter.status().degraded is None
    member(server).session.availability.why = "no answer"
    assert server.node.reporter.health().degraded is True
    status = server.node.reporter.status()
    assert status.degraded == "Redis is away: no answer"
    assert status.redis
    assert (status.redis.state, status.redis.why) == ("away", "no answer")
    assert status.redis.url == "redis://127.0.0.1:1/0"
    assert "secret" not in json.dumps(status.to_json())
    _, transport = server.join("bob")
    found, _ = frames(transport.drain())
    assert read(bytes(found[0].data))["server"]["degraded"] is True


async def test_a_server_alone_is_never_degraded(make_server: MakeServer) -> None:
    alone = make_server()
    status = alone.node.reporter.status()
    assert [status.degraded, status.redis, status.nodes, status.cluster] == [None] * 4
    assert alone.node.reporter.health().degraded is False


@pytest.mark.parametrize(("before", "waiting_for"), [(0, 0), (1, 0), (2, 1), (4, 3)])
async def test_so_many_drain_at_a_time(server: Server, before: int, waiting_for: int) -> None:
    server.node.started()
    server.join("bob")
    server.node.driver.drain()
    member(server).turn(before)
    drain = server.node.reporter.status().drain
    assert drain
    assert drain.waiting_for == waiting_for
    assert drain.phase == (Phase.LAMEDUCK if waiting_for else Phase.DRAINING)
