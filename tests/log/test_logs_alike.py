"""What every log does, wherever its ids come from."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.conftest import StartStore
from tests.support import frames
from tests.support.entries import Delivered, missed_by
from tests.support.peer import Peer, new_prefix
from tests.support.sizes import examples
from tests.support.store import StoreProcess
from wsctl.log.message_log import MessageLog, read_id

pytestmark = pytest.mark.anyio

NEVER_GIVEN = ("", "x", "1-1", "99999999999999-0", "0-1")


class Alone:
    """A log in memory, with what a `Peer` has."""

    def __init__(self, history: int, history_bytes: int) -> None:
        self.got = Delivered()
        self.receipts: dict[Any, tuple[str, int]] = {}
        self.log = MessageLog(self.got.deliver, history, history_bytes)

    def say(self, data: Any, to: tuple[str, ...] | None = None) -> None:
        self.log.append("x", data, to, lambda *receipt: self.receipts.setdefault(data, receipt))

    async def read(self, count: int) -> list[Any]:
        assert len(self.got) == count
        return [message.data for message in self.got]

    async def settle(self) -> None: ...


Logs = Callable[..., Any]
"""Gives so many nodes with one log, as a context; in memory there is one, however many are asked for."""


@pytest.fixture(params=["memory", "valkey", "redis"])
def logs(request: pytest.FixtureRequest, start_store: StartStore) -> Logs:
    store: StoreProcess | None = None if request.param == "memory" else start_store(kind=request.param)

    @asynccontextmanager
    async def begin(
        count: int = 1, history: int = 100, history_bytes: int = 1 << 20
    ) -> AsyncIterator[list[Any]]:
        if store is None:
            yield [Alone(history, history_bytes)] * count
            return
        prefix = new_prefix()
        nodes = [Peer(store.url, prefix, history=history, history_bytes=history_bytes) for _ in range(count)]
        for node in nodes:
            await node.session.begin()
        try:
            yield nodes
        finally:
            for node in nodes:
                await node.session.end()

    return begin


def missed(log: MessageLog, since: str, client: str) -> list[Any] | None:
    found = missed_by(log, since, client)
    return None if found is None else [frames.read(p)["data"] for batch in found for p in batch.payloads]


async def test_many_writers_get_one_order_and_each_a_receipt(logs: Logs) -> None:
    async with logs(3) as nodes:
        for n in range(60):
            nodes[n % 3].say(n)
        for node in nodes:
            assert sorted(await node.read(60)) == list(range(60))
            await node.settle()
            assert list(node.got) == list(nodes[0].got)
        places = [read_id(message.id) for message in nodes[0].got]
        assert places == sorted(set(places))
        for writer in range(3):
            of_one = [message.data for message in nodes[0].got if message.data % 3 == writer]
            assert of_one == sorted(of_one)
        ids = {message.data: message.id for message in nodes[0].got}
        assert {n: nodes[n % 3].receipts[n] for n in range(60)} == {n: (ids[n], 0) for n in range(60)}


async def test_what_was_missed_is_told_after_every_id_and_only_to_addressees(logs: Logs) -> None:
    async with logs(2) as nodes:
        start = nodes[0].log.newest
        for n in range(20):
            nodes[0].say(n, ("bob",) if n % 3 == 2 else None)
        for node in nodes:
            await node.read(20)
            ids = [start, *(message.id for message in node.got)]
            for place, since in enumerate(ids):
                assert missed(node.log, since, "bob") == list(range(place, 20))
                assert missed(node.log, since, "eve") == [n for n in range(place, 20) if n % 3 != 2]
            assert {missed_by(node.log, since, "bob") is None for since in NEVER_GIVEN} == {True}
            assert node.log.newest == ids[-1]


@pytest.mark.parametrize("bounds", [(5, 1 << 20), (100, 600), (0, 100)])
async def test_what_is_further_back_than_the_history_is_unknown(logs: Logs, bounds: tuple[int, int]) -> None:
    async with logs(1, *bounds) as (node,):
        for n in range(30):
            node.say(n)
        await node.read(30)
        ids = [message.id for message in node.got]
        kept = [place for place, since in enumerate(ids) if missed_by(node.log, since, "bob") is not None]
        assert kept == list(range(kept[0], 30))
        assert len(node.log.history) == 29 - kept[0] <= bounds[0]
        assert node.log.history.bytes <= bounds[1]
        assert kept[0] > 0


async def test_what_is_not_json_takes_no_place(logs: Logs) -> None:
    async with logs() as (node,):
        for number in (float("nan"), float("inf")):
            with pytest.raises(ValueError, match="JSON"):
                node.log.append("x", number)
        node.say(1)
        assert await node.read(1) == [1]
        await node.settle()
        assert list(node.receipts) == [1]


STEPS = st.lists(st.sampled_from(["say 0", "say 1", "iterate", "resume 0", "resume 1"]), max_size=25)


@examples(12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS)
async def test_what_was_missed_and_what_comes_then_are_everything_once(logs: Logs, steps: list[str]) -> None:
    """Whenever a client resumes, and on whichever node."""
    async with logs(2) as nodes:
        said = 0
        resumed = []
        for step in steps:
            what, _, which = step.partition(" ")
            node = nodes[int(which or 0)]
            if what == "say":
                node.say(said)
                said += 1
            elif what == "iterate":
                await asyncio.sleep(0.002)
            else:
                since, before = node.log.newest, len(node.got)
                resumed.append((node, since, before, missed(node.log, since, "bob")))
        for node in nodes:
            assert sorted(await node.read(said)) == list(range(said))
        for node, since, before, found in resumed:
            assert found == []
            for other in nodes:
                if missed_by(other.log, since, "bob") is not None:
                    assert missed(other.log, since, "bob") == [message.data for message in node.got[before:]]
