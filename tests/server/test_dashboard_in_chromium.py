"""The dashboard as people meet it: a real browser, a real server."""

import json
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from tests.conftest import NewPage, StartServer
from tests.support.browser import Page
from tests.support.server import ServerProcess
from wsctl.server.workers.parent_home import ALONE

pytestmark = pytest.mark.browser

FOCUSED = "document.activeElement.id"

FED = """
sessionStorage.setItem('wsctl.session', 'any');
window.fetch = async () => new Response(new ReadableStream({ start(stream) {
  window.end = () => stream.close();
  window.feed = (told) => stream.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(told)}\\n\\n`));
} }));
"""
"""Runs before the page, which then gets its events from the test: `show` gives it one."""

NUMBERS = count(1)
"""Of the statuses that tests show: each is another one."""

PHASES_SEEN = """
window.phases = [];
new MutationObserver(() => phases.push(document.querySelector('#phase').textContent))
  .observe(document.querySelector('#phase'), { childList: true });
"""
"""Notes each phase that a person may see."""


def link_to(server: ServerProcess) -> str:
    code, told = server.api("POST", "/api/dashboard")
    assert code == 200, told
    return f"{server.url}/dashboard#{told['link']}"


def wait_for_phase(page: Page, name: str) -> None:
    page.wait_for(f"document.querySelector('#phase').textContent === {json.dumps(name)}")


def tile(page: Page, name: str) -> str:
    """The figure under a name."""
    tiles = "[...document.querySelectorAll('#tiles div')].map((e) => e.children)"
    return str(page.evaluate(f"{tiles}.find((e) => e[0].textContent === {json.dumps(name)})[1].textContent"))


def test_a_link_opens_it_in_one_tab_which_asks_its_own_server_alone(
    server: ServerProcess, new_page: NewPage
) -> None:
    page, other = new_page(), new_page()
    link = link_to(server)
    page.open(link)
    wait_for_phase(page, "Serving")
    assert page.evaluate("location.href") == f"{server.url}/dashboard"
    page.open(f"{server.url}/dashboard")  # as when it is loaded again
    wait_for_phase(page, "Serving")
    other.open(link)
    other.wait_for_text("#why", "This link was used before, or is too old")
    assert other.evaluate("document.querySelector('#main').hidden")
    assert page.errors == []
    assert {urlsplit(address).netloc for address in page.requests} == {urlsplit(server.url).netloc}


def test_the_servers_token_opens_it(start_server: StartServer, page: Page) -> None:
    server = start_server(env={"WSCTL_TOKEN": "secret"})
    page.open(f"{server.url}/dashboard")
    page.wait_for_text("#why", "for operators")
    assert page.evaluate(FOCUSED) == "token"
    page.type("wrong")
    page.press("Enter")
    page.wait_for_text("#why", "Send the server's token")
    page.evaluate("document.querySelector('#token').select()")
    page.type("secret")
    page.press("Enter")
    wait_for_phase(page, "Serving")
    assert "secret" not in page.evaluate("JSON.stringify(sessionStorage)")


def test_it_shows_a_drain_that_it_has_begun_to_the_end(start_server: StartServer, page: Page) -> None:
    server = start_server()
    with connect(f"{server.ws_url}/ws/bob?topic=orders.%3E"):
        page.open(link_to(server))
        page.wait_for_text("#detail", "1 client connected")
        tiles = ("Connections", "WebSockets", "Event streams")
        assert [tile(page, name) for name in tiles] == ["1", "1", "0"]
        assert page.evaluate("document.querySelectorAll('#plots svg').length") == 5
        page.evaluate("document.querySelector('#drain').focus()")
        page.press("Enter")
        assert page.evaluate("document.querySelector('#ask').open")
        page.click("#no")
        assert server.status()["status"] == "serving"
        page.evaluate("document.querySelector('#drain').focus()")
        page.press("Enter")
        page.type("5m")
        page.press("Enter")
        wait_for_phase(page, "Draining")
        page.wait_for_text("#progress", "0 of 1")
        assert 295 < server.status()["drain"]["remaining_s"] <= 300
        page.wait_for_text("#left", "bob")
        page.click("#cancel")
        assert page.evaluate(FOCUSED) == "no"
        page.click("#yes")
        wait_for_phase(page, "Serving")
        page.click("#drain")
        page.click("#yes")
        wait_for_phase(page, "Draining")
        page.wait_for("document.querySelector('#left button')")
        page.evaluate("document.querySelector('#left button').scrollIntoView({ block: 'center' })")
        page.click("#left button")
        assert page.text("#question") == "Disconnect bob?"
        page.click("#yes")
        wait_for_phase(page, "Drained")
    page.wait_for_text("#detail", "The server has ended.")
    assert page.text("#progress").startswith("gone1 of 1")
    assert server.wait() == 0


