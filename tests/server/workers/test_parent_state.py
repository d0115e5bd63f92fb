"""What a parent leaves to the program that it becomes."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from tests.support.fake_parent import fake_parent
from tests.support.fake_worker import FACTS
from tests.support.other_end import pipes
from wsctl.errors import CannotStart
from wsctl.ipc.channel import ChannelState
from wsctl.ipc.framing import Packet
from wsctl.ipc.rpc import PendingRequest, RpcState
from wsctl.server.workers import parent_state, protocol
from wsctl.server.workers.control_http import ConnectionState
from wsctl.server.workers.parent_state import ParentState, receive_state
from wsctl.server.workers.pool import PoolState, SlotState, WorkerPart
from wsctl.server.workers.rolling_upgrade import UpgradeState
from wsctl.server.workers.worker import LogPipe, WorkerState

pytestmark = pytest.mark.anyio

VARIABLE = "WSCTL_RENEWAL_FD"

SERVES = WorkerState(
    number=1,
    pid=1001,
    refused=None,
    status=dict(FACTS),
    reported_at=12.5,
    code=None,
    keys="jwks",
    exit_code=0,
    listens=True,
    channel=ChannelState(20, b"half a pack", [21, 22], [b"rest of one", b"whole"], [[], [23, 24]]),
    rpc=RpcState(7, [PendingRequest(3, "GET", "/api/status", b""), PendingRequest(4, "POST", "/x", b"{}")]),
    output=LogPipe(25, b"half a line"),
)

DEAD = WorkerState(2, 1002, "no key", None, float("-inf"), -9, None, 3, False, None, RpcState(1, []), None)

PARENT = ParentState(
    generation=2,
    started=1.5,
    left=99.25,
    blocked=[1],
    public=[10, 11],
    admin=[12],
    control=13,
    requests=[ConnectionState(14, b"GET /api/up"), ConnectionState(15, b"")],
    upgrade=UpgradeState(98.0, 40),
    pool=PoolState(
        [SlotState(1, [1.0, 2.5], 0, None), SlotState(2, [], 3, 101.5)],
        [(WorkerPart.MEMBER, SERVES), (WorkerPart.PREDECESSOR, DEAD)],
        16,
        "jwks",
        "no Redis",
    ),
    messages=[
        Packet("history", {"entries": [[1, 2, None]]}, [b"frame"], []),
        Packet("log", {"n": 1}, [], []),
    ],
    load=[{"at": 1000.0}],
)


@contextmanager
def written(state: ParentState) -> Iterator[dict[str, str]]:
    """An environment that names the file with a state."""
    fd = state.write()
    try:
        yield {VARIABLE: str(fd)}
    finally:
        os.close(fd)


def test_a_state_is_read_as_it_was_written() -> None:
    for state in (PARENT, replace(PARENT, control=None, admin=[], requests=[], messages=[])):
        with written(state) as environ:
            assert receive_state(environ, VARIABLE) == state


def test_every_descriptor_is_kept_for_the_new_program() -> None:
    assert sorted(PARENT.descriptors()) == list(range(10, 17)) + list(range(20, 26))


def test_who_was_no_other_program_before_has_no_state() -> None:
    assert receive_state({}, VARIABLE) is None


@pytest.mark.parametrize("fd", ["999999", "99999999999999999999"])
def test_what_is_no_state_is_told(fd: str) -> None:
    with pytest.raises(CannotStart, match=f"{VARIABLE}={fd} leads to no state of a parent"):
        receive_state({VARIABLE: fd}, VARIABLE)


@pytest.mark.parametrize("of", [parent_state, protocol])
def test_a_state_of_another_version_is_told(of: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with written(PARENT) as environ:
        monkeypatch.setattr(of, "VERSION", 99)
        with pytest.raises(
            CannotStart, match=r"cannot go on for the parent of workers that runs.*: restart it"
        ):
            receive_state(environ, VARIABLE)


async def test_the_state_of_a_pool_has_all_its_workers_in_their_parts() -> None:
    async with fake_parent(2) as here:
        old, other = await here.serving()
        old.end.say("successor", (), pipes(1))
        await here.until(lambda: here.pool.slots[0].successor)
        here.dies(other)
        await here.until(lambda: here.pool.slots[1].pending)
        state = here.pool.state()
        assert [(part, worker.pid) for part, worker in state.workers] == [
            (WorkerPart.MEMBER, 1001),
            (WorkerPart.SUCCESSOR, 1003),
        ]
        idle, pending = state.slots
        assert (idle.restarts, idle.due) == ([], None)
        assert pending.restarts == [here.now]
        assert pending.due
        with written(replace(PARENT, pool=state)) as environ:
            found = receive_state(environ, VARIABLE)
            assert found
            assert found.pool == state
