"""The lease of a node: its turn among the others, and how far it is behind the log."""

import pytest

from tests.conftest import StartStore
from tests.log.redis.test_session import peers
from tests.support.peer import Peer, new_prefix
from tests.support.store import StoreProcess
from wsctl.log.redis.lease import Lag

pytestmark = pytest.mark.anyio


async def test_turns_go_in_the_order_in_which_they_were_asked_for(store: StoreProcess) -> None:
    async with peers(store, 3) as nodes:
        for before, node in enumerate(nodes):
            node.session.want_turn(True)
            await node.hears(("turn", before))
        nodes[0].session.want_turn(False)
        nodes[1].session.lease.renew_soon()
        await nodes[1].hears(("turn", 0))
        await nodes[2].hears(("turn", 1))
        await nodes[1].session.end()
        await nodes[2].hears(("turn", 0))


async def test_a_node_that_asks_in_the_same_millisecond_as_another_comes_behind(store: StoreProcess) -> None:
    async with peers(store, 2) as (first, second):
        first.session.want_turn(True)
        await first.hears(("turn", 0))
        # Whatever its name is, and as far as clocks go, the first one has asked just now.
        soon = int(store.command("TIME")[0]) * 1000 + 60_000
        store.command("ZADD", f"{first.session._keys.base}:turns", soon, first.session.node)
        second.session.want_turn(True)
        await second.hears(("turn", 1))
        assert ("turn", 0) not in second.told


async def test_the_turn_of_a_node_whose_lease_has_ended_is_over(store: StoreProcess) -> None:
    async with peers(store, 2) as (dead, next_one):
        for before, node in enumerate((dead, next_one)):
            node.session.want_turn(True)
            await node.hears(("turn", before))
        await dead.session.suspend()
        store.command("ZADD", f"{dead.session._keys.base}:lease", 1, dead.session.node)
        await next_one.hears(("turn", 0))
        assert list(next_one.session.lease.peers) == [next_one.session.node]


def test_who_has_read_everything_is_not_behind() -> None:
    lag = Lag()
    assert lag.seconds((0, 0), 100.0) == 0.0
    lag.note((5, 0), (5, 0), 100.0)
    assert lag.seconds((5, 0), 200.0) == 0.0
    assert lag.newest == (5, 0)


def test_it_is_the_time_since_something_unread_is_known() -> None:
    lag = Lag()
    lag.note((5, 0), (3, 0), 100.0)
    lag.note((6, 0), (4, 0), 101.0)
    assert lag.seconds((4, 9), 102.5) == 2.5
    assert lag.newest == (6, 0)


def test_who_reads_on_behind_a_log_that_grows_does_not_fall_back_for_ever() -> None:
    lag = Lag()
    for n in range(100):
        lag.note((n + 1, 0), (n, 0), float(n))
        assert lag.seconds((n, 0), n + 0.5) == 0.5
        assert lag.seconds((n + 1, 0), n + 0.9) == 0.0


def test_a_log_that_began_anew_is_read_when_its_newest_is() -> None:
    lag = Lag()
    lag.note((900, 0), (900, 0), 100.0)
    lag.note((2, 0), (2, 0), 101.0)
    assert lag.seconds((2, 0), 150.0) == 0.0
    lag.note((3, 0), (2, 0), 102.0)
    assert lag.seconds((2, 0), 103.0) == 1.0


async def test_a_node_that_reads_on_is_not_behind(start_store: StartStore) -> None:
    async with Peer(start_store().url, new_prefix()).running() as node:
        node.say("one")
        await node.settle()
        await node.until_true(lambda: node.session.lease.lag.newest == node.log.position)
        assert node.session.lease.lag_s == 0.0
