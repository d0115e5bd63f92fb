"""Clients are asked to connect again when their connections are old, at moments that tests choose."""

import pytest

from tests.support.frames import read
from tests.support.wires import MakeServer, Server, frames
from wsctl.server.connection_age import PATIENCE, REASON, SPREAD, ConnectionAges

pytestmark = pytest.mark.anyio

AGE = 3600.0


@pytest.fixture
def server(make_server: MakeServer) -> Server:
    made = make_server(max_connection_age=AGE)
    made.node.started()
    return made


def ages_of(server: Server) -> ConnectionAges:
    """The part under test, as the ticker of the node calls it."""
    found = [job.__self__ for job in server.node.ticker.jobs if hasattr(job, "__self__")]
    return next(each for each in found if isinstance(each, ConnectionAges))


def at(server: Server, moment: float) -> None:
    server.now = moment
    ages_of(server).check(moment)
    server.node.manager.flush()


async def test_a_client_is_asked_once_at_its_moment_and_closed_a_minute_later(server: Server) -> None:
    wire, transport = server.join("bob")
    moment = ages_of(server).moment(wire)
    assert AGE * (1 - SPREAD) <= moment - wire.opened <= AGE * (1 + SPREAD)
    at(server, moment - 1)
    assert len(messages(transport.drain())) == len(["welcome"])
    at(server, moment)
    _, frame = messages(transport.drain())
    assert frame == {"type": "shutdown", "deadline_s": PATIENCE, "reason": REASON, "reconnect_in_s": 0.0}
    at(server, moment + PATIENCE - 1)
    assert (len(messages(transport.drain())), wire.end_reason) == (2, None)
    at(server, moment + PATIENCE)
    assert (wire.code, wire.reason) == (1012, REASON)
    assert server.node.manager.traffic.closed[1012] == 1


async def test_a_stream_ends_at_its_moment_for_its_client_cannot_leave(server: Server) -> None:
    stream, transport = server.join_stream("bob")
    moment = ages_of(server).moment(stream)
    at(server, moment)
    server.later(1)
    assert (stream.code, b'"shutdown"' in transport.drain()) == (1012, True)


async def test_moments_are_spread_though_all_came_together(server: Server) -> None:
    wires = [server.join(f"client-{n}")[0] for n in range(100)]
    left = [(ages_of(server).moment(wire) - wire.opened) / AGE for wire in wires]
    for begin in (0.90, 0.95, 1.00, 1.05):
        assert 10 <= sum(begin <= each < begin + 0.05 for each in left) <= 40


async def test_the_moment_stays_in_another_process(make_server: MakeServer) -> None:
    one, other = make_server(max_connection_age=AGE), make_server(max_connection_age=AGE)
    here, there = one.join("bob")[0], other.join("bob")[0]
    there.serial = here.serial
    assert ages_of(one).moment(here) == ages_of(other).moment(there)


async def test_nobody_is_asked_while_a_drain_goes_on(server: Server) -> None:
    wire, _ = server.join("bob")
    moment = ages_of(server).moment(wire)
    server.node.driver.drain()
    at(server, moment + PATIENCE)
    assert wire.end_reason is None


async def test_without_the_setting_nothing_looks_at_ages(make_server: MakeServer) -> None:
    with pytest.raises(StopIteration):
        ages_of(make_server())


def messages(received: bytes) -> list[object]:
    return [read(bytes(frame.data)) for frame in frames(received)[0]]
