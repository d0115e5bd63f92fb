"""Clients that come while the server drains."""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.server import DEADLINE
from tests.support.transport import HandTransport
from wsctl.frame import close_frame
from wsctl.server.http.deadlines import MAX_UNREAD
from wsctl.server.websocket.drain_rejection import (
    DELAY,
    MAX_WAITING,
    REASON,
    REMEMBERED,
    DrainRejector,
    RejectedConnection,
)

pytestmark = pytest.mark.anyio

TOLD = close_frame(1001, REASON)


@pytest.fixture
def transports() -> Iterator[list[HandTransport]]:
    with ExitStack() as stack:
        made = [HandTransport() for _ in range(4)]
        for transport in made:
            stack.callback(transport.dispose)
        yield made


async def _until_told(transport: HandTransport) -> None:
    async with asyncio.timeout(DEADLINE):
        while not transport.received:
            await asyncio.sleep(0)
            transport.read()


def test_the_first_attempt_of_an_address_is_told_at_once_and_the_next_ones_wait() -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return 1.5

    clients = DrainRejector(uniform)
    assert [clients.delay(host) for host in ("a", "b", "a", "a")] == [0.0, 0.0, 1.5, 1.5]
    assert drawn == [DELAY, DELAY] == [(0.5, 3.0)] * 2


def test_only_so_many_addresses_are_remembered_the_latest_ones() -> None:
    clients = DrainRejector(lambda low, high: low)
    clients.delay("first")
    clients.delay("second")
    clients.delay("first")
    for n in range(REMEMBERED - 1):
        clients.delay(str(n))
    assert clients.delay("first") == DELAY[0]
    assert clients.delay("second") == 0.0


def test_after_a_cancelled_drain_everybody_is_new() -> None:
    clients = DrainRejector()
    clients.delay("a")
    clients.forget()
    assert clients.delay("a") == 0.0


async def test_it_gets_one_close_frame_and_hangs_up_when_it_is_answered(
    transports: list[HandTransport],
) -> None:
    clients, transport = DrainRejector(), transports[0]
    clients.reject(transport, "a")
    transport.protocol.data_received(b"sent before it was told")
    assert not transport.is_closing()
    await _until_told(transport)
    transport.protocol.data_received(b"its close frame")
    await asyncio.sleep(0)
    assert transport.drain() == TOLD
    assert transport.is_closing()
    assert not transport.aborted
    assert not clients.waiting


async def test_whoever_sends_without_end_before_it_is_told_is_not_read_on(
    transports: list[HandTransport],
) -> None:
    clients, transport = DrainRejector(lambda low, high: 0.01), transports[0]
    clients.delay("a")
    clients.reject(transport, "a")
    for _ in range(4):
        assert transport.reading
        transport.protocol.data_received(bytes(MAX_UNREAD // 4))
    transport.protocol.data_received(b"x")
    assert not transport.reading
    await _until_told(transport)
    assert transport.reading
    assert transport.drain() == TOLD


async def test_a_repeated_attempt_waits_and_one_that_hung_up_meanwhile_is_not_told(
    transports: list[HandTransport],
) -> None:
    clients = DrainRejector(lambda low, high: 0.01)
    clients.delay("a")
    kept, gone = transports[:2]
    for transport in (kept, gone):
        clients.reject(transport, "a")
    await asyncio.sleep(0)
    assert kept.drain() == b""
    gone.close()
    await _until_told(kept)
    assert gone.drain() == b""
    assert len(clients.waiting) == 1


async def test_who_does_not_answer_is_cut(transports: list[HandTransport]) -> None:
    clients, transport = DrainRejector(), transports[0]
    cut = asyncio.Event()
    clients.reject(transport, "a")
    rejected = transport.protocol
    rejected.send_last(0.001)
    transport.protocol = _Lost(rejected, cut)
    async with asyncio.timeout(DEADLINE):
        await cut.wait()
    assert transport.aborted
    assert not clients.waiting


async def test_those_that_wait_are_dropped_when_the_process_ends(transports: list[HandTransport]) -> None:
    clients = DrainRejector(lambda low, high: 1000.0)
    clients.delay("a")
    for transport in transports:
        clients.reject(transport, "a")
    assert len(clients.waiting) == 4
    clients.drop_all()
    await asyncio.sleep(0)
    assert not clients.waiting
    assert all(transport.drain() == TOLD and transport.is_closing() for transport in transports)


async def test_above_the_bound_they_are_told_and_dropped_at_once(transports: list[HandTransport]) -> None:
    clients = DrainRejector()
    clients.waiting.update(RejectedConnection(clients, transports[3], TOLD) for _ in range(MAX_WAITING))
    clients.reject(transports[0], "a")
    assert transports[0].drain() == TOLD
    assert transports[0].is_closing()
    assert len(clients.waiting) == MAX_WAITING


async def test_a_client_that_takes_nothing_is_no_reason_to_wait(transports: list[HandTransport]) -> None:
    clients, transport = DrainRejector(), transports[0]
    transport.set_protocol(asyncio.Protocol())
    transport.write(bytes(1_000_000))
    clients.reject(transport, "a")
    clients.drop_all()
    assert transport.is_closing()


class _Lost(asyncio.Protocol):
    """Tells that a connection is over, after the protocol it stands in for."""

    def __init__(self, inner: asyncio.Protocol, event: asyncio.Event) -> None:
        self._inner, self._event = inner, event

    def connection_lost(self, exc: Exception | None) -> None:
        self._inner.connection_lost(exc)
        self._event.set()
