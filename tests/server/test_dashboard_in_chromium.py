"""The dashboard as people meet it: a real browser, a real server."""

import json
from urllib.parse import urlsplit

import pytest
from websockets.sync.client import connect

from tests.conftest import NewPage, StartServer
from tests.support.browser import Page
from tests.support.server import ServerProcess

pytestmark = pytest.mark.browser

FOCUSED = "document.activeElement.id"


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
    assert page.text("#progress").startswith("left1 of 1")
    assert server.wait() == 0


def test_it_goes_on_in_a_successor(start_server: StartServer, page: Page) -> None:
    server = start_server()
    page.open(link_to(server))
    wait_for_phase(page, "Serving")
    page.click("#upgrade")
    page.click("#yes")
    page.wait_for_text("#server", "generation2")
    wait_for_phase(page, "Serving")
    page.click("#drain")
    page.click("#yes")
    wait_for_phase(page, "Drained")


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
