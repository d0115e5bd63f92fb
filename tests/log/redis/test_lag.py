"""How far behind the log a node is."""

import pytest

from tests.conftest import StartStore
from tests.support.peer import Peer, new_prefix
from wsctl.log.redis.lag import Lag


def test_who_has_read_everything_is_not_behind() -> None:
    lag = Lag()
    assert lag.seconds((0, 0), 100.0) == 0.0
    lag.heard((5, 0), (5, 0), 100.0)
    assert lag.seconds((5, 0), 200.0) == 0.0
    assert lag.newest == (5, 0)


def test_it_is_the_time_since_something_unread_is_known() -> None:
    lag = Lag()
    lag.heard((5, 0), (3, 0), 100.0)
    lag.heard((6, 0), (4, 0), 101.0)
    assert lag.seconds((4, 9), 102.5) == 2.5
    assert lag.newest == (6, 0)


def test_who_reads_on_behind_a_log_that_grows_does_not_fall_back_for_ever() -> None:
    lag = Lag()
    for n in range(100):
        lag.heard((n + 1, 0), (n, 0), float(n))
        assert lag.seconds((n, 0), n + 0.5) == 0.5
        assert lag.seconds((n + 1, 0), n + 0.9) == 0.0


def test_a_log_that_began_anew_is_read_when_its_newest_is() -> None:
    lag = Lag()
    lag.heard((900, 0), (900, 0), 100.0)
    lag.heard((2, 0), (2, 0), 101.0)
    assert lag.seconds((2, 0), 150.0) == 0.0
    lag.heard((3, 0), (2, 0), 102.0)
    assert lag.seconds((2, 0), 103.0) == 1.0


@pytest.mark.anyio
async def test_a_node_that_reads_on_is_not_behind(start_store: StartStore) -> None:
    async with Peer(start_store().url, new_prefix()).running() as node:
        node.say("one")
        await node.settle()
        await node.until_true(lambda: node.link.lag.newest == node.log.position)
        assert node.link.lag_s == 0.0
