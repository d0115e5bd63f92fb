"""The example for EventSource, as printed, in a real browser: a page of another origin than the server's."""

from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest
from anyio import to_thread

from tests.conftest import StartServer
from tests.support.browser import Page
from tests.support.cluster import publish
from tests.support.examples import printed
from tests.support.issuer import Issuer
from tests.support.relay import Relay
from tests.support.switchboard import Switchboard

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

LINES = "[...document.querySelectorAll('#log p')].map((line) => line.textContent)"


def elsewhere(
    url: str, token: str = "undefined", topics: str = "[]"
) -> AbstractAsyncContextManager[Switchboard]:
    """A file server with the page for the server at `url`; `token` and `topics` are JavaScript."""
    text = printed("eventsource", url).replace("TOKEN = undefined", f"TOKEN = {token}")
    return Switchboard(text.replace("TOPICS = []", f"TOPICS = {topics}").encode()).running()


async def seen(page: Page, selector: str, part: str) -> None:
    await to_thread.run_sync(page.wait_for_text, selector, part)


async def shown(page: Page) -> list[str]:
    lines: list[str] = await to_thread.run_sync(page.evaluate, LINES)
    return [line for line in lines if not line.startswith("Load anew here")]


EMPTIED = """new Promise((done) => {
  const look = () => { if (document.getElementById("text").value) setTimeout(look, 10); else done(); };
  look();
})"""

NO_CHANCE = "Math.random = () => 0.1"


async def test_it_resumes_over_a_cut_and_publishes_what_is_typed(
    start_server: StartServer, page: Page, tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    flags = (*issuer.flags, "--auth-query", "--allow-origin", "*", "--broadcast-interval", "0")
    server = start_server(*flags)
    page.command("Page.addScriptToEvaluateOnNewDocument", source=NO_CHANCE)
    name = page.evaluate("`browser-${(0.1).toString(36).slice(2, 8)}`")
    token = f"'{issuer.token(name, ttl=3600)}'"
    async with (
        Relay(server.port).running() as road,
        elsewhere(road.url, token, "['quotes.*']") as files,
    ):
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", f"connected as {name}")
        status, answer = server.api("POST", "/api/broadcast", {"data": {"n": 1}, "topic": "quotes.eu"})
        assert status == 200, answer
        await seen(page, "#log", '{"n":1}')
        road.cut()
        publish(server, "<b>two</b>")
        road.mend()
        await seen(page, "#log", "two")
        await to_thread.run_sync(page.click, "#text")
        await to_thread.run_sync(page.type, "it's me")
        await to_thread.run_sync(page.press, "Enter")
        await seen(page, "#log", ": it's me")
        await to_thread.run_sync(page.evaluate, EMPTIED)
    assert await shown(page) == ['server on quotes.eu: {"n":1}', "server: <b>two</b>", f"{name}: it's me"]


async def test_one_that_is_refused_tries_again_and_says_what_the_server_lacks(
    start_server: StartServer, page: Page
) -> None:
    server = start_server()
    async with elsewhere(server.url) as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", f"--allow-origin {files.url}?")


async def test_one_that_is_replaced_stays_away(start_server: StartServer, page: Page) -> None:
    server = start_server("--allow-origin", "*")
    page.command("Page.addScriptToEvaluateOnNewDocument", source=NO_CHANCE)
    async with elsewhere(server.url) as files:
        await to_thread.run_sync(page.open, files.url)
        await seen(page, "#state", "connected as browser-")
        await to_thread.run_sync(
            page.evaluate,
            f"void (globalThis.other = new EventSource('{server.url}/events/'"
            " + document.getElementById('state').textContent.split(' ').at(-1)))",
        )
        await seen(page, "#state", "closed for good: 4501")
