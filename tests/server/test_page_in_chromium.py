"""The page as people meet it: a real browser, a real server."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from anyio import to_thread

import wsctl.server.page
from tests.conftest import NewPage, StartServer
from tests.support.browser import Browser, Page
from tests.support.issuer import Issuer
from tests.support.relay import HttpRelay, Relay, Upgrades
from tests.support.server import ServerProcess
from tests.support.switchboard import Line, Switchboard

pytestmark = pytest.mark.browser

FOCUSED = "document.activeElement.id"


def state(page: Page) -> str:
    return page.text("#name")


def wait_for_state(page: Page, name: str) -> None:
    page.wait_for(f"document.querySelector('#name').textContent === {json.dumps(name)}")


def name_it(page: Page, client_id: str) -> None:
    """Put another id in place of the one that is there."""
    page.evaluate("document.querySelector('#clientId').select()")
    page.click("#clientId")
    page.evaluate("document.querySelector('#clientId').select()")
    page.type(client_id)


def connect(page: Page, server: ServerProcess, client_id: str = "bob") -> None:
    page.open(f"{server.url}/?id={quote(client_id)}")
    wait_for_state(page, "Connected")


def broadcast(server: ServerProcess, data: object, to: list[str] | None = None) -> None:
    code, answer = server.api("POST", "/api/broadcast", {"data": data} | ({"to": to} if to else {}))
    assert code == 200, answer


def start_drain(server: ServerProcess, timeout: float) -> None:
    code, answer = server.api("POST", "/api/drain", {"timeout": timeout})
    assert code == 200, answer


def rows(page: Page, kind: str = "row") -> list[str]:
    """The texts of the messages of a kind, in the order shown."""
    shown: list[str] = page.evaluate(
        f"[...document.querySelectorAll('#log .{kind} .data')].map((e) => e.textContent)"
    )
    return shown


def note_each_countdown(page: Page) -> None:
    """From now on keep every text the countdown had, in `seen`."""
    page.evaluate(
        "(() => { const timer = document.querySelector('#timer'); window.seen = [];"
        " new MutationObserver(() => seen.push(timer.textContent)).observe(timer, { childList: true }); })()"
    )


def test_it_connects_and_says_as_whom(server: ServerProcess, page: Page) -> None:
    page.open(server.url)
    wait_for_state(page, "Connected")
    client_id = page.evaluate("document.querySelector('#clientId').value")
    assert page.text("#detail") == f"as {client_id}"
    assert client_id in [c["client_id"] for c in server.status()["clients"]]


def test_an_id_is_kept_when_the_page_is_loaded_again(server: ServerProcess, page: Page) -> None:
    shown = "document.querySelector('#clientId').value"
    page.open(server.url)
    first = page.evaluate(shown)
    page.open(server.url)
    assert page.evaluate(shown) == first
    page.click("#toggle")
    wait_for_state(page, "Not connected")
    name_it(page, "bob")
    page.click("#toggle")
    wait_for_state(page, "Connected")
    page.open(server.url)
    wait_for_state(page, "Connected")
    assert page.text("#detail") == "as bob"
    assert page.evaluate(shown) == "bob"


def test_a_duplicate_of_the_tab_does_not_replace_it(server: ServerProcess, page: Page) -> None:
    """It begins with a copy of what is stored for the tab."""
    connect(page, server)
    assert page.evaluate("sessionStorage.length") == 0


def test_an_id_in_the_address_comes_first(server: ServerProcess, page: Page) -> None:
    page.open(server.url)
    connect(page, server, "żółw.1")
    assert page.text("#detail") == "as żółw.1"
    page.open(f"{server.url}/?id=two%20words")
    page.wait_for_text("#hint", "This id does not work")
    assert state(page) == "Not connected"
    assert page.evaluate(FOCUSED) == "clientId"


def test_the_welcome_tells_how_many_are_on_the_server(start_server: StartServer, new_page: NewPage) -> None:
    server = start_server("--broadcast-interval", "0")
    first, second = new_page(), new_page()
    connect(first, server, "bob")
    connect(second, server, "eve")
    assert (first.text("#connections"), second.text("#connections")) == ("1", "2")


@pytest.mark.anyio
async def test_a_road_that_stops_without_a_word_is_noticed(start_server: StartServer, page: Page) -> None:
    server = start_server("--broadcast-interval", "0")
    async with Relay(server.port).running() as road:
        # It looks every 2.5 seconds in place of 12.5.
        quick = "setInterval = ((real) => (act, ms) => real(act, ms / 5))(setInterval)"
        page.command("Page.addScriptToEvaluateOnNewDocument", source=quick)
        await to_thread.run_sync(page.open, f"{road.url}/?id=bob")
        await to_thread.run_sync(wait_for_state, page, "Connected")
        road.freeze()
        broadcast(server, "lost on its way")
        await to_thread.run_sync(page.wait_for_text, "#log .server", "lost on its way")
        events = await to_thread.run_sync(rows, page, "event")
        assert (
            'The connection was closed with 1006, the connection was lost ("nothing came for 12.5 s").'
            in events
        )


@pytest.mark.anyio
async def test_without_a_websocket_it_says_by_what_it_is_connected(server: ServerProcess, page: Page) -> None:
    async with HttpRelay(server.port).running() as road:
        road.upgrades = Upgrades.REFUSE
        quick = "setTimeout = ((real) => (act, ms, ...args) => real(act, ms / 20, ...args))(setTimeout)"
        page.command("Page.addScriptToEvaluateOnNewDocument", source=quick)
        await to_thread.run_sync(page.open, f"{road.url}/?id=kim&topic=a")
        by_stream = "as kim, with a, by an event stream: the WebSocket was refused"
        await to_thread.run_sync(page.wait_for_text, "#detail", by_stream)
        assert await to_thread.run_sync(state, page) == "Connected"
        await to_thread.run_sync(page.click, "#text")
        await to_thread.run_sync(page.type, "hello")
        await to_thread.run_sync(page.press, "Enter")
        await to_thread.run_sync(page.wait_for_text, "#log .own", "hello")
        road.upgrades = Upgrades.PASS
        await to_thread.run_sync(page.wait_for_text, "#log .event", "A WebSocket can be had again")
        assert await to_thread.run_sync(page.text, "#detail") == "as kim, with a"
        assert await to_thread.run_sync(page.text, "#reconnects") == "0"


def test_an_id_that_the_server_would_refuse_is_not_tried(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    page.click("#toggle")
    wait_for_state(page, "Not connected")
    for client_id in ("-bob", "two words", "a/b", "b" * 129, "_x"):
        name_it(page, client_id)
        page.click("#toggle")
        page.wait_for_text("#hint", "This id does not work")
        assert state(page) == "Not connected"
        name_it(page, "bob")
        assert "does not work" not in page.text("#hint")
    assert len([url for url in page.requests if url.startswith("ws")]) == 1


def test_an_id_that_the_server_takes_is_taken(server: ServerProcess, page: Page) -> None:
    for client_id in ("żółw.1", "a:b@c+d~e-f_g", "猫", "हिन्दी", "b" * 128):
        connect(page, server, client_id)
        assert page.text("#detail") == f"as {client_id}"


def test_it_connects_beside_itself_when_a_proxy_serves_it_under_a_prefix(
    server: ServerProcess, page: Page
) -> None:
    connect(page, server)
    page.click("#toggle")
    wait_for_state(page, "Not connected")
    page.evaluate("history.replaceState(null, '', '/some/prefix/?query#part')")
    name_it(page, "b@b")
    page.click("#toggle")
    page.wait_for_text("#name", "Reconnecting")
    assert f"{server.ws_url}/some/prefix/ws/b%40b?keepalive=10" in page.requests


def test_markup_in_a_message_is_text_and_runs_nothing(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    hostile = "<img src=x onerror='window.hit = 1'><script>window.hit = 1</script>"
    broadcast(server, hostile)
    broadcast(server, {hostile: hostile})
    broadcast(server, "last")
    page.wait_for_text("#log", "last")
    assert rows(page, "server")[0] == hostile
    assert page.evaluate("document.querySelectorAll('#log img, #log script').length") == 0
    assert page.evaluate("typeof window.hit") == "undefined"
    assert page.errors == []


def test_what_is_sent_comes_back_as_ones_own(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    page.click("#text")
    page.type("hello")
    page.press("Enter")
    page.wait_for_text("#log .own", "hello")
    assert rows(page, "own") == ["hello"]
    assert page.evaluate("document.querySelector('#text').value") == ""
    assert (page.text("#sent"), page.text("#received")) == ("1", "1")


def test_senders_and_direct_messages_can_be_told_apart(server: ServerProcess, new_page: NewPage) -> None:
    bob, eve = new_page(), new_page()
    connect(bob, server, "bob")
    connect(eve, server, "eve")
    eve.click("#text")
    eve.type("from eve")
    eve.press("Enter")
    bob.wait_for_text("#log .other", "from eve")
    broadcast(server, "for bob", to=["bob"])
    broadcast(server, "for all")
    for page in (bob, eve):
        page.wait_for_text("#log .server", "for all")
    assert rows(bob, "other") == ["from eve"]
    assert rows(bob, "direct") == ["for bob"]
    assert rows(bob, "server") == ["for bob", "for all"]
    assert rows(eve, "direct") == []


# Topics


def fill(page: Page, field: str, text: str) -> None:
    """Put a text in place of what is in a field."""
    page.evaluate(f"document.querySelector('{field}').select()")
    page.click(field)
    page.evaluate(f"document.querySelector('{field}').select()")
    page.type(text)


def test_topics_are_subscribed_to_and_messages_sent_to_them(server: ServerProcess, new_page: NewPage) -> None:
    bob, eve = new_page(), new_page()
    bob.open(f"{server.url}/?id=bob&topic=quotes.*&topic=chat.%3E")
    wait_for_state(bob, "Connected")
    assert bob.evaluate("document.querySelector('#topics').value") == "quotes.* chat.>"
    bob.wait_for_text("#detail", "as bob, with 2 topics")
    connect(eve, server, "eve")
    fill(eve, "#to", "quotes.eu")
    eve.click("#text")
    eve.type("3.14")
    eve.press("Enter")
    bob.wait_for_text("#log .other", "3.14")
    assert bob.text("#log .other .topic") == "quotes.eu"
    eve.wait_for_text("#log", "Sent to quotes.eu, which is none of your topics.")
    assert rows(eve, "own") == []
    fill(bob, "#to", "chat.room.7")
    bob.click("#text")
    bob.type("hello room")
    bob.press("Enter")
    bob.wait_for_text("#log .own", "hello room")
    code, answer = server.api("POST", "/api/broadcast", {"data": "not for them", "topic": "other"})
    assert (code, answer["recipients"]) == (200, 0)
    broadcast(server, "for all")
    for page in (bob, eve):
        page.wait_for_text("#log .server", "for all")
    assert rows(bob, "server") == ["for all"]
    assert bob.errors == eve.errors == []


def test_topics_are_taken_from_the_field_at_the_next_connection(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    page.click("#toggle")
    wait_for_state(page, "Not connected")
    fill(page, "#topics", "a..b, c")
    page.press("Enter")
    assert "a..b is no topic" in page.text("#hint")
    assert page.evaluate(FOCUSED) == "topics"
    assert state(page) == "Not connected"
    fill(page, "#topics", "a.b, c  a.b")
    page.press("Enter")
    wait_for_state(page, "Connected")
    page.wait_for_text("#detail", "as bob, with 2 topics")
    assert page.evaluate("document.querySelector('#topics').readOnly")


def test_a_topic_that_is_none_is_not_sent_to(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    fill(page, "#to", "a.*")
    page.click("#text")
    page.type("kept")
    page.press("Enter")
    page.wait_for_text("#note", "A message has one topic")
    assert page.evaluate("document.querySelector('#text').value") == "kept"
    assert page.evaluate(FOCUSED) == "to"


def test_a_topic_that_is_not_permitted_is_said_to_be(start_server: StartServer, page: Page) -> None:
    server = start_server("--client-publish", "chat.>")
    connect(page, server)
    fill(page, "#to", "quotes.eu")
    page.click("#text")
    page.type("x")
    page.press("Enter")
    page.wait_for_text("#note", "(topic_not_allowed)")


@pytest.mark.anyio
async def test_what_was_missed_is_told_by_topic(page: Page, fake: Switchboard) -> None:
    await to_thread.run_sync(page.open, f"{fake.url}/?id=bob&topic=a.%3E")
    line = await fake.line()
    await line.welcome()
    await to_thread.run_sync(wait_for_state, page, "Connected")
    await line.close(1012)
    await to_thread.run_sync(wait_for_state, page, "Reconnecting")
    line = await fake.line()
    await line.welcome("9-0", recovered=False, lost=["a.b", "a.c"])
    await to_thread.run_sync(page.wait_for_text, "#log", "Some messages of a.b, a.c were missed.")


def test_strings_are_shown_as_they_are_and_other_json_readably(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    long = {"words": ["[alpha", "beta\n}"], "text": "x" * 80}
    parts = {"numbers": [1, 2], "text": "x" * 80}
    for data in ("a  b", {"n": 1, "ok": True}, None, parts, long):
        broadcast(server, data)
    page.wait_for_text("#log", "alpha")
    joined = '{\n  "numbers": [ 1, 2 ],\n  "text": "' + "x" * 80 + '"\n}'
    spread = '{\n  "words": [\n    "[alpha",\n    "beta\\n}"\n  ],\n  "text": "' + "x" * 80 + '"\n}'
    shown = ["a  b", '{ "n": 1, "ok": true }', "null", joined, spread]
    assert rows(page, "server") == shown


def test_heartbeats_update_one_line(start_server: StartServer, page: Page) -> None:
    server = start_server("--broadcast-interval", "0.1")
    connect(page, server)
    page.wait_for("Number(document.querySelector('#heartbeats').textContent) >= 3")
    assert page.text("#beat").startswith("Heartbeat ")
    assert page.text("#connections") == "1"
    assert page.text("#received") == "0"
    assert len(rows(page)) == len(rows(page, "event"))


def test_typed_text_is_kept_while_not_connected(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    page.click("#toggle")
    wait_for_state(page, "Not connected")
    page.click("#text")
    page.type("a draft")
    page.press("Enter")
    page.wait_for_text("#note", "Not connected")
    assert page.evaluate("document.querySelector('#text').value") == "a draft"
    page.click("#toggle")
    wait_for_state(page, "Connected")
    page.click("#text")
    page.press("Enter")
    page.wait_for_text("#log .own", "a draft")
    assert page.text("#note") == ""


def test_an_error_of_the_server_is_shown(start_server: StartServer, page: Page) -> None:
    server = start_server("--no-client-publish")
    connect(page, server)
    page.click("#text")
    page.type("hello")
    page.press("Enter")
    page.wait_for_text("#note", "publish_disabled")
    page.wait_for_text("#log .error", "publish_disabled")
    assert state(page) == "Connected"


def test_the_list_is_bounded_and_keeps_the_newest(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    for n in range(510):
        broadcast(server, n)
    page.wait_for_text("#log .row:last-child", "509")
    assert rows(page) == [str(n) for n in range(10, 510)]
    assert page.text("#received") == "510"


def test_it_scrolls_along_only_for_a_reader_at_the_end(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    at_end = (
        "(({scrollHeight, scrollTop, clientHeight}) => scrollHeight - scrollTop - clientHeight < 2)"
        "(document.querySelector('#log'))"
    )
    broadcast(server, "\n".join(["tall"] * 100))
    page.wait_for_text("#log", "tall")
    assert page.evaluate(at_end)
    page.evaluate(
        "new Promise((done) => { const log = document.querySelector('#log');"
        " log.addEventListener('scroll', () => done(true), { once: true }); log.scrollTop = 0; })"
    )
    broadcast(server, "news")
    page.wait_for("!document.querySelector('#unread').hidden")
    assert page.text("#unread") == "1 new message"
    assert page.evaluate("document.querySelector('#log').scrollTop") == 0
    page.click("#unread")
    page.wait_for("document.querySelector('#unread').hidden")
    assert page.evaluate(at_end)


def test_a_drain_counts_down_and_its_cancelling_reassures(start_server: StartServer, page: Page) -> None:
    server = start_server()
    connect(page, server)
    start_drain(server, 600)
    wait_for_state(page, "Draining")
    page.wait_for_text("#timer", "closes in 09:5")
    before = page.text("#timer")
    page.wait_for(f"document.querySelector('#timer').textContent < {json.dumps(before)}")
    assert server.api("DELETE", "/api/drain")[0] == 200
    wait_for_state(page, "Connected")
    assert page.text("#timer") == ""
    assert page.evaluate("document.querySelector('#left').hidden")


def test_a_moved_deadline_is_shown(start_server: StartServer, page: Page) -> None:
    server = start_server()
    connect(page, server)
    start_drain(server, 600)
    wait_for_state(page, "Draining")
    note_each_countdown(page)
    start_drain(server, 7200)
    page.wait_for("new Set(seen.filter((text) => text.startsWith('closes in 1:59:'))).size >= 2")
    seen = page.evaluate("seen")
    moved = next(n for n, text in enumerate(seen) if text.startswith(("closes in 2:", "closes in 1:")))
    assert not [text for text in seen[moved:] if text.startswith("closes in 09")]


def test_messages_still_flow_during_a_drain_by_signal(start_server: StartServer, page: Page) -> None:
    server = start_server("--shutdown-timeout", "600")
    connect(page, server)
    server.signal()
    wait_for_state(page, "Draining")
    page.click("#text")
    page.type("still here")
    page.press("Enter")
    page.wait_for_text("#log .own", "still here")
    page.click("#toggle")
    wait_for_state(page, "Not connected")
    assert server.wait() == 0


def test_after_the_deadline_it_reconnects_to_the_successor(start_server: StartServer, page: Page) -> None:
    server = start_server()
    port = str(server.port)
    connect(page, server)
    start_drain(server, 600)
    wait_for_state(page, "Draining")
    start_drain(server, 0)
    wait_for_state(page, "Reconnecting")
    page.wait_for_text("#log .event", "closed with 1012, the server is restarting")
    assert server.wait() == 4
    successor = start_server("--port", port)
    wait_for_state(page, "Connected")
    assert page.text("#reconnects") == "1"
    broadcast(successor, "from the successor")
    page.wait_for_text("#log .server", "from the successor")


def test_a_server_that_is_gone_is_said_to_be_out_of_reach(start_server: StartServer, page: Page) -> None:
    server = start_server()
    connect(page, server)
    server.kill()
    page.wait_for_text("#log .event", "closed with 1006, the connection was lost")
    page.wait_for_text("#detail", "the server cannot be reached")
    page.wait_for_text("#timer", "next try in")
    page.click("#toggle")
    wait_for_state(page, "Not connected")


@pytest.fixture
async def fake() -> AsyncIterator[Switchboard]:
    """A fake server with the page."""
    html = Path(wsctl.server.page.__file__).with_name("index.html")
    async with Switchboard(html.read_bytes()).running() as switchboard:
        yield switchboard


async def welcomed(page: Page, fake: Switchboard, name: str = "Connected", **fields: object) -> Line:
    """Open the page, which connects, into the state of this name."""
    await to_thread.run_sync(page.open, f"{fake.url}/")
    line = await fake.line()
    await line.welcome("1-0", **fields)
    await to_thread.run_sync(wait_for_state, page, name)
    return line


async def events_after(page: Page, line: Line, last: str) -> list[str]:
    """What the list says besides messages, once the last of these is there."""
    await line.message("9-0", last)
    await to_thread.run_sync(page.wait_for_text, "#log", last)
    return await to_thread.run_sync(rows, page, "event")


CONNECTED = "Connected as bob to wsctl 0."
LOST = 'The connection was closed with 1012, the server is restarting ("because").'


@pytest.mark.anyio
async def test_coming_back_to_a_server_that_has_what_was_missed_is_nothing_special(
    page: Page, fake: Switchboard
) -> None:
    line = await welcomed(page, fake)
    await line.message("2-0", "before")
    await line.close(1012)
    line = await fake.line()
    assert line.since == "2-0"
    await line.welcome("9-0", recovered=True)
    assert await events_after(page, line, "missed") == [CONNECTED, LOST, CONNECTED]
    assert await to_thread.run_sync(rows, page, "other") == ["before", "missed"]


@pytest.mark.anyio
async def test_coming_back_to_one_that_has_not_is_told(page: Page, fake: Switchboard) -> None:
    line = await welcomed(page, fake)
    await line.close(1012)
    line = await fake.line()
    await line.welcome("9-0", recovered=False)
    told = [CONNECTED, LOST, CONNECTED, "Some messages were missed."]
    assert await events_after(page, line, "after") == told
    assert await to_thread.run_sync(page.text, "#reconnects") == "1"


AWAY = {"code": "degraded", "message": "messages are not shared"}


@pytest.mark.anyio
async def test_a_degraded_server_is_told_and_that_it_is_whole_again(page: Page, fake: Switchboard) -> None:
    line = await welcomed(page, fake)
    for recovered in (True, False):
        await line.send("error", **AWAY)
        await to_thread.run_sync(wait_for_state, page, "Degraded")
        await line.send("error", code="degraded", message="this one was not sent")
        await to_thread.run_sync(page.wait_for_text, "#note", "this one was not sent (degraded)")
        await line.welcome("5-0", recovered=recovered)
        await to_thread.run_sync(wait_for_state, page, "Connected")
    down = "The server is degraded: messages are not shared"
    refused, whole = "this one was not sent (degraded)", "The server is whole again."
    assert (await events_after(page, line, "live"))[1:] == [
        *(down, refused, whole, "Nothing was missed."),
        *(down, refused, whole, "Some messages were missed."),
    ]
    assert await to_thread.run_sync(page.text, "#reconnects") == "0"


@pytest.mark.anyio
async def test_who_connects_to_a_degraded_server_sees_that_it_is(page: Page, fake: Switchboard) -> None:
    await welcomed(
        page,
        fake,
        "Degraded",
        server={"version": "0", "phase": "serving", "connections": 1, "degraded": True},
    )
    assert "takes no messages" in await to_thread.run_sync(page.text, "#detail")


@pytest.mark.anyio
async def test_a_countdown_goes_on_while_a_server_is_degraded(page: Page, fake: Switchboard) -> None:
    line = await welcomed(page, fake)
    await line.send("shutdown", deadline_s=60.0, reason="drain")
    await to_thread.run_sync(wait_for_state, page, "Draining")
    await line.send("error", **AWAY)
    await line.welcome("5-0", recovered=True)
    await events_after(page, line, "live")
    assert await to_thread.run_sync(state, page) == "Draining"


@pytest.mark.anyio
async def test_leaving_because_the_server_asked_is_no_loss(page: Page, fake: Switchboard) -> None:
    line = await welcomed(page, fake)
    await line.send("shutdown", deadline_s=60.0, reason="drain", reconnect_in_s=0.1)
    assert await line.ended() == 1000
    line = await fake.line()
    await to_thread.run_sync(page.wait_for_text, "#detail", "the server asked this page to reconnect")
    assert await to_thread.run_sync(state, page) == "Connecting"
    await line.welcome("1-0", recovered=True)
    draining = "The server is draining: it closes this connection in 01:00."
    asked = "The server asked this page to reconnect."
    assert await events_after(page, line, "after") == [CONNECTED, draining, asked, CONNECTED]
    assert await to_thread.run_sync(state, page) == "Connected"


def test_each_try_may_wait_twice_as_long_as_the_one_before(start_server: StartServer, page: Page) -> None:
    server = start_server()
    connect(page, server)
    page.evaluate("Math.random = () => 1")
    note_each_countdown(page)
    server.kill()
    waits = [f"next try in {wait} s" for wait in ("0.5", "1.0", "2.0")]
    page.wait_for(f"seen.includes({json.dumps(waits[-1])})")
    seen = page.evaluate("seen")
    assert sorted(waits, key=seen.index) == waits
    page.click("#retry")
    page.wait_for_text("#timer", "next try in 4.0 s")


def test_a_full_server_is_told_from_one_that_is_gone(start_server: StartServer, new_page: NewPage) -> None:
    server = start_server("--max-connections", "1")
    first, second = new_page(), new_page()
    connect(first, server, "bob")
    second.open(f"{server.url}/?id=eve")
    second.wait_for_text(
        "#detail", "the server refused the connection: the server has all the clients it can"
    )
    assert second.evaluate("document.querySelector('#access').hidden")
    first.click("#toggle")
    wait_for_state(first, "Not connected")
    second.click("#retry")
    wait_for_state(second, "Connected")


def test_a_page_that_is_refused_takes_a_token_and_keeps_it_to_itself(
    start_server: StartServer, page: Page, tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    server = start_server(*issuer.flags)
    hidden = "document.querySelector('#access').hidden"
    page.open(f"{server.url}/?id=bob")
    page.wait_for_text("#detail", "the server refused the connection: 401")
    page.wait_for(f"!{hidden}")
    token = issuer.token("bob", ttl=3600)
    page.evaluate("Math.random = () => 1")
    page.click("#token")
    page.type(token)
    page.press("Enter")
    wait_for_state(page, "Connected")
    assert page.evaluate(hidden)
    assert page.evaluate(FOCUSED) == "text"
    assert not [url for url in page.requests if token in url]
    assert page.evaluate("JSON.stringify([{ ...localStorage }, { ...sessionStorage }])").count("ey") == 0
    assert token not in page.evaluate("document.documentElement.outerHTML")


def test_a_tab_replaced_by_another_stays_away(server: ServerProcess, new_page: NewPage) -> None:
    older, newer = new_page(), new_page()
    connect(older, server)
    connect(newer, server)
    wait_for_state(older, "Closed")
    assert "4501, replaced by another tab" in older.text("#detail")
    assert older.text("#toggle") == "Connect"
    assert older.text("#timer") == ""
    assert len([url for url in older.requests if url.startswith("ws")]) == 1
    assert state(newer) == "Connected"


def test_the_keyboard_is_enough(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    page.press("Tab")
    assert page.evaluate(FOCUSED) == "clientId"
    page.press("Tab")
    assert page.evaluate(FOCUSED) == "topics"
    page.press("Tab")
    page.press("Enter")
    wait_for_state(page, "Not connected")
    page.press("Enter")
    wait_for_state(page, "Connected")
    page.evaluate("document.querySelector('#clientId').focus()")
    for focused in ("topics", "toggle", "log", "to", "text"):
        page.press("Tab")
        assert page.evaluate(FOCUSED) == focused
        outline = page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth)")
        assert outline >= 2
    page.type("typed")
    page.press("Enter")
    page.wait_for_text("#log .own", "typed")


def test_a_reader_of_screens_is_told(server: ServerProcess, page: Page) -> None:
    page.open(server.url)
    assert page.evaluate("document.querySelector('#log').getAttribute('role')") == "log"
    assert page.evaluate("document.querySelector('#name').closest('[aria-live=polite]') !== null")
    # A countdown that is read out each second would drown everything else.
    assert page.evaluate("document.querySelector('#timer').closest('[aria-live=polite]')") is None
    unlabelled = "[...document.querySelectorAll('input')].filter((e) => !e.labels.length).length"
    assert page.evaluate(unlabelled) == 0


def test_it_fits_a_phone(start_server: StartServer, page: Page) -> None:
    server = start_server()
    page.resize(360, 640, scale=2, mobile=True)
    connect(page, server, "b" * 128)
    broadcast(server, "x" * 500)
    broadcast(server, "direct " + "y" * 500, to=["b" * 128])
    page.wait_for_text("#log .direct", "yyy")
    start_drain(server, 600)
    wait_for_state(page, "Draining")
    assert page.evaluate("innerWidth") == 360
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert page.evaluate("document.querySelector('#log').scrollWidth <= innerWidth")
    overflow = "(({scrollHeight, clientHeight}) => scrollHeight - clientHeight)"
    assert page.evaluate(f"{overflow}(document.querySelector('#state'))") == 0
    small = page.evaluate(
        "[...document.querySelectorAll('button, input')].filter((e) => e.checkVisibility())"
        ".map((e) => [e.id, e.getBoundingClientRect()])"
        ".filter(([, box]) => box.height < 44 || box.width < 44).map(([id]) => id)"
    )
    assert small == []


def test_it_follows_light_and_dark(server: ServerProcess, page: Page) -> None:
    page.open(server.url)
    colours = {}
    for scheme in ("light", "dark"):
        page.prefer("prefers-color-scheme", scheme)
        colours[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
    brightness = {k: sum(map(int, v.strip("rgb()").split(","))) for k, v in colours.items()}
    assert brightness["light"] > 600
    assert brightness["dark"] < 150


INKS = ["text", "muted", "accent", "on-accent", "ok", "warn", "bad"]
PAPERS = ["ground", "surface", "own"]
COLOURS = f"""Object.fromEntries({json.dumps(INKS + PAPERS)}.map((name) => {{
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.color = `var(--${{name}})`;
  return [name, getComputedStyle(probe).color];
}}))"""


def test_text_has_the_contrast_of_wcag_aa(server: ServerProcess, page: Page) -> None:
    page.open(server.url)
    pairs = [(ink, paper) for ink in ("text", "muted", "accent") for paper in PAPERS]
    pairs += [(ink, "surface") for ink in ("ok", "warn", "bad")] + [
        ("bad", "ground"),
        ("on-accent", "accent"),
    ]
    for scheme in ("light", "dark"):
        page.prefer("prefers-color-scheme", scheme)
        light = {name: luminance(colour) for name, colour in page.evaluate(COLOURS).items()}
        assert [(scheme, *pair) for pair in pairs if contrast(light[pair[0]], light[pair[1]]) < 4.5] == []


def luminance(colour: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG 2 defines it."""
    channels = [int(part) / 255 for part in colour.strip("rgb()").split(",")]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(share * c for share, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: float, other: float) -> float:
    """The contrast ratio of two luminances, as WCAG 2 defines it."""
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_it_complains_of_nothing_and_asks_nobody_else(start_server: StartServer, page: Page) -> None:
    server = start_server("--broadcast-interval", "0.1")
    connect(page, server)
    page.click("#text")
    page.type("hello")
    page.press("Enter")
    page.wait_for_text("#log .own", "hello")
    page.wait_for_text("#beat", "Heartbeat")
    start_drain(server, 600)
    wait_for_state(page, "Draining")
    assert page.errors == []
    assert {urlsplit(url).netloc for url in page.requests} == {urlsplit(server.url).netloc}
    assert [urlsplit(url).path for url in page.requests] == ["/", "/wsctl.js", "/ws/bob"]


