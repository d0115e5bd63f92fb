"""The client in JavaScript, in Node and in Chromium: against a fake server and against a real one."""

import json
import queue
import re
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen
from zipfile import ZipFile

import pytest
from anyio import to_thread

from tests.conftest import NewPage, StartServer
from tests.support.fake_server import welcome
from tests.support.issuer import Issuer
from tests.support.javascript import WEBSOCKET, Node, command, fresh_nodes, running_node
from tests.support.js_client import InNode, InPage, JsClient, Realm
from tests.support.manual import blocks, pages
from tests.support.relay import Relay
from tests.support.server import DEADLINE, ServerProcess
from tests.support.switchboard import MODULE, Line, Switchboard

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parent.parent.parent

SIZE_LIMIT = 32 * 1024
"""Bytes that the module stays below: it is read as it is served."""


@pytest.fixture(scope="module")
def fresh_node() -> Iterator[Callable[[], Node]]:
    with fresh_nodes() as give:
        yield give


@pytest.fixture(params=["node", pytest.param("chromium", marks=pytest.mark.browser)])
def realm(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Realm]:
    if request.param == "chromium":
        new_page: NewPage = request.getfixturevalue("new_page")
        yield InPage(new_page())
        return
    fresh_node: Callable[[], Node] = request.getfixturevalue("fresh_node")
    in_node = InNode(fresh_node(), tmp_path)
    yield in_node
    in_node.end()


@pytest.fixture
async def fake() -> AsyncIterator[Switchboard]:
    async with Switchboard().running() as switchboard:
        yield switchboard


@pytest.fixture
async def client(realm: Realm, fake: Switchboard) -> AsyncIterator[JsClient]:
    """A client with the module of the fake server, not started."""
    made = JsClient(realm)
    await made.load(fake.url)
    yield made
    await made.end()


async def opened(client: JsClient, fake: Switchboard, query: str = "") -> Line:
    """Start the client as bob; its first connection, welcomed with id 1-0."""
    await client.start(f"{fake.url}/ws/bob{query}")
    line = await fake.line()
    await line.welcome()
    assert (await client.next())["type"] == "open"
    return line


async def reopened(client: JsClient, fake: Switchboard, **fields: Any) -> Line:
    """The next connection, after any pause, welcomed."""
    await client.run("client.retry()")
    line = await fake.line()
    await line.welcome(**fields)
    await client.until("open")
    return line


# What happens


async def test_it_connects_when_it_is_made_and_tells_of_the_welcome(
    client: JsClient, fake: Switchboard
) -> None:
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    assert await client.run("client.state") == "connecting"
    assert await client.run("client.cursor") is None
    await line.welcome("7-0")
    event = await client.next()
    assert (event["type"], event["state"], event["cursor"]) == ("open", "open", "7-0")
    assert event["frame"]["client_id"] == "bob"
    assert (event["recovered"], event["reconnected"]) == (False, False)


