"""A worker's end of the channel to its parent."""

import asyncio
import socket
from collections.abc import Callable

import pytest

from tests.support.other_end import OtherEnd
from tests.support.server import DEADLINE
from tests.support.wires import MakeServer
from wsctl.server.node_control import control_of
from wsctl.server.workers.parent_link import ParentLink
from wsctl.server.workers.protocol import WorkerContext

pytestmark = pytest.mark.anyio


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("upgrading", [False, True])
async def test_a_worker_knows_of_an_upgrade_until_it_is_over_or_the_parent_gone(
    make_server: MakeServer, upgrading: bool
) -> None:
    ours, theirs = socket.socketpair()
    parent, node = OtherEnd(ours), make_server().node
    link = ParentLink(WorkerContext(theirs, 1, 7, False, False, None, [], upgrading=upgrading))
    link.open()
    link.connect(node.driver, node.reporter, control_of(node), keys=None)
    assert link.is_upgrading() is upgrading
    for under_way in (not upgrading, upgrading, True):
        parent.say("upgrading", under_way=under_way)
        await until(lambda: link.is_upgrading() is under_way)  # noqa: B023
    parent.dispose()
    await until(lambda: not link.is_upgrading())
    assert link.lost
