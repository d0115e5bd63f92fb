"""Reconnecting lifts no limit: clients that come, send and go, against real servers."""

import asyncio
import json
import time
from collections.abc import Iterator

import pytest

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.generations import Generations
from tests.support.raw import RawClient, handshake, heard, masked
from wsctl.frame import CLOSE, TEXT
from wsctl.hub.allowances import ADDRESS_FACTOR

pytestmark = pytest.mark.anyio


def visit(port: int, client_id: str, count: int, *headers: str) -> list[dict[str, object]]:
    """Connect, send so many texts and close in one write; what came back."""
    with RawClient(port) as peer:
        texts = b"".join(masked(TEXT, b"%d" % n) for n in range(count))
        peer.send(handshake(f"/ws/{client_id}", *headers) + texts + masked(CLOSE, (1000).to_bytes(2)))
        stream = peer.read_to_end().partition(b"\r\n\r\n")[2]
        return [json.loads(payload) for opcode, payload in heard(stream) if opcode == TEXT]


def errors(answers: list[dict[str, object]]) -> list[object]:
    return [frame["message"] for frame in answers if frame["type"] == "error"]


@pytest.fixture
def generations(start_server: StartServer) -> Iterator[Generations]:
    server = Generations(start_server("--broadcast-interval", "0", "--rate", "0.02/s:10"))
    yield server
    server.kill()


async def test_a_client_that_reconnects_and_a_server_that_is_replaced_lift_no_rate(
    generations: Generations,
) -> None:
    answers = []
    for _ in range(10):
        answers += await asyncio.to_thread(visit, generations.port, "bob", 10)
    assert errors(answers)[0] == "more than 0.02 messages a second: this one was not sent"
    assert generations.status()["messages"]["published"] <= 11
    async with await join(generations.first.ws_url, "eve") as eve:
        for n in range(11):
            await eve.send(str(n))
        await receive_type(eve, "error")
        assert (await asyncio.to_thread(generations.upgrade))["state"] == "done"
        await eve.send("after the upgrade")
        assert (await receive_type(eve, "error"))["code"] == "rate_limited"
        await asyncio.to_thread(visit, generations.port, "bob", 10)
    # A token a minute for each of them, however slow the machine is.
    assert generations.status()["messages"]["published"] <= 2


@pytest.mark.parametrize(
    "header", ["", "X-Forwarded-For: 2001:db8::{n:x}:5"], ids=["direct", "IPv6 forwarded"]
)
async def test_new_ids_of_one_address_share_what_it_may_send_at_once(
    start_server: StartServer, header: str
) -> None:
    """Through a proxy too, whose clients have no port; of IPv6, a network is one address."""
    server = start_server("--broadcast-interval", "0", "--rate", "0.02/s:2")
    began = time.monotonic()
    answers = []
    for n in range(2 * ADDRESS_FACTOR):
        more = [header.format(n=n)] if header else []
        answers += await asyncio.to_thread(visit, server.port, f"new-{n}", 2, *more)
    told = errors(answers)
    assert "too many at once from new clients of your address: this one was not sent" in told
    # The address has a hundred times the burst, and a hundred times the rate.
    most = ADDRESS_FACTOR * (2 + 0.02 * (time.monotonic() - began)) + 1
    assert 2 * ADDRESS_FACTOR <= server.status()["messages"]["published"] <= most
