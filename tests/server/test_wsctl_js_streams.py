"""The client in JavaScript where no WebSocket can be had: it reads an event stream, and comes back."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.conftest import NewPage, StartServer
from tests.support.issuer import Issuer
from tests.support.javascript import Node, fresh_nodes
from tests.support.js_client import InNode, InPage, JsClient, Realm
from tests.support.relay import HttpRelay, Upgrades
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio

STREAM = "event-stream"

REFUSED = "the WebSocket was refused"

QUICK = "globalThis.setTimeout = ((real) => (act, ms) => real(act, ms / 100))(setTimeout)"
"""A WebSocket is tried again within 0.3 seconds, in place of 30."""

BACK = """client.transport === "websocket"
  || new Promise((done) => client.addEventListener("open", () => done(), { once: true }))"""

PATIENT = "{ openTimeout: 600000 }"
"""With that an attempt has 6 seconds."""


@pytest.fixture(scope="module")
def fresh_node() -> Iterator[Callable[[], Node]]:
    with fresh_nodes() as give:
        yield give


@pytest.fixture
def in_node(fresh_node: Callable[[], Node], tmp_path: Path) -> Iterator[Realm]:
    node = InNode(fresh_node(), tmp_path)
    yield node
    node.end()


@pytest.fixture(params=["node", pytest.param("chromium", marks=pytest.mark.browser)])
def realm(request: pytest.FixtureRequest) -> Realm:
    if request.param == "chromium":
        new_page: NewPage = request.getfixturevalue("new_page")
        return InPage(new_page())
    found: Realm = request.getfixturevalue("in_node")
    return found


@asynccontextmanager
async def client_of(realm: Realm, url: str) -> AsyncIterator[JsClient]:
    """A client with the module of a server, not started; closed at the end."""
    client = JsClient(realm)
    await client.load(url)
    try:
        yield client
    finally:
        await client.end()


def publish(server: ServerProcess, data: object, **fields: object) -> None:
    code, answer = server.api("POST", "/api/broadcast", {"data": data} | fields)
    assert code == HTTPStatus.OK, answer


async def received(client: JsClient, count: int) -> list[Any]:
    """The data of the next messages; what else happens is skipped."""
    return [(await client.until("message"))["data"] for _ in range(count)]


async def outcome(client: JsClient, call: str) -> Any:
    """What becomes of a call: its value, or the code of its error."""
    return await client.run(f"client.{call}.then((value) => ({{ value }}), ({{ code }}) => code)")


@pytest.mark.parametrize(
    ("upgrades", "reason"),
    [
        (Upgrades.REFUSE, REFUSED),
        (Upgrades.DROP, "the WebSocket got no answer"),
        (Upgrades.END, REFUSED),
    ],
)
async def test_where_no_websocket_can_be_had_it_reads_a_stream_and_says_so(
    realm: Realm, server: ServerProcess, upgrades: Upgrades, reason: str
) -> None:
    async with HttpRelay(server.port).running() as road, client_of(realm, road.url) as client:
        road.upgrades = upgrades
        await client.start(f"{road.url}/ws/b%40b", "{ openTimeout: 2000, topics: ['a.>'] }")
        second = await client.until("connecting")
        assert (second["transport"], second["reason"]) == (STREAM, reason)
        event = await client.until("open")
        assert (event["transport"], event["reason"]) == (STREAM, reason)
        assert await client.run("client.transport") == STREAM
        assert (await outcome(client, 'publish({ n: 1 }, { topic: "a.b" })'))["value"]
        assert await client.run('client.send("\\u2028 ü")')
        assert await received(client, 2) == [{"n": 1}, "\u2028 ü"]


async def test_with_a_websocket_it_says_that_too(in_node: Realm, server: ServerProcess) -> None:
    async with client_of(in_node, server.url) as client:
        await client.start(f"{server.url}/ws/bob")
        event = await client.until("open")
        assert (event["transport"], event.get("reason")) == ("websocket", None)


async def test_a_transport_can_be_asked_for(in_node: Realm, server: ServerProcess) -> None:
    async with HttpRelay(server.port).running() as road, client_of(in_node, road.url) as client:
        await client.start(f"{road.url}/ws/bob", f"{{ transport: '{STREAM}' }}")
        event = await client.until("open")
        assert (event["transport"], event.get("reason"), road.asked) == (STREAM, None, 0)
        road.upgrades = Upgrades.REFUSE
        await client.start(f"{road.url}/ws/bob", "{ transport: 'websocket' }")
        assert (await client.until("waiting"))["code"] == 1006
        await client.run("client.retry()")
        assert (await client.until("waiting"))["code"] == 1006


async def test_where_there_is_no_websocket_at_all_it_reads_a_stream(
    in_node: Realm, server: ServerProcess
) -> None:
    async with client_of(in_node, server.url) as client:
        await client.run("delete globalThis.WebSocket")
        await client.start(f"{server.url}/ws/bob")
        event = await client.until("open")
        assert (event["transport"], event["reason"]) == (STREAM, "there is no WebSocket here")


async def test_who_had_a_websocket_is_not_turned_to_a_stream_by_one_failure(
    in_node: Realm, server: ServerProcess
) -> None:
    async with HttpRelay(server.port).running() as road, client_of(in_node, road.url) as client:
        await client.start(f"{road.url}/ws/bob")
        await client.until("open")
        road.upgrades = Upgrades.REFUSE
        road.cut()
        road.mend()
        await client.until("waiting")
        await client.run("client.retry()")
        assert (await client.until("waiting"))["code"] == 1006
        assert (road.asked, await client.run("client.transport")) == (2, "websocket")
        await client.run("client.retry()")
        assert (await client.until("open"))["transport"] == STREAM


async def test_over_the_change_and_back_nothing_is_missed_or_repeated(
    realm: Realm, server: ServerProcess
) -> None:
    async with HttpRelay(server.port).running() as road, client_of(realm, road.url) as client:
        road.upgrades = Upgrades.REFUSE
        await client.run(f"void ({QUICK})")
        await client.start(f"{road.url}/ws/ann", PATIENT)
        await client.until("open")
        for n in range(90):
            await to_thread.run_sync(publish, server, n)
            if n == 30:
                await road.next_upgrade()
                road.upgrades = Upgrades.PASS
            if n == 60:
                await client.run(BACK)
                road.upgrades = Upgrades.REFUSE
                road.cut()
                road.mend()
        assert await received(client, 90) == list(range(90))
        assert await client.run("client.transport") == STREAM


async def test_the_change_to_a_websocket_is_told(in_node: Realm, server: ServerProcess) -> None:
    async with HttpRelay(server.port).running() as road, client_of(in_node, road.url) as client:
        road.upgrades = Upgrades.REFUSE
        await client.run(f"void ({QUICK})")
        await client.start(f"{road.url}/ws/ivy", "{ openTimeout: 600000, topics: ['a'] }")
        await client.until("open")
        publish(server, 1, topic="a")
        assert await received(client, 1) == [1]
        road.upgrades = Upgrades.PASS
        event = await client.next()
        assert (event["type"], event["transport"], event["recovered"]) == ("open", "websocket", True)
        assert (event["reconnected"], event.get("reason")) == (True, None)
        assert await outcome(client, 'subscribe("b")') == {}
        publish(server, 2, topic="b")
        assert await received(client, 1) == [2]


async def test_what_is_refused_for_good_is_not_got_around(
    in_node: Realm, start_server: StartServer, tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    server = start_server(*issuer.flags)
    async with client_of(in_node, server.url) as client:
        token = json.dumps(issuer.token("bob", ttl=3600))
        for name, code in (("eve", 401), ("-bob", 400)):
            await client.start(f"{server.url}/ws/{name}", f"{{ token: {token} }}")
            waiting = await client.until("waiting")
            assert (waiting["code"], waiting["reason"].startswith(f"refused with {code}: ")) == (1006, True)
            await client.run("client.close()")
        await client.start(f"{server.url}/ws/bob", f"{{ token: {token}, transport: '{STREAM}', topics: [] }}")
        await client.until("open")
        assert (await outcome(client, 'publish("mine")'))["value"]
        assert await received(client, 1) == ["mine"]


async def test_one_that_is_replaced_stays_away_while_it_tries_a_websocket_too(
    in_node: Realm, server: ServerProcess
) -> None:
    async with HttpRelay(server.port).running() as road, client_of(in_node, road.url) as client:
        road.upgrades = Upgrades.REFUSE
        await client.start(f"{road.url}/ws/joe")
        await client.until("open")
        await client.run("(() => { globalThis.older = client; globalThis.olderNext = next; })()")
        await client.start(f"{server.url}/ws/joe")
        event = await client.run("olderNext()")
        assert (event["type"], event["code"]) == ("closed", 4501)


async def test_topics_of_a_stream_are_changed_by_making_it_anew(
    in_node: Realm, start_server: StartServer
) -> None:
    server = start_server("--broadcast-interval", "0", "--client-subscribe", "a.> b")
    async with client_of(in_node, server.url) as client:
        await client.start(f"{server.url}/ws/bob", f"{{ transport: '{STREAM}', topics: ['a.x'] }}")
        await client.until("open")
        assert await outcome(client, 'subscribe("a.y", "b")') == {}
        publish(server, 1, topic="b")
        assert await received(client, 1) == [1]
        assert await outcome(client, 'subscribe("secret")') == "topic_not_allowed"
        assert await client.run("client.topics") == ["a.x", "a.y", "b"]
        await client.until("open")
        assert await outcome(client, 'unsubscribe("b")') == {}
        await client.until("open")
        publish(server, 2, topic="b")
        publish(server, 3, topic="a.y")
        assert await received(client, 1) == [3]
        for call in ('watch("a.x")', 'presence("a.x")'):
            assert await outcome(client, call) == "no_websocket"
