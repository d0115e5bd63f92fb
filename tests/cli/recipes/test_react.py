"""The hook for React, as printed: built with a bundler, run under StrictMode in a real browser."""

from pathlib import Path

import pytest
from anyio import to_thread

from tests.conftest import StartServer, StartStore
from tests.support.browser import Page
from tests.support.bundle import build, install
from tests.support.cluster import publish, wait_for
from tests.support.examples import printed
from tests.support.relay import Relay
from tests.support.server import ServerProcess

pytestmark = [pytest.mark.anyio, pytest.mark.browser]

APP = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import App from "./App.jsx";
createRoot(document.getElementById("root")).render(<StrictMode><App /></StrictMode>);
"""

HOOK = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { useWsctl } from "./App.jsx";

function Client({ name }) {
  const { status, messages, send } = useWsctl(`SERVER/ws/${name}`, { keep: 2, onFrame: () => {} });
  window.sends = (window.sends ?? new Set()).add(send);
  (window.renders ??= []).push(`${name} ${status} ${messages.length}`);
  return <p>{name} {status} {messages.map(({ data }) => data).join()}</p>;
}

const root = createRoot(document.getElementById("root"));
window.render = (name) => root.render(<StrictMode>{name && <Client name={name} />}</StrictMode>);
window.render("ann");
"""

ITEMS = "[...document.querySelectorAll('li')].map((item) => item.textContent)"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where React and a bundler are installed."""
    made = tmp_path_factory.mktemp("react")
    install(made)
    return made


def connections(page: Page) -> int:
    return sum(url.startswith("ws") for url in page.requests)


def clients(server: ServerProcess) -> list[str]:
    return [client["client_id"] for client in server.status()["clients"]]


async def seen(page: Page, selector: str, part: str) -> None:
    await to_thread.run_sync(page.wait_for_text, selector, part)


async def test_nothing_is_lost_or_doubled_when_another_server_takes_over(
    start_server: StartServer, start_store: StartStore, folder: Path, page: Page
) -> None:
    shared = ("--redis", start_store().url, "--reconnect-window", "0.1", "--allow-origin", "*")
    server, successor = start_server(*shared), start_server(*shared)
    async with Relay(server.port).running() as road:
        url = build(folder, printed("react", road.url), APP)
        await to_thread.run_sync(page.open, url)
        await seen(page, "[role=status]", "open")
        assert connections(page) == 1
        publish(server, "one")
        await seen(page, "ul", "one")
        road.lead_to(successor.port)
        server.signal()
        assert await to_thread.run_sync(server.wait) == 0
        publish(successor, "two")
        await seen(page, "ul", "two")
        await to_thread.run_sync(page.click, "input")
        await to_thread.run_sync(page.type, "it's me")
        await to_thread.run_sync(page.press, "Enter")
        await seen(page, "ul", ": it's me")
        items = await to_thread.run_sync(page.evaluate, ITEMS)
    assert items[:2] == ["server: one", "server: two"]
    assert len(items) == 3
    assert connections(page) == 2
    assert page.errors == []


async def test_a_road_that_stops_without_a_word_loses_nothing(
    start_server: StartServer, folder: Path, page: Page
) -> None:
    server = start_server("--allow-origin", "*", "--broadcast-interval", "0")
    async with Relay(server.port).running() as road:
        app = printed("react", road.url)
        assert "KEEPALIVE = 10" in app
        url = build(folder, app.replace("KEEPALIVE = 10", "KEEPALIVE = 1"), APP)
        await to_thread.run_sync(page.open, url)
        await seen(page, "[role=status]", "open")
        road.freeze()
        publish(server, "one")
        await seen(page, "ul", "one")
        items = await to_thread.run_sync(page.evaluate, ITEMS)
    assert items == ["server: one"]
    assert connections(page) == 2


def test_another_url_is_another_connection_and_no_component_is_none(
    start_server: StartServer, folder: Path, page: Page
) -> None:
    server = start_server("--allow-origin", "*")
    page.open(build(folder, printed("react", server.url), HOOK.replace("SERVER", server.url)))
    page.wait_for_text("p", "ann open")
    for data in ("one", "two", "three"):
        publish(server, data)
    page.wait_for_text("p", "ann open two,three")
    page.evaluate("render('bob')")
    page.wait_for_text("p", "bob open")
    assert page.evaluate("renders.find((render) => render.startsWith('bob'))") == "bob connecting 0"
    wait_for(server, lambda facts: facts["connections"] == 1)
    assert clients(server) == ["bob"]
    page.evaluate("render('bob')")
    assert page.evaluate("sends.size") == 1
    page.evaluate("render('')")
    wait_for(server, lambda facts: facts["connections"] == 0)
    server.wait_for_line(r"disconnected client_id=bob .*code=1000")
    assert connections(page) == 2
    assert page.errors == []
