"""The example for browsers, as printed, in a real one: a page of another origin than the server's."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from anyio import to_thread

from tests.conftest import NewPage, StartServer
from tests.support.browser import Page
from tests.support.cluster import publish
from tests.support.examples import printed
from tests.support.relay import Relay
from tests.support.switchboard import Switchboard

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

LINES = "[...document.querySelectorAll('#log p')].map((line) => line.textContent)"


def elsewhere(url: str, token: str = "undefined") -> AbstractAsyncContextManager[Switchboard]:
    """A file server with the page for the server at `url`; `token` is JavaScript."""
    text = printed("browser", url).replace("TOKEN = undefined", f"TOKEN = {token}")
    return Switchboard(text.encode()).running()


async def seen(page: Page, selector: str, part: str) -> None:
    await to_thread.run_sync(page.wait_for_text, selector, part)


async def shown(page: Page) -> list[str]:
    lines: list[str] = await to_thread.run_sync(page.evaluate, LINES)
    return [line for line in lines if not line.startswith("Load anew here")]


async def test_it_shows_what_is_said_and_sends_what_is_typed(start_server: StartServer, page: Page) -> None:
    server = start_server("--allow-origin", "*")
    async with elsewhere(server.url) as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", "connected as browser-")
        publish(server, "<b>hello</b>")
        publish(server, {"n": 1})
        await seen(page, "#log", '{"n":1}')
        assert await shown(page) == ["server: <b>hello</b>", 'server: {"n":1}']
        await to_thread.run_sync(page.click, "#text")
        await to_thread.run_sync(page.type, "it's me")
        await to_thread.run_sync(page.press, "Enter")
        await seen(page, "#log", ": it's me")
        assert await to_thread.run_sync(page.evaluate, "document.getElementById('text').value") == ""
    assert page.errors == []


async def test_a_cut_loses_nothing_and_doubles_nothing(start_server: StartServer, page: Page) -> None:
    server = start_server("--allow-origin", "*", "--broadcast-interval", "0")
    async with Relay(server.port).running() as road, elsewhere(road.url) as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", "connected as browser-")
        publish(server, "one")
        await seen(page, "#log", "one")
        road.cut()
        publish(server, "two")
        road.mend()
        await seen(page, "#log", "two")
        publish(server, "three")
        await seen(page, "#log", "three")
    assert await shown(page) == ["server: one", "server: two", "server: three"]


async def test_a_road_that_stops_without_a_word_loses_nothing(start_server: StartServer, page: Page) -> None:
    server = start_server("--allow-origin", "*", "--broadcast-interval", "0")
    quick = "setInterval = ((real) => (act, ms) => real(act, ms / 5))(setInterval)"
    page.command("Page.addScriptToEvaluateOnNewDocument", source=quick)
    async with Relay(server.port).running() as road, elsewhere(road.url) as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", "connected as browser-")
        road.freeze()
        publish(server, "one")
        await seen(page, "#log", "one")
    assert await shown(page) == ["server: one"]


async def test_a_close_without_a_reason_is_told_by_its_code_alone(page: Page) -> None:
    nowhere = "http://127.0.0.1:1"
    text = printed("browser", nowhere).replace(f'"{nowhere}"', "location.origin")
    async with Switchboard(text.encode()).running() as fake:
        fake.full = True
        await to_thread.run_sync(page.open, fake.url)
        await seen(page, "#state", "not connected (1006 refused with 503), trying again")
        fake.full = False
        line = await fake.line()
        await line.welcome()
        await seen(page, "#state", "connected as browser-")
        await line.close(4000, "")
        await seen(page, "#state", "not connected (4000), trying again")
        line = await fake.line()
        await line.welcome()
        await seen(page, "#state", "connected as browser-")
        await line.close(4000, "because")
        await seen(page, "#state", "not connected (4000 because), trying again")


async def test_a_page_that_is_refused_says_what_the_server_lacks(
    start_server: StartServer, page: Page
) -> None:
    server = start_server()
    async with elsewhere(server.url) as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", f"--allow-origin {files.url}?")


async def test_a_page_from_a_disk_is_let_in_as_it_says(
    start_server: StartServer, new_page: NewPage, tmp_path: Path
) -> None:
    file = tmp_path / "page.html"
    for allowed, state in (
        ("https://app.example", "--allow-origin null?"),
        ("null", "connected as browser-"),
    ):
        server = start_server("--allow-origin", allowed)
        await to_thread.run_sync(file.write_text, printed("browser", server.url))
        page = await to_thread.run_sync(new_page)
        await to_thread.run_sync(page.open, file.as_uri())
        await seen(page, "#state", state)


async def test_without_a_server_it_says_so(page: Page) -> None:
    async with Relay(1).running() as road:
        nowhere = road.url
    async with elsewhere(nowhere) as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", f"There is no server at {nowhere}")


async def test_it_shows_its_token(start_server: StartServer, page: Page) -> None:
    server = start_server("--auth", "token", "--allow-origin", "*", env={"WSCTL_CLIENT_TOKEN": "sesame"})
    async with elsewhere(server.url, '"sesame"') as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", "connected as browser-")


async def test_topics_are_subscribed_to_and_named(page: Page) -> None:
    async with Switchboard().running() as fake:
        fake.page = printed("browser", fake.url).replace("TOPICS = []", 'TOPICS = ["a.>"]').encode()
        await to_thread.run_sync(page.open, fake.url)
        line = await fake.line()
        assert (line.offered, "topic=a.%3E" in line.path) == ("wsctl.2, wsctl", True)
        await line.welcome()
        await line.message("2-0", "news", topic="a.b")
        await seen(page, "#log", "eve on a.b: news")
        await line.close(1012)
        line = await fake.line()
        await line.welcome("9-0", recovered=False, lost=["a.b"])
        await seen(page, "#log", "some of a.b may have been missed")
    assert page.errors == []