def test_it_goes_on_in_a_successor(start_server: StartServer, page: Page) -> None:
    server = start_server()
    page.open(link_to(server))
    wait_for_phase(page, "Serving")
    page.evaluate(PHASES_SEEN)
    page.click("#upgrade")
    page.click("#yes")
    page.wait_for_text("#server", "generation2")
    wait_for_phase(page, "Serving")
    page.wait_for_text("#note", "Upgraded: ")
    assert not {"Drained", "Unreachable"} & set(page.evaluate("phases"))
    page.click("#drain")
    page.click("#yes")
    wait_for_phase(page, "Drained")


@pytest.fixture
def fed(server: ServerProcess, page: Page) -> Page:
    """The dashboard with facts that tests give it."""
    page.command("Page.addScriptToEvaluateOnNewDocument", source=FED)
    page.open(f"{server.url}/dashboard")
    page.wait_for("typeof feed === 'function'")
    return page


def show(page: Page, facts: dict[str, Any]) -> None:
    """Let a status arrive, and wait until it is seen."""
    newest = f"{next(NUMBERS)}-0"
    feed(page, {"type": "status", "status": facts | {"newest_id": newest}})
    page.wait_for_text("#server", newest)


def test_a_server_that_takes_no_message_says_which_home_is_away_and_for_how_long(
    server: ServerProcess, fed: Page
) -> None:
    facts = server.status()
    redis = {"url": "redis://there:6379/0", "state": "away", "for_s": 75.0, "why": "refused", "unreadable": 0}
    nodes = [NODE, NODE | {"node": "00000002", "url": None, "host": MARKUP, "this": False}]
    cluster = {"nodes": 2, "connections": 9}
    degraded = "Redis is away: refused"
    show(fed, facts | {"degraded": degraded, "redis": redis, "nodes": nodes, "cluster": cluster})
    assert fed.text("#phase") == "Degraded, serving"
    assert fed.text("#detail") == (
        "No message is taken for 1\xa0min 15\xa0s, and clients stay connected: Redis is away: refused"
    )
    assert "redis://there:6379/0 away for 1\xa0min 15\xa0s: refused" in fed.text("#server")
    assert fed.text("#nodes .more") == "2 servers, 9 clients, as last heard from: Redis is away."
    assert f"{MARKUP}:7" in fed.text("#nodes")
    assert not fed.evaluate("document.querySelectorAll('img').length")
    journal = {"path": "/j.db", "sync": "full", "state": "away", "for_s": 3.0, "why": "full", "waiting": 0}
    show(fed, facts | {"degraded": "the journal /j.db: full", "journal": journal | {"bytes": 1_009_216}})
    assert "/j.db, away for 3\xa0s: full" in fed.text("#server")
    show(fed, facts | {"journal": journal | {"bytes": 1_009_216, "state": "up", "why": None}})
    assert "/j.db, 1.01 MB, sync full, 0 messages to commit" in fed.text("#server")
    assert fed.text("#phase") == "Serving"


NODE = {
    "host": "alpha",
    "pid": 7,
    "url": "http://alpha:8000",
    "version": "0.1.0",
    "generation": 1,
    "phase": "serving",
    "connections": 3,
    "started": 1.0,
    "node": "00000001",
    "this": True,
}

MARKUP = "<img src=x onerror='throw 1'>"


def test_a_worker_or_parent_that_does_not_answer_stands_at_the_top(server: ServerProcess, fed: Page) -> None:
    facts = server.status()
    worker = {"number": 1, "pid": 7, "status": "serving", "connections": 1, "silent": True}
    other = worker | {"number": 2, "pid": 8, "silent": False}
    show(fed, facts | {"workers": [worker, other]})
    assert fed.text("#detail").endswith("Worker 1 (pid 7) does not answer.")
    assert fed.evaluate("document.querySelector('#state').dataset.tone") == "warn"
    show(fed, facts)
    assert "figures of one worker of 2: their parent does not answer" in fed.text("#detail")
    show(fed, facts | {"workers": [worker, other], "degraded": "the journal /j.db: full"})
    assert fed.text("#detail").endswith(
        "stay connected: the journal /j.db: full. Worker 1 (pid 7) does not answer."
    )
    show(fed, facts | {"status": "draining", "degraded": ALONE})
    assert (fed.text("#phase"), fed.text("#detail")) == (
        "Degraded, draining",
        f"No message is taken: {ALONE}",
    )
    show(fed, facts | {"workers": [worker | {"silent": False}, other]})
    assert fed.text("#detail") == "Nobody is connected."


def test_the_end_of_the_parent_is_seen_at_once_in_an_upgrade_too(server: ServerProcess, fed: Page) -> None:
    facts = server.status()
    worker = {"number": 1, "pid": 7, "status": "serving", "connections": 1, "silent": False}
    moving = {"state": "moving", "total": 2, "moved": 1, "staying": 0, "elapsed_s": 1.0, "silence_s": 0.0}
    show(fed, facts | {"workers": [worker], "upgrade": moving | {"successor": 7, "error": None}})
    show(fed, facts | {"status": "draining", "degraded": ALONE})
    assert fed.text("#phase") == "Degraded, draining"


def feed(page: Page, told: dict[str, Any]) -> None:
    """Let an event arrive."""
    page.evaluate(f"feed({json.dumps(told)}) ?? true")