def test_the_policy_forbids_what_the_page_does_not_do(server: ServerProcess, page: Page) -> None:
    page.open(server.url)
    refused = page.evaluate(
        "new Promise((done) => { document.addEventListener('securitypolicyviolation',"
        " (event) => done(event.effectiveDirective), { once: true });"
        " try { document.body.innerHTML = '<b>markup</b>'; } catch { /* reported as an event */ } })"
    )
    assert refused == "require-trusted-types-for"
    assert page.errors


def test_motion_stops_for_those_who_ask(server: ServerProcess, page: Page) -> None:
    connect(page, server)
    page.evaluate("document.querySelector('#state').dataset.state = 'connecting'")
    animation = "getComputedStyle(document.querySelector('#name'), '::before').animationName"
    page.prefer("prefers-reduced-motion", "no-preference")
    assert page.evaluate(animation) == "pulse"
    page.prefer("prefers-reduced-motion", "reduce")
    assert page.evaluate(animation) == "none"


def test_what_a_test_does_in_a_tab_is_not_there_in_the_next(server: ServerProcess, browser: Browser) -> None:
    found = """[Boolean(window.left), innerWidth, matchMedia('(prefers-color-scheme: dark)').matches,
      sessionStorage.length, localStorage.length, document.cookie]"""
    seen = []
    for _ in range(2):
        with browser.tabs() as new_tab:
            page = new_tab()
            assert (page.errors, page.requests) == ([], [])
            page.open(server.url)
            seen.append(page.evaluate(found))
            page.command("Page.addScriptToEvaluateOnNewDocument", source="window.left = 1")
            page.resize(360, 640, scale=2, mobile=True)
            page.prefer("prefers-color-scheme", "dark")
            connect(page, server, "the-tab-before")
            page.evaluate("console.error('left'), localStorage.left = document.cookie = 'left=1'")
            assert page.errors
            assert page.evaluate(found) != seen[0]
        server.wait_for_line("disconnected client_id=the-tab-before")
    assert seen[1] == seen[0]