async def test_each_frame_is_an_event_of_its_type(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await line.message("1-1", {"n": 1})
    await line.send("heartbeat", ts=1.5, connections=2, n=3)
    await line.send("error", code="rate_limited", message="slower")
    await line.send("shutdown", deadline_s=60.0, reason="SIGTERM")
    await line.send_later("news", text="of a later server")
    events = [await client.anything() for _ in range(5)]
    assert [e["type"] for e in events] == ["message", "heartbeat", "error", "shutdown", "news"]
    assert events[0]["data"] == {"n": 1}
    assert events[0]["frame"]["from"] == "eve"
    assert events[1]["frame"] == {"type": "heartbeat", "ts": 1.5, "connections": 2, "n": 3}
    assert {e["state"] for e in events} == {"open"}


@pytest.mark.parametrize("text", ["", "no JSON", "null", "5", "[]", "{}", '{"type":null}'])
async def test_what_is_no_frame_is_passed_over(client: JsClient, fake: Switchboard, text: str) -> None:
    line = await opened(client, fake)
    await line.connection.send(text)
    await line.message("1-1")
    assert (await client.next())["type"] == "message"


async def test_a_frame_cannot_pose_as_a_state(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    for state in ("connecting", "open", "waiting", "closed"):
        await line.send_later(state)
    await line.message("1-1")
    assert (await client.next())["type"] == "message"


async def test_frames_before_the_welcome_are_passed_over(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    await line.message("9-9")
    await line.send("shutdown", deadline_s=60.0, reason="SIGTERM", reconnect_in_s=0)
    await line.welcome("1-0")
    event = await client.next()
    assert (event["type"], event["cursor"]) == ("open", "1-0")


# Where it resumes


async def test_without_a_since_it_resumes_after_the_welcome(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    assert line.since is None
    await line.close(1012)
    assert (await fake.line()).since == "1-0"


async def test_each_message_and_nothing_else_moves_where_it_resumes(
    client: JsClient, fake: Switchboard
) -> None:
    line = await opened(client, fake)
    await line.message("1-1")
    await line.message("1-2")
    await line.send_later("heartbeat", id="8-8", ts=1.5, connections=2, n=3)
    await line.send_later("error", id="8-8", code="x", message="y")
    await line.send_later("news", id="8-8")
    await line.close(1012)
    assert (await fake.line()).since == "1-2"
    assert [(await client.anything())["cursor"] for _ in range(5)] == ["1-1", "1-2", "1-2", "1-2", "1-2"]


async def test_recovered_it_stays_at_what_was_asked_for_until_the_missed_messages_move_it(
    client: JsClient, fake: Switchboard
) -> None:
    line = await opened(client, fake)
    await line.close(1012)
    line = await reopened(client, fake, newest="5-0", recovered=True)
    await line.close(1012)
    line = await reopened(client, fake, newest="5-0", recovered=True)
    assert line.since == "1-0"
    await line.message("3-0")
    await line.close(1012)
    assert (await fake.line()).since == "3-0"


@pytest.mark.parametrize("fields", [{}, {"recovered": False}])
async def test_not_recovered_it_goes_on_after_the_newest(
    client: JsClient, fake: Switchboard, fields: dict[str, bool]
) -> None:
    line = await opened(client, fake)
    await line.close(1012)
    line = await fake.line()
    await line.welcome("5-0", **fields)
    event = await client.until("open")
    assert (event["recovered"], event["reconnected"]) == (False, True)
    await line.close(1012)
    assert (await fake.line()).since == "5-0"


async def test_it_says_that_nothing_was_missed(client: JsClient, fake: Switchboard) -> None:
    await (await opened(client, fake)).close(1012)
    await (await fake.line()).welcome("1-0", recovered=True)
    event = await client.until("open")
    assert (event["recovered"], event["reconnected"]) == (True, True)


async def test_a_since_in_the_address_is_where_it_begins(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob?since=4-2")
    line = await fake.line()
    assert line.since == "4-2"
    await line.welcome("9-0", recovered=True)
    event = await client.next()
    assert (event["recovered"], event["reconnected"], event["cursor"]) == (True, False, "4-2")


async def test_the_query_is_kept(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake, "?token=a%2Bb&room=1")
    assert line.path == "/ws/bob?token=a%2Bb&room=1&keepalive=10"
    await line.close(1012)
    assert (await fake.line()).path == "/ws/bob?token=a%2Bb&room=1&keepalive=10&since=1-0"


async def test_http_addresses_and_urls_are_taken(client: JsClient, fake: Switchboard) -> None:
    for address in (fake.url, fake.url.replace("http", "ws")):
        await client.start(f"{address}/ws/b%40b")
        assert (await fake.line()).path == "/ws/b%40b?keepalive=10"
    await client.run(f'start(new URL("ws/eve", "{fake.url}/under/a/prefix?query"))')
    assert (await fake.line()).path == "/under/a/ws/eve?keepalive=10"


@pytest.mark.browser
async def test_in_a_page_an_address_may_be_relative(new_page: NewPage, fake: Switchboard) -> None:
    client = JsClient(InPage(new_page()))
    await client.load(fake.url)
    await client.start("ws/bob")
    assert (await fake.line()).path == "/ws/bob?keepalive=10"


# When the server was degraded


AWAY = {"code": "degraded", "message": "Redis is away"}


@pytest.mark.parametrize(("recovered", "since"), [(True, "1-1"), (False, "9-0")])
async def test_a_welcome_while_it_is_open_tells_what_became_of_the_messages(
    client: JsClient, fake: Switchboard, recovered: bool, since: str
) -> None:
    line = await opened(client, fake)
    await line.message("1-1")
    await line.send("error", **AWAY)
    await line.welcome("9-0", recovered=recovered)
    events = [await client.next() for _ in range(3)]
    assert [(e["type"], e["state"]) for e in events] == [
        ("message", "open"),
        ("error", "open"),
        ("open", "open"),
    ]
    assert (events[1]["frame"]["code"], events[2]["recovered"]) == ("degraded", recovered)
    assert (events[2]["reconnected"], events[2]["cursor"]) == (True, since)
    assert await client.run('client.send("still here")')
    assert await line.heard() == "still here"
    assert fake.idle
    await line.close(1012)
    assert (await fake.line()).since == since


async def test_a_welcome_while_it_is_open_changes_no_plan_to_leave(
    client: JsClient, fake: Switchboard
) -> None:
    line = await opened(client, fake)
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.3)
    await line.welcome("1-0", recovered=True)
    assert (await client.until("connecting"))["planned"]
    assert await line.ended() == 1000


async def test_a_welcome_while_it_is_open_does_not_make_it_younger(
    client: JsClient, fake: Switchboard
) -> None:
    await client.run("Math.random = () => 1")
    line = await opened(client, fake)
    await line.close(1012)
    assert (await client.until("waiting"))["wait"] == 500
    line = await reopened(client, fake)
    await client.run("ahead += 5000")
    await line.welcome("1-0", recovered=True)
    await client.until("open")
    await line.close(1012)
    assert (await client.until("waiting"))["wait"] == 500


# When nothing comes


QUICK = "globalThis.setInterval = ((real) => (act, ms) => real(act, ms / 20))(setInterval)"


async def test_a_connection_on_which_nothing_comes_is_given_up_and_resumed(
    client: JsClient, fake: Switchboard
) -> None:
    await client.run(f"void ({QUICK})")
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    await line.welcome(keepalive_s=10)
    assert (await client.until("open"))["frame"]["keepalive_s"] == 10
    await line.message("1-1")
    await client.until("message")
    waiting = await client.next()
    assert (waiting["type"], waiting["code"], waiting["reason"]) == (
        "waiting",
        1006,
        "nothing came for 12.5 s",
    )
    await client.run("client.retry()")
    assert (await fake.line()).since == "1-1"


async def test_as_long_as_something_comes_it_stays(client: JsClient, fake: Switchboard) -> None:
    await client.run(f"void ({QUICK})")
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    await line.welcome(keepalive_s=30)
    await client.until("open")
    looks = "new Promise((done) => setTimeout(done, 100))"  # of 1625 ms that it takes to look
    for _ in range(40):
        await line.send("keepalive")
        assert (await client.next())["type"] == "keepalive"
        await client.run(looks)
    assert await client.run("client.state") == "open"
    await client.run("client.close()")


async def test_a_server_that_promises_nothing_may_be_silent(client: JsClient, fake: Switchboard) -> None:
    await client.run("void (globalThis.looks = 0)")
    await client.run("void (globalThis.setInterval = () => { looks += 1; })")
    line = await opened(client, fake)
    await line.close(1012)
    await reopened(client, fake, keepalive_s=10)
    assert await client.run("looks") == 1


async def test_how_often_it_wants_a_sign_of_life_can_be_chosen(client: JsClient, fake: Switchboard) -> None:
    for options, query in (("{ keepalive: 60 }", "?keepalive=60"), ("{ keepalive: 0 }", "")):
        await client.start(f"{fake.url}/ws/bob", options)
        assert (await fake.line()).path == f"/ws/bob{query}"


async def test_a_road_that_stops_without_a_word_loses_nothing(
    realm: Realm, start_server: StartServer
) -> None:
    server = start_server("--broadcast-interval", "0")
    client = JsClient(realm)
    async with Relay(server.port).running() as road:
        await client.load(road.url)
        await client.start(f"{road.url}/ws/bob", "{ keepalive: 1 }")
        await client.until("open")
        await to_thread.run_sync(publish, server, "before")
        await client.until("message")
        road.freeze()
        await to_thread.run_sync(publish, server, "lost on its way")
        waiting = await client.until("waiting")
        assert (waiting["code"], waiting["reason"]) == (1006, "nothing came for 3.5 s")
        back = await client.until("open")
        assert (back["recovered"], back["reconnected"]) == (True, True)
        assert (await client.until("message"))["data"] == "lost on its way"
        await client.run("client.close()")


# When it comes back


@pytest.mark.parametrize("code", [1000, 1001, 1012, 1013, 3000, 4000, 4499])
async def test_it_comes_back_after_a_close(client: JsClient, fake: Switchboard, code: int) -> None:
    line = await opened(client, fake)
    await line.close(code, "because")
    event = await client.next()
    assert (event["type"], event["code"], event["reason"]) == ("waiting", code, "because")
    await reopened(client, fake)


@pytest.mark.parametrize("code", [4500, 4501, 4999])
async def test_it_stays_away_when_it_is_told_to(client: JsClient, fake: Switchboard, code: int) -> None:
    line = await opened(client, fake)
    await line.close(code, "because")
    event = await client.next()
    assert (event["type"], event["code"], event["reason"]) == ("closed", code, "because")
    await client.run("client.retry()")
    assert await client.run("client.state") == "closed"
    assert fake.idle


async def test_it_comes_back_after_a_connection_lost_without_a_word(
    client: JsClient, fake: Switchboard
) -> None:
    line = await opened(client, fake)
    line.connection.transport.abort()
    event = await client.next()
    assert (event["type"], event["code"]) == ("waiting", 1006)
    assert (await fake.line()).since == "1-0"


async def test_pauses_are_drawn_below_a_ceiling_that_doubles_up_to_thirty_seconds(
    client: JsClient, fake: Switchboard
) -> None:
    fake.full = True
    await client.run("Math.random = () => 1")
    await client.start(f"{fake.url}/ws/bob")
    waits = []
    for _ in range(8):
        waits.append((await client.until("waiting"))["wait"])
        await client.run("client.retry()")
    assert waits == [500, 1000, 2000, 4000, 8000, 16000, 30000, 30000]


async def test_pauses_differ_and_may_be_almost_nothing(client: JsClient, fake: Switchboard) -> None:
    fake.full = True
    await client.start(f"{fake.url}/ws/bob")
    shares = []
    for n in range(30):
        shares.append((await client.until("waiting"))["wait"] / min(500 * 2**n, 30000))
        await client.run("client.retry()")
    assert all(0 <= share < 1 for share in shares)
    assert len(set(shares)) == len(shares)
    # Of thirty even draws one is below and one above the middle, but for one time in 536,870,912.
    assert min(shares) < 0.5 < max(shares)


async def test_it_comes_back_by_itself_when_the_pause_is_over(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await client.run("Math.random = () => 0.2")
    await line.close(1012)
    assert (await client.next())["wait"] == pytest.approx(100)
    await (await fake.line()).welcome()
    assert [(await client.next())["type"] for _ in range(2)] == ["connecting", "open"]


async def test_only_a_connection_that_lasted_makes_pauses_short_again(
    client: JsClient, fake: Switchboard
) -> None:
    await client.run("Math.random = () => 1")
    line = await opened(client, fake)
    waits = []
    for seconds in (0, 3, 5, 0):
        await client.run(f"ahead += {seconds * 1000}")
        await line.close(1012)
        waits.append((await client.until("waiting"))["wait"])
        line = await reopened(client, fake)
    assert waits == [500, 1000, 500, 1000]


async def test_a_server_that_says_nothing_is_left(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob", "{ openTimeout: 200, transport: 'websocket' }")
    silent = await fake.line()
    event = await client.next()
    assert (event["type"], event["code"], event["reason"]) == ("waiting", 1006, "no welcome came")
    assert await silent.ended()
    assert (await client.next())["type"] == "connecting"


# Leaving when the server asks


async def test_it_leaves_at_its_moment_and_is_back_without_a_pause(
    client: JsClient, fake: Switchboard
) -> None:
    line = await opened(client, fake)
    await line.message("1-1")
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.05)
    assert await line.ended() == 1000
    after = await fake.line()
    assert after.since == "1-1"
    await after.welcome("1-1", recovered=True)
    events = [await client.next() for _ in range(4)]
    assert [e["type"] for e in events] == ["message", "shutdown", "connecting", "open"]
    assert events[2]["planned"]
    assert (events[3]["recovered"], events[3]["reconnected"]) == (True, True)


async def test_when_that_attempt_fails_pauses_begin(client: JsClient, fake: Switchboard) -> None:
    await client.run("Math.random = () => 1")
    line = await opened(client, fake)
    fake.full = True
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0)
    assert (await client.until("waiting"))["wait"] == 500
    event = await client.next()
    assert (event["type"], event["planned"]) == ("connecting", False)


async def test_sent_away_at_once_again_it_pauses(client: JsClient, fake: Switchboard) -> None:
    away = {"deadline_s": 60.0, "reason": "drain", "reconnect_in_s": 0}
    await (await opened(client, fake)).send("shutdown", **away)
    line = await fake.line()
    await line.welcome()
    await line.send("shutdown", **away)
    event = await client.until("waiting")
    assert (event["code"], await line.ended()) == (1000, 1000)
    line = await reopened(client, fake)
    await client.run("ahead += 5000")
    await line.send("shutdown", **away)
    line = await fake.line()
    await line.welcome()
    kinds = [(await client.next())["type"] for _ in range(3)]
    assert kinds == ["shutdown", "connecting", "open"]


async def past(client: JsClient, seconds: float) -> None:
    """Wait for a timer of the client's own realm: those set before it for sooner have run."""
    await client.run(f"new Promise((done) => setTimeout(done, {seconds * 1000}))")


async def test_a_cancelled_drain_makes_it_stay(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.5)
    await line.send("shutdown", deadline_s=None, reason="cancelled")
    assert [(await client.next())["type"] for _ in range(2)] == ["shutdown", "shutdown"]
    await past(client, 0.5)
    assert await client.run("client.state") == "open"
    assert fake.idle


async def test_a_deadline_that_moved_does_not_move_its_moment(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.05)
    await line.send("shutdown", deadline_s=600.0, reason="drain")
    assert (await client.until("connecting"))["planned"]


async def test_a_new_moment_takes_the_place_of_the_old(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await line.send("shutdown", deadline_s=600.0, reason="drain", reconnect_in_s=500)
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.05)
    assert (await client.until("connecting"))["planned"]
    await (await fake.line()).welcome()
    await client.until("open")
    assert fake.idle


async def test_a_connection_lost_before_its_moment_is_an_ordinary_loss(
    client: JsClient, fake: Switchboard
) -> None:
    line = await opened(client, fake)
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.5)
    await line.close(1012)
    await client.until("waiting")
    await reopened(client, fake)
    await past(client, 0.5)
    assert await client.run("client.state") == "open"
    assert fake.idle


async def test_what_a_left_connection_still_says_is_not_heard(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await client.run("{ const own = client; own.addEventListener('shutdown', () => own.close()); }")
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0)
    await line.message("1-1")
    assert [(await client.next())["type"] for _ in range(2)] == ["shutdown", "closed"]
    assert await line.ended() == 1000
    assert await client.run("client.cursor") == "1-0"
    assert fake.idle


# Sending


async def test_send_tells_whether_a_connection_took_it(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    assert await client.run('client.send("before the welcome")') is False
    await line.welcome()
    await client.until("open")
    assert await client.run('client.send("hello")') is True
    assert await line.heard() == "hello"
    await client.run("Math.random = () => 1")
    await line.close(1012)
    await client.until("waiting")
    assert await client.run('client.send("while it waits")') is False
    line = await reopened(client, fake)
    assert await client.run('client.send("back")') is True
    assert await line.heard() == "back"
    await client.run("client.close()")
    assert await client.run('client.send("too late")') is False


@pytest.mark.parametrize("value", ["5", "null", "new Uint8Array(3)", "{ n: 1 }"])
async def test_what_is_not_text_is_a_mistake(client: JsClient, fake: Switchboard, value: str) -> None:
    await opened(client, fake)
    thrown = await client.run(
        f"(() => {{ try {{ client.send({value}); }} catch (error) {{ return error.name; }} }})()"
    )
    assert thrown == "TypeError"


RATE = {"per_second": 50, "burst": 2, "left": 1}

STOP_THE_CLOCK = """void Object.defineProperty(performance, "now", {
  value: ((now) => () => now + ahead)(performance.now() - ahead), configurable: true,
})"""
"""Code after which the realm's clock goes on with `ahead` alone."""


async def test_what_is_above_the_rate_waits_and_nothing_is_lost(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    await line.welcome(rate=RATE)
    await client.until("open")
    await client.run(STOP_THE_CLOCK)
    for text in "abc":
        assert await client.run(f"client.send('{text}')")
    assert await line.heard() == "a"
    assert await client.run("client.queued") == 2  # nothing is given back for what is on its way
    await client.run("ahead += 1000")
    await line.message("1-1", "a", **{"from": "bob"})
    assert await line.heard() == "b"
    await line.close(1012)
    line = await reopened(client, fake, recovered=True, rate=RATE)
    assert await line.heard() == "c"


async def test_a_message_that_does_not_come_back_holds_up_the_others_for_a_while_only(
    client: JsClient, fake: Switchboard
) -> None:
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    await line.welcome(rate=RATE | {"burst": 1})
    await client.until("open")
    await client.run("client.send('a') && client.send('b') && (ahead += 2000)")
    await client.run("client.send('c')")
    assert [await line.heard() for _ in range(2)] == ["a", "b"]


async def test_what_is_refused_for_the_rate_is_sent_again(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob", "{ topics: [] }")
    line = await fake.line()
    await line.welcome(rate=RATE)
    await client.until("open")
    await asked(client, "published", 'publish("x")')
    command = await line.command()
    await line.send("error", ref=command["ref"], code="rate_limited", message="slower")
    again = await line.command()
    assert again | {"ref": 0} == command | {"ref": 0}
    await line.send("ok", ref=again["ref"], id="9-0")
    assert await client.run("published") == {"value": "9-0"}


async def test_a_flood_keeps_the_rate_of_a_real_server_and_arrives_whole(
    start_server: StartServer, realm: Realm
) -> None:
    server = start_server("--broadcast-interval", "0", "--rate", "100/s:5")
    client = JsClient(realm)
    await client.load(server.url)
    for options in ("{}", "{ topics: [] }", "{ topics: [], transport: 'event-stream' }"):
        await client.start(f"{server.url}/ws/bob", options)  # in place of the one before
        await client.until("open")
        await client.run("{ for (let n = 0; n < 30; n += 1) client.send(`${n}`); }")
        events = [await client.next() for _ in range(30)]
        assert [e.get("data") for e in events] == [f"{n}" for n in range(30)]
    await client.end()


# The end


async def test_close_is_the_end(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await client.run("client.close()")
    event = await client.next()
    assert (event["type"], event["state"], event["code"]) == ("closed", "closed", 1000)
    assert await line.ended() == 1000
    await client.run("client.close(), client.retry()")
    assert await client.run("client.state") == "closed"
    assert fake.idle


async def test_close_ends_a_pause_too(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake)
    await client.run("Math.random = () => 0.1")
    await line.close(1012)
    await client.next()
    await client.run("client.close()")
    assert (await client.next())["type"] in {"closed", "connecting"}
    await past(client, 0.05)
    assert await client.run("client.state") == "closed"


async def test_close_ends_an_attempt_too(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob")
    line = await fake.line()
    await client.run("client.close()")
    assert (await client.next())["type"] == "closed"
    assert await line.ended()
    assert await client.run("client.state") == "closed"
    assert fake.idle


# In Node


def test_an_expression_without_a_value_fails_and_holds_up_nothing() -> None:
    with running_node() as node, pytest.raises(queue.Empty):
        node.evaluate("new Promise(() => setInterval(() => {}, 1000))", deadline=0.1)


async def test_what_a_test_does_in_a_node_is_not_there_in_the_next(fake: Switchboard, tmp_path: Path) -> None:
    found = "[Object.getOwnPropertyNames(globalThis).sort(), Math.random() < 1, performance.now() < 1e9]"
    with fresh_nodes() as fresh_node:
        node = fresh_node()
        before = node.evaluate(found)
        in_node = InNode(node, tmp_path)
        client = JsClient(in_node)
        await client.load(fake.url)
        await client.run("Math.random = setInterval = () => 2")
        await client.run("ahead = 1e9")
        given = f"load({json.dumps(WEBSOCKET.as_uri())})"
        await client.run(f"(async () => {{ globalThis.Given = (await {given}).WebSocket; }})()")
        await client.run("delete globalThis.WebSocket")
        await client.start(f"{fake.url}/ws/bob", "{ WebSocket: Given }")
        line = await fake.line()
        await to_thread.run_sync(in_node.end)
        await line.connection.wait_closed()
        assert fresh_node() is node
        assert node.evaluate(found) == before
        node.evaluate("globalThis.left = 1")
        assert fresh_node() is not node


async def test_another_implementation_can_be_given(fake: Switchboard, tmp_path: Path) -> None:
    with running_node() as node:
        client = JsClient(InNode(node, tmp_path))
        await client.load(fake.url)
        given = f"load({json.dumps(WEBSOCKET.as_uri())})"
        await client.run(f"(async () => {{ globalThis.Given = (await {given}).WebSocket; }})()")
        await client.run("delete globalThis.WebSocket")
        await client.start(f"{fake.url}/ws/bob", "{ WebSocket: Given }")
        line = await fake.line()
        await line.welcome()
        await client.until("open")
        assert await client.run('client.send("x".repeat(1000))')
        assert await line.heard() == "x" * 1000
        await line.close(4501)
        assert (await client.next())["code"] == 4501


_CLOSING = f"""class {{
  readyState = 1;
  sent = [];
  constructor() {{
    globalThis.socket = this;
    setTimeout(() => this.onmessage({{ data: {json.dumps(welcome())} }}));
  }}
  send(text) {{ this.sent.push(text); }}
  close() {{}}
}}"""


async def test_a_connection_that_is_closing_takes_nothing(fake: Switchboard, tmp_path: Path) -> None:
    with running_node() as node:
        client = JsClient(InNode(node, tmp_path))
        await client.load(fake.url)
        await client.start("ws://x/ws/bob", f"{{ WebSocket: {_CLOSING} }}")
        await client.until("open")
        assert await client.run('client.send("in time")') is True
        await client.run("socket.readyState = 2")
        assert await client.run('client.send("too late")') is False
        assert await client.run("socket.sent") == ["in time"]


async def test_without_any_it_says_what_to_do(fake: Switchboard, tmp_path: Path) -> None:
    with running_node() as node:
        client = JsClient(InNode(node, tmp_path))
        await client.load(fake.url)
        await client.run("delete globalThis.WebSocket && delete globalThis.fetch")
        made = "(() => { try { new wsctl.Client('ws://x/ws/b', %s) } catch (e) { return e.message } })()"
        assert await client.run(made % "{}") == "no WebSocket here: give one as { WebSocket }"
        assert await client.run(made % "{ transport: 'carrier' }") == "there is no transport carrier"
        streams = await client.run(made % "{ transport: 'event-stream' }")
        assert streams == "an event stream needs fetch, and an address .../ws/ID"


async def test_a_process_that_is_done_with_it_can_end(fake: Switchboard, tmp_path: Path) -> None:
    with running_node() as node:
        client = JsClient(InNode(node, tmp_path))
        await client.load(fake.url)
        await opened(client, fake)
        await client.run("client.close()")
        timers = "process.getActiveResourcesInfo?.().filter((kind) => kind === 'Timeout').length ?? 0"
        assert await client.run(timers) == 0


# With a real server


async def test_after_a_cut_nothing_is_missed_and_nothing_comes_twice(
    start_server: StartServer, realm: Realm
) -> None:
    server = start_server("--broadcast-interval", "0")
    async with Relay(server.port).running() as road:
        client = JsClient(realm)
        await client.load(road.url)
        await client.start(f"{road.url}/ws/bob")
        await client.until("open")
        publish(server, "one", "two")
        assert [(await client.until("message"))["data"] for _ in range(2)] == ["one", "two"]
        road.cut()
        await client.until("waiting")
        publish(server, "three", "four")
        assert server.api("POST", "/api/broadcast", {"data": "not for bob", "to": ["eve"]})[0] == 200
        road.mend()
        event = await client.until("open")
        assert (event["recovered"], event["reconnected"]) == (True, True)
        publish(server, "five")
        events = [await client.next() for _ in range(3)]
        assert [e.get("data") for e in events] == ["three", "four", "five"]
        assert await client.run('client.send("own")')
        assert (await client.next())["data"] == "own"


async def test_it_says_when_the_history_no_longer_reaches(start_server: StartServer, realm: Realm) -> None:
    server = start_server("--broadcast-interval", "0", "--history", "2")
    async with Relay(server.port).running() as road:
        client = JsClient(realm)
        await client.load(road.url)
        await client.start(f"{road.url}/ws/bob")
        await client.until("open")
        road.cut()
        await client.until("waiting")
        publish(server, "one", "two", "three")
        road.mend()
        event = await client.until("open")
        assert (event["recovered"], event["reconnected"]) == (False, True)
        publish(server, "four")
        assert (await client.next())["data"] == "four"


async def test_asked_to_leave_it_is_gone_before_the_deadline_and_finds_the_successor(
    start_server: StartServer, realm: Realm
) -> None:
    server = start_server("--reconnect-window", "0.2")
    client = JsClient(realm)
    await client.load(server.url)
    await client.start(f"{server.url}/ws/bob")
    await client.until("open")
    server.signal()
    assert (await client.until("connecting"))["planned"]
    assert await to_thread.run_sync(server.wait) == 0
    await to_thread.run_sync(start_server, "--port", str(server.port))
    event = await client.until("open")
    assert (event["recovered"], event["reconnected"]) == (False, True)


async def test_a_newer_connection_of_its_id_ends_it(start_server: StartServer, realm: Realm) -> None:
    server = start_server()
    client = JsClient(realm)
    await client.load(server.url)
    await client.start(f"{server.url}/ws/bob")
    await client.until("open")
    await client.run("(() => { globalThis.older = client; globalThis.olderNext = next; })()")
    await client.start(f"{server.url}/ws/bob")
    await client.until("open")
    event = await client.run("olderNext()")
    assert (event["type"], event["code"]) == ("closed", 4501)


def publish(server: ServerProcess, *data: object) -> None:
    for item in data:
        code, answer = server.api("POST", "/api/broadcast", {"data": item})
        assert code == HTTPStatus.OK, answer


# Credentials


async def test_a_token_travels_as_a_subprotocol(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob", r"{ token: '~~~???/+= ' }")
    line = await fake.line()
    assert line.offered is not None
    name, coded = line.offered.replace(" ", "").split(",")
    assert name == "wsctl"
    assert coded == "bearer.fn5-Pz8_Lys9IA"
    assert "token" not in line.path
    await line.welcome()
    assert (await client.until("open"))["state"] == "open"


async def test_without_a_token_nothing_is_offered(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob", "{ token: () => '' }")
    assert (await fake.line()).offered is None


async def test_each_attempt_asks_for_a_fresh_token(client: JsClient, fake: Switchboard) -> None:
    await client.run("void (globalThis.tokens = ['a', Promise.resolve('b')])")
    await client.start(f"{fake.url}/ws/bob", "{ token: () => tokens.shift() }")
    line = await fake.line()
    assert line.offered == "wsctl, bearer.YQ"
    await line.welcome()
    await client.until("open")
    await line.close(4403, "expired")
    assert (await client.until("waiting"))["code"] == 4403
    await client.run("client.retry()")
    assert (await fake.line()).offered == "wsctl, bearer.Yg"


@pytest.mark.parametrize(
    "failing", ["() => { throw new Error('away') }", "() => Promise.reject(new Error('away'))"]
)
async def test_where_there_is_no_token_the_next_attempt_asks_again(
    client: JsClient, fake: Switchboard, failing: str
) -> None:
    await client.run(f"globalThis.give = {failing}")
    await client.start(f"{fake.url}/ws/bob", "{ token: () => give() }")
    waiting = await client.until("waiting")
    assert (waiting["code"], waiting["reason"]) == (1006, "no token: Error: away")
    await client.run("void (globalThis.give = () => 'a')")
    await client.run("client.retry()")
    assert (await fake.line()).offered == "wsctl, bearer.YQ"


async def test_who_leaves_before_the_token_is_there_connects_no_more(
    client: JsClient, fake: Switchboard
) -> None:
    token = "new Promise((done) => { globalThis.give = done; })"
    await client.start(f"{fake.url}/ws/bob", f"{{ token: () => {token} }}")
    await client.run("client.close()")
    assert (await client.until("closed"))["code"] == 1000
    await client.run("give('a')")
    await client.start(f"{fake.url}/ws/eve")
    assert (await fake.line()).path == "/ws/eve?keepalive=10"


async def test_a_real_server_takes_it(realm: Realm, start_server: StartServer, tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    server = start_server(*issuer.flags)
    client = JsClient(realm)
    await client.load(server.url)
    await client.start(f"{server.url}/ws/bob", json.dumps({"token": issuer.token("bob", ttl=3600)}))
    await client.until("open")
    await client.start(f"{server.url}/ws/eve", json.dumps({"token": issuer.token("bob", ttl=3600)}))
    assert (await client.until("waiting"))["code"] == 1006
    await client.run("client.close()")


# Topics


def topics_of(line: Line) -> list[str]:
    return parse_qs(urlsplit(line.path).query).get("topic", [])


async def with_topics(client: JsClient, fake: Switchboard, *topics: str, query: str = "") -> Line:
    """Start the client as bob, with commands; its first connection, welcomed with id 1-0."""
    await client.start(f"{fake.url}/ws/bob{query}", json.dumps({"topics": topics}))
    line = await fake.line()
    await line.welcome()
    await client.until("open")
    return line


async def asked(client: JsClient, name: str, call: str) -> None:
    """Begin a call; what becomes of it is in `name`."""
    outcome = "(value) => ({ value }), ({ name, code, message }) => ({ name, code, message })"
    await client.run(f"void (globalThis.{name} = client.{call}.then({outcome}))")


async def test_topics_are_subscribed_to_at_each_connection_with_one_since(
    client: JsClient, fake: Switchboard
) -> None:
    line = await with_topics(client, fake, "a.>", "b+c", query="?topic=d")
    assert topics_of(line) == ["d", "a.>", "b+c"]
    assert line.offered == "wsctl.2, wsctl"
    await line.message("5-0", topic="a.b")
    assert (await client.next())["frame"]["topic"] == "a.b"
    await line.close(1012)
    line = await reopened(client, fake, recovered=True)
    assert (topics_of(line), line.since) == (["d", "a.>", "b+c"], "5-0")
    assert await client.run("client.topics") == ["d", "a.>", "b+c"]


async def test_a_token_is_offered_behind_the_protocols(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob", "{ topics: [], token: 'a' }")
    assert (await fake.line()).offered == "wsctl.2, wsctl, bearer.YQ"


async def test_what_is_published_has_a_receipt(client: JsClient, fake: Switchboard) -> None:
    line = await with_topics(client, fake)
    await asked(
        client, "first", 'publish({ price: 3 }, { topic: "a.b", to: ["ann"], key: "k", traceparent: "00-1" })'
    )
    await asked(client, "second", "publish()")
    first, second = await line.command(), await line.command()
    assert first | {"ref": 0} == {
        "type": "publish",
        "ref": 0,
        "data": {"price": 3},
        "topic": "a.b",
        "to": ["ann"],
        "key": "k",
        "traceparent": "00-1",
    }
    assert second["data"] is None
    await line.send("ok", ref=second["ref"], id="8-0")
    await line.send("error", ref=first["ref"], code="topic_not_allowed", message="not yours")
    assert await client.run("second") == {"value": "8-0"}
    assert await client.run("first") == {
        "name": "CommandError",
        "code": "topic_not_allowed",
        "message": "not yours",
    }
    await line.send("heartbeat", ts=1.5, connections=2, n=3)
    assert (await client.next())["type"] == "heartbeat"  # no event of the answers
    assert await client.run("client.cursor") == "1-0"


async def test_send_is_a_command_of_which_only_a_refusal_is_told(client: JsClient, fake: Switchboard) -> None:
    line = await with_topics(client, fake)
    assert await client.run('client.send("hello") && client.send("again")') is True
    first, second = await line.command(), await line.command()
    assert first == {"type": "publish", "ref": first["ref"], "data": "hello"}
    await line.send("ok", ref=first["ref"], id="8-0")
    await line.send("error", ref=second["ref"], code="rate_limited", message="slower")
    event = await client.next()
    assert event["frame"] == {"type": "error", "code": "rate_limited", "message": "slower"}


async def test_a_connection_that_ends_leaves_a_command_unconfirmed(
    client: JsClient, fake: Switchboard
) -> None:
    line = await with_topics(client, fake)
    await asked(client, "published", 'publish("x")')
    await line.command()
    await line.close(1012)
    assert (await client.run("published"))["code"] == "unconfirmed"
    await client.until("waiting")
    await asked(client, "published", 'publish("x")')
    assert (await client.run("published"))["code"] == "not_connected"


async def test_subscribing_on_an_open_connection_is_kept(client: JsClient, fake: Switchboard) -> None:
    line = await with_topics(client, fake, "a")
    await asked(client, "subscribed", 'subscribe("b.*", "c")')
    command = await line.command()
    assert (command["type"], command["topics"]) == ("subscribe", ["b.*", "c"])
    assert await client.run("client.topics") == ["a"]
    await line.send("ok", ref=command["ref"], id="9-0")
    assert await client.run("subscribed") == {}
    assert await client.run("client.topics") == ["a", "b.*", "c"]
    await asked(client, "unsubscribed", 'unsubscribe("a")')
    command = await line.command()
    assert (command["type"], command["topics"]) == ("unsubscribe", ["a"])
    await line.send("ok", ref=command["ref"])
    assert await client.run("unsubscribed") == {}
    await line.close(1012)
    line = await reopened(client, fake, recovered=True)
    assert (topics_of(line), line.since) == (["b.*", "c"], "9-0")


async def test_a_subscription_waits_for_a_connection_and_is_made_anew_when_it_is_lost(
    client: JsClient, fake: Switchboard
) -> None:
    await client.start(f"{fake.url}/ws/bob", "{ topics: [] }")
    await asked(client, "subscribed", 'subscribe("b")')
    line = await fake.line()
    await line.welcome()
    assert (await line.command())["topics"] == ["b"]
    await line.close(1012)
    await client.until("waiting")
    line = await reopened(client, fake, recovered=True)
    assert topics_of(line) == []
    await line.send("ok", ref=(await line.command())["ref"], id="9-0")
    assert await client.run("subscribed") == {}
    await asked(client, "refused", 'subscribe("secret")')
    await line.send("error", ref=(await line.command())["ref"], code="topic_not_allowed", message="no")
    assert (await client.run("refused"))["code"] == "topic_not_allowed"
    assert await client.run("client.topics") == ["b"]


async def test_who_is_there_can_be_asked_and_watched_over_reconnects(
    client: JsClient, fake: Switchboard
) -> None:
    line = await with_topics(client, fake)
    await asked(client, "present", 'presence("a")')
    command = await line.command()
    assert (command["type"], command["topic"]) == ("presence", "a")
    there = [{"client_id": "eve", "connections": 2}]
    await line.send("ok", ref=command["ref"], count=1, clients=there)
    assert await client.run("present") == {"value": {"count": 1, "clients": there}}
    await asked(client, "watched", 'watch("a", "b")')
    command = await line.command()
    assert command | {"ref": 0} == {"type": "subscribe", "ref": 0, "topics": ["a", "b"], "events": True}
    await line.send("ok", ref=command["ref"], id="9-0")
    assert await client.run("watched") == {}
    await line.send("joined", topic="a", client_id="ann")
    event = await client.next()
    assert (event["type"], event["frame"]["client_id"]) == ("joined", "ann")
    await asked(client, "unsubscribed", 'unsubscribe("a")')
    await line.send("ok", ref=(await line.command())["ref"])
    await client.run("unsubscribed")
    await line.close(1012)
    line = await reopened(client, fake, recovered=True)
    assert topics_of(line) == ["b"]
    assert await line.command() == {"type": "subscribe", "topics": ["b"], "events": True}


async def test_who_leaves_waits_for_no_connection(client: JsClient, fake: Switchboard) -> None:
    await client.start(f"{fake.url}/ws/bob", "{ topics: [] }")
    await asked(client, "subscribed", 'subscribe("b")')
    await fake.line()
    await client.run("client.close()")
    assert (await client.run("subscribed"))["code"] == "not_connected"
    await asked(client, "later", 'subscribe("b")')
    assert (await client.run("later"))["code"] == "not_connected"


@pytest.mark.parametrize(("lost", "since"), [(["a.old"], "5-0"), (["a.>", "b"], "9-0"), (None, "5-0")])
async def test_what_is_lost_of_which_topics_is_told(
    client: JsClient, fake: Switchboard, lost: list[str] | None, since: str
) -> None:
    line = await with_topics(client, fake, "a.>", "b")
    await line.message("5-0")
    await client.until("message")
    await line.close(1012)
    await client.run("client.retry()")
    line = await fake.line()
    await line.welcome("9-0", recovered=False, **({} if lost is None else {"lost": lost}))
    event = await client.until("open")
    assert (event["recovered"], event["lost"]) == (False, lost or [])
    # Of what is not lost something may follow, and it is asked for again where that is cut off.
    assert event["cursor"] == since


async def test_what_new_credentials_do_not_permit_is_not_asked_for_again(
    client: JsClient, fake: Switchboard
) -> None:
    line = await with_topics(client, fake, "a", "b")
    await line.send("error", code="topic_not_allowed", message="a is over", topics=["a"])
    await client.until("error")
    assert await client.run("client.topics") == ["b"]


async def test_a_server_of_the_release_before_is_none_for_who_wants_topics(
    client: JsClient, fake: Switchboard
) -> None:
    fake.protocols = ("wsctl",)
    await client.start(f"{fake.url}/ws/bob", "{ topics: ['a'] }")
    await (await fake.line()).welcome()
    waiting = await client.until("waiting")
    assert waiting["reason"] == "the server knows no topics: it is of a release before them"
    await client.run("client.close()")
    line = await with_topics(client, fake)
    assert await client.run('client.send("hello")') is True
    assert await line.heard() == "hello"
    await asked(client, "published", 'publish("x")')
    assert (await client.run("published"))["code"] == "unknown_command"


async def test_without_topics_there_are_no_commands(client: JsClient, fake: Switchboard) -> None:
    line = await opened(client, fake, "?topic=a")
    assert (line.offered, topics_of(line)) == (None, ["a"])
    await asked(client, "published", 'publish("x")')
    assert await client.run("published") == {
        "name": "CommandError",
        "code": "unknown_command",
        "message": "give { topics: [] } for commands",
    }


# As a file


def test_it_is_small_and_needs_nothing() -> None:
    assert len(MODULE.read_bytes()) < SIZE_LIMIT
    code = MODULE.read_text(encoding="utf-8")
    assert not re.search(r"^\s*import\b|\bimport\(|\brequire\(", code, re.MULTILINE)
    assert re.findall(r"^export \w+ (\w+)", code, re.MULTILINE) == [
        "STATES",
        "CommandError",
        "Client",
    ]


def test_it_is_served_as_it_is_to_every_origin(start_server: StartServer) -> None:
    server = start_server()
    with urlopen(f"{server.url}/wsctl.js", timeout=DEADLINE) as answer:
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["access-control-allow-origin"] == "*"
        assert answer.read() == MODULE.read_bytes()


@pytest.mark.browser
async def test_a_page_of_another_origin_can_import_it(
    start_server: StartServer, fake: Switchboard, new_page: NewPage
) -> None:
    server = start_server("--allow-origin", fake.url)
    client = JsClient(InPage(new_page()))
    await client.load(fake.url)
    elsewhere = json.dumps(f"{server.url}/wsctl.js")
    await client.run(f"import({elsewhere}).then((module) => {{ globalThis.wsctl = module; }})")
    await client.start(f"{server.url}/ws/bob")
    assert (await client.next())["type"] == "open"


def test_a_wheel_holds_it(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    wheel = next(WheelBuilder(str(ROOT)).build(directory=str(tmp_path)))
    with ZipFile(wheel) as archive:
        for file in (MODULE, MODULE.with_suffix(".d.ts")):
            assert archive.read(f"wsctl/server/page/{file.name}") == file.read_bytes()


def test_the_example_of_the_manual_runs(start_server: StartServer, tmp_path: Path) -> None:
    (shown,) = [block.text for block in blocks("examples", pages()["examples"]) if block.language == "js"]
    server = start_server("--broadcast-interval", "0")
    (tmp_path / "wsctl.mjs").write_bytes(MODULE.read_bytes())
    websocket = f'import {{ WebSocket }} from "{WEBSOCKET.as_uri()}";\nglobalThis.WebSocket ??= WebSocket;\n'
    example = websocket + shown.replace("http://127.0.0.1:8000", server.url)
    (tmp_path / "example.mjs").write_text(example)
    process = subprocess.Popen([*command(), str(tmp_path / "example.mjs")], stdout=subprocess.PIPE, text=True)
    give_up = threading.Timer(DEADLINE, process.kill)
    give_up.start()
    try:
        assert process.stdout
        assert process.stdout.readline() == "load all anew\n"
        publish(server, "hello")
        assert process.stdout.readline() == "server hello\n"
    finally:
        give_up.cancel()
        process.kill()
        process.communicate()
