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
from tests.support.clients import join
from tests.support.issuer import Issuer
from tests.support.javascript import Node, fresh_nodes
from tests.support.js_client import InNode, InPage, JsClient, Realm
from tests.support.relay import HttpRelay, Upgrades
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio

STREAM = "event-stream"

REFUSED = "the WebSocket was refused"

QUICK = "globalThis.setTimeout = ((real) => (act, ms, ...args) => real(act, ms / 100, ...args))(setTimeout)"
"""A WebSocket is tried again within 0.3 seconds, in place of 30. Node's own fetch uses it, too, with
arguments."""

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
        event = await client.until("open")
        assert (event["transport"], event["recovered"]) == ("websocket", True)
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


@pytest.mark.parametrize("upgrades", [Upgrades.END, Upgrades.DROP])
async def test_a_websocket_that_is_lost_again_does_not_keep_it_away(
    in_node: Realm, server: ServerProcess, upgrades: Upgrades
) -> None:
    async with HttpRelay(server.port).running() as road, client_of(in_node, road.url) as client:
        road.upgrades = Upgrades.REFUSE
        await client.run(f"void ({QUICK})")
        await client.start(f"{road.url}/ws/lou", "{ openTimeout: 100000 }")
        await client.until("open")
        publish(server, 1)
        assert await received(client, 1) == [1]
        road.upgrades = upgrades
        await road.next_upgrade()
        # A firewall lets the server have it: there it takes the place of the stream.
        reached = await join(server.ws_url, "lou") if upgrades is Upgrades.DROP else None
        waiting = await client.until("waiting")
        assert waiting["code"] == 1006
        if reached:
            await reached.close()
        road.upgrades = Upgrades.REFUSE
        publish(server, 2)
        assert await received(client, 1) == [2]


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


BY_HAND = """(() => {
  const sockets = [];
  const wanted = [];
  globalThis.socket = () => sockets.shift() ?? new Promise((done) => wanted.push(done));
  globalThis.ByHand = class {
    readyState = 0;
    protocol = "";
    constructor(url) {
      this.url = url;
      if (wanted.length) wanted.shift()(this); else sockets.push(this);
    }
    take(frame) { this.readyState = 1; this.onmessage({ data: JSON.stringify(frame) }); }
    close() {}
  };
  globalThis.fetchByHand = async () => {
    const headers = { "content-type": "text/event-stream" };
    const body = new ReadableStream({ start(controller) {
      const write = (text) => controller.enqueue(new TextEncoder().encode(text));
      globalThis.push = (frame) => write(`data: ${JSON.stringify(frame)}\\n\\n`);
      push(welcome("1-0"));
    } });
    return new Response(body, { headers });
  };
  const server = { version: "0", phase: "serving", connections: 1 };
  globalThis.welcome = (id, more) => ({ type: "welcome", client_id: "bob", id, server, ...more });
  globalThis.message = (n) => ({ type: "message", id: `1-${n}`, ts: 0, from: "eve", data: n });
})()"""


async def test_what_came_by_both_while_the_transport_changed_is_told_once(
    in_node: Realm, server: ServerProcess
) -> None:
    async with client_of(in_node, server.url) as client:
        await client.run(BY_HAND)
        await client.run(f"void ({QUICK})")
        options = "{ openTimeout: 600000, WebSocket: ByHand, fetch: fetchByHand }"
        await client.start("http://localhost/ws/bob", options)
        await client.run("socket().onclose({ code: 1006 })")
        await client.until("open")
        await client.run("push(message(1))")
        assert await received(client, 1) == [1]
        url = await client.run("(async () => { globalThis.second = await socket(); return second.url; })()")
        assert url.endswith("since=1-1")
        await client.run("push(message(2))")
        assert await received(client, 1) == [2]
        await client.run('second.take(welcome("1-3", { recovered: true }))')
        assert (await client.until("open"))["cursor"] == "1-2"
        await client.run("second.take(message(2)), second.take(message(3))")
        assert await received(client, 1) == [3]
        assert await client.run("client.cursor") == "1-3"
