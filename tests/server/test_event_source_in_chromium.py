"""EventSource, which reconnects and resumes by itself: a real browser, real servers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support.browser import Page
from tests.support.generations import Generations
from tests.support.server import ServerProcess

pytestmark = pytest.mark.browser

LISTEN = """
window.welcomes = []; window.got = []; window.closes = []; window.errors = 0;
window.note = () => document.body.append(".");  // what waits looks when the document changes
window.source = new EventSource(%s);
source.addEventListener("welcome", (event) => { welcomes.push(JSON.parse(event.data)); note(); });
source.addEventListener("message", (event) => { got.push(JSON.parse(event.data).data); note(); });
source.addEventListener("close", (event) => { closes.push(JSON.parse(event.data).code); note(); });
source.onerror = () => { errors++; note(); };
"""


def listen(page: Page, url: str, origin: str) -> None:
    """Open a stream from a page of an origin."""
    page.open(f"{origin}/health/live")
    page.evaluate(LISTEN % json.dumps(url))
    page.wait_for("welcomes.length === 1")


def publish(server: ServerProcess | Generations, data: object) -> None:
    status, answer = server.api("POST", "/api/broadcast", {"data": data})
    assert status == 200, answer


@pytest.fixture
def generations(start_server: StartServer) -> Iterator[Generations]:
    """A server that can hand over; none of its processes is left at the end."""
    server = Generations(start_server("--broadcast-interval", "0"))
    yield server
    server.kill()


def test_over_an_upgrade_there_is_no_reconnect_at_all(generations: Generations, page: Page) -> None:
    url = generations.first.url
    listen(page, f"{url}/events/bob", url)
    publish(generations, 1)
    outcome = generations.upgrade()
    assert (outcome["state"], outcome["moved"]) == ("done", 1), outcome
    publish(generations, 2)
    page.wait_for("got.length === 2")
    assert page.evaluate("[got, welcomes.length, errors]") == [[1, 2], 1, 0]


def test_over_a_restart_it_resumes_by_itself(start_server: StartServer, page: Page, tmp_path: Path) -> None:
    flags = ("--broadcast-interval", "0", "--journal", str(tmp_path / "journal"), "--shutdown-timeout", "0.1")
    server = start_server(*flags)
    listen(page, f"{server.url}/events/bob", server.url)
    publish(server, 1)
    page.wait_for("got.length === 1")
    server.stop()
    again = start_server(*flags, "--port", str(server.port))
    publish(again, 2)
    page.wait_for("welcomes.length === 2")
    publish(again, 3)
    page.wait_for("got.length === 3")
    assert page.evaluate("[got, closes, welcomes[1].recovered]") == [[1, 2, 3], [1012], True]


def test_one_that_was_replaced_stays_away(start_server: StartServer, page: Page) -> None:
    server = start_server("--broadcast-interval", "0")
    listen(page, f"{server.url}/events/bob", server.url)
    page.evaluate("window.other = new EventSource('/events/bob')")
    page.wait_for("source.readyState === EventSource.CLOSED")
    assert page.evaluate("[closes, welcomes.length, other.readyState]") == [[4501], 1, 1]


def test_a_page_of_an_allowed_origin_reads_and_one_of_another_does_not(
    start_server: StartServer, page: Page
) -> None:
    home, other = (start_server("--broadcast-interval", "0") for _ in range(2))
    server = start_server("--broadcast-interval", "0", "--allow-origin", home.url)
    listen(page, f"{server.url}/events/bob", home.url)
    page.evaluate(
        f"fetch('{server.url}/publish?id=bob', {{method: 'POST', body: 'hello',"
        " headers: {'Content-Type': 'text/plain'}})"
        ".then((answer) => answer.json()).then((answer) => { window.receipt = answer; note(); })"
    )
    page.wait_for("got.length === 1 && window.receipt")
    assert page.evaluate("got") == ["hello"]
    page.open(f"{other.url}/health/live")
    page.evaluate(LISTEN % json.dumps(f"{server.url}/events/eve"))
    page.wait_for("source.readyState === EventSource.CLOSED")
    assert page.evaluate("welcomes.length") == 0
