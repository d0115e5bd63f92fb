"""What the release before topics says and can read, as it was written then."""

import asyncio
import os
from collections.abc import AsyncIterator
from typing import Any

import pytest
from websockets.frames import Opcode

from tests.support.frames import read
from tests.support.handover import MakeTakeover, takeovers
from tests.support.server import DEADLINE
from tests.support.transport import HandTransport
from tests.support.wires import data_of, frames, turn
from wsctl.server.websocket.snapshot import DetachedTransport, encode_snapshots

pytestmark = pytest.mark.anyio

SNAPSHOT = frozenset(
    ("client_id", "address", "age", "deflate", "seen", "unread", "unsent", "expires", "keepalive", "identity")
)
"""The fields of a snapshot that it sends; it cannot read any other one."""


@pytest.fixture
async def make() -> AsyncIterator[MakeTakeover]:
    async with takeovers() as make_takeover:
        yield make_takeover


def rows_of_then(detached: list[DetachedTransport]) -> tuple[list[dict[str, Any]], list[bytes]]:
    rows, blobs = encode_snapshots([transport.snapshot for transport in detached])
    return [{name: row[name] for name in SNAPSHOT & row.keys()} for row in rows], blobs


def welcome_of(transport: HandTransport) -> dict[str, Any]:
    found = [frame for frame in frames(transport.drain())[0] if frame.opcode is Opcode.TEXT]
    return read(bytes(found[0].data))


async def test_its_clients_miss_nothing_and_topics_work_from_there(make: MakeTakeover) -> None:
    pair = make()
    transports = {name: pair.old.join(name)[1] for name in ("alice", "bob")}
    pair.old.publish("before")
    since = pair.old.node.log.newest
    await pair.begin()  # what it sends here is what it sent then
    detached = await pair.detach("alice", "bob")
    pair.publish("on their way")
    rows, blobs = rows_of_then(detached)
    fds = [transport.fd for transport in detached]
    pair.predecessor.say("move", blobs, fds, rows=rows, at=pair.old.now, replaced=[])
    assert (await pair.predecessor.hear("moved")).fields["lost"] == 0
    pair.predecessor.say("over")
    async with asyncio.timeout(DEADLINE):
        await pair.successor.settled.wait()

    _, late = pair.new.join("late", since=since, topics=["a.*"], commands=True)
    assert welcome_of(late)["recovered"] is True
    receipts: list[int] = []
    for n, topic in enumerate((None, "a.b", "b")):
        pair.log.append("server", n, None, lambda _, recipients: receipts.append(recipients), topic=topic)
    await turn()
    assert receipts == [3, 1, 0]
    for transport in transports.values():
        assert data_of(frames(transport.drain())[0]) == ["before", "on their way", 0]
    assert data_of(frames(late.drain())[0]) == ["on their way", 0, 1]


async def test_it_can_read_the_snapshot_of_a_client_without_topics(make: MakeTakeover) -> None:
    pair = make()
    pair.old.join("alice", keepalive=5)
    pair.old.join("bob", deflate=True)
    detached = await pair.detach("alice", "bob")
    for transport in detached:
        os.close(transport.fd)
    rows, _ = encode_snapshots([transport.snapshot for transport in detached])
    assert [row.keys() - SNAPSHOT for row in rows] == [set(), set()]