def test_an_upgrade_says_how_far_it_is_and_how_it_ended(server: ServerProcess, fed: Page) -> None:
    facts = server.status() | {"connections": 9}
    moving = {"state": "moving", "successor": 9, "total": 9, "moved": 1, "staying": 0, "elapsed_s": 1.0}
    moving |= {"silence_s": 0.066, "error": None}
    worker = {"number": 1, "pid": 7, "status": "serving", "connections": 4, "silent": False}
    show(fed, facts | {"workers": [worker, worker | {"number": 2}], "upgrade": moving})
    assert fed.text("#progress") == "moved1 of 9elapsed1\xa0s"
    assert fed.evaluate("document.querySelector('#upgrade').disabled")
    # While the parent is renewed a worker tells its own figures.
    topic = {"topic": "t.seen", "subscribers": 1, "messages": 0, "bytes": 0, "newest_id": None}
    feed(fed, {"type": "status", "status": facts | {"connections": 4}})
    feed(fed, {"type": "topics", "topics": [topic], "listed": 1, "more": False})
    fed.wait_for_text("#topics", "t.seen")
    assert fed.text("#tiles dd") == "9"
    assert fed.text("#detail") == "1 of 9 clients have moved into the new process."
    show(fed, facts | {"workers": [worker], "upgrade": moving | {"state": "failed", "error": "exit code 7"}})
    assert fed.text("#note").endswith("The upgrade failed, and the server goes on as before: exit code 7")
    show(fed, facts | {"upgrade": moving | {"state": "done", "moved": 9, "elapsed_s": 2.0}})
    assert fed.text("#note").endswith("Upgraded: 9 moved, nobody stayed behind, longest silence 66 ms.")
    show(fed, facts | {"generation": 2})
    assert fed.text("#note").endswith("longest silence 66 ms.")
    show(fed, facts | {"generation": 3, "pid": 9})
    assert fed.text("#note").endswith("Upgraded: the new process (pid 9) serves.")


def test_the_end_of_a_session_is_not_taken_for_a_server_that_is_away(
    server: ServerProcess, fed: Page
) -> None:
    show(fed, server.status())
    fed.evaluate("(fetch = async () => new Response('{}', { status: 401 })) && end()")
    wait_for_phase(fed, "Session ended")
    assert fed.text("#detail").endswith("; the server was serving then.")
    assert fed.evaluate(FOCUSED) == "token"


def test_a_drain_says_what_its_figures_mean(server: ServerProcess, fed: Page) -> None:
    route = {"kind": "response", "route": f"/{MARKUP}", "connections": 2}
    application = {"websockets": 1, "responses": 2, "routes": [route]}
    drain: dict[str, Any] = dict.fromkeys(("left", "evicted", "forced", "aborted", "undelivered"), 0)
    drain |= {"phase": "lameduck", "reason": "requested", "cancellable": True, "oldest": None, "longest": []}
    drain |= {"started_with": 5, "active": 5, "elapsed_s": 1.0, "remaining_s": 90.0, "eta_s": None}
    drain |= {"waiting_for": 0, "by_policy": 0, "handed_over": 0} | application
    facts = server.status() | {"connections": 5, "capacity": 100, "application": application, "drain": drain}
    show(fed, facts | {"status": "lameduck"})
    assert "ETAunknown until clients are asked to leave" in fed.text("#progress")
    assert fed.text("#progress").endswith("begun byan operator")
    assert fed.text("#tiles div:first-child").endswith("3 of 100 places")
    assert fed.text("#routes td") == f"/{MARKUP}"
    longest = [{"client_id": "ann", "connected_s": 1.0, "waiting_bytes": 12_000}]
    drain |= {"phase": "draining", "reason": "SIGTERM", "cancellable": False, "longest": longest}
    show(fed, facts | {"status": "draining"})
    assert "ETAunknown while nobody leaves" in fed.text("#progress")
    assert fed.text("#progress").endswith("begun bySIGTERM, and cannot be cancelled")
    assert fed.text("#left td.number:nth-child(3)") == "12 kB"
    assert fed.text("#left .more") == "and 1 other"
    drain |= {"eta_s": 42.0, "active": 4}
    show(fed, facts | {"status": "draining"})
    assert "gone1 of 5" in fed.text("#progress")
    assert "ETA42\xa0s" in fed.text("#progress")
    assert not fed.errors


def test_the_arrow_keys_read_a_plot_and_all_fits_a_phone(server: ServerProcess, page: Page) -> None:
    page.resize(360, 800, 2, mobile=True)
    page.open(link_to(server))
    wait_for_phase(page, "Serving")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.wait_for_text("figcaption .at", "now: ")
    page.evaluate("document.querySelector('#plots svg').focus()")
    page.press("ArrowLeft")
    page.wait_for(r"/^\d\d:\d\d:\d\d: \d/.test(document.querySelector('figcaption .at').textContent)")
    assert "Connections, the last 10 minutes" in page.evaluate(
        "document.querySelector('#plots svg').getAttribute('aria-label')"
    )
    page.press("Escape")
    page.wait_for_text("figcaption .at", "now: ")
