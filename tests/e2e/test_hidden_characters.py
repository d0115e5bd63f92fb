"""What others wrote neither controls a terminal nor turns the writing direction, in any client of ours."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from anyio import to_thread

import wsctl.server.page
from tests.support.browser import Page
from tests.support.bundle import build, install
from tests.support.examples import PROGRAMS, printed, running
from tests.support.hidden import among, hidden, hidden_in_pages, seen_in
from tests.support.server import WSCTL
from tests.support.switchboard import Line, Switchboard

pytestmark = pytest.mark.anyio

APP = """
import { createRoot } from "react-dom/client";
import App from "./App.jsx";
createRoot(document.getElementById("root")).render(<App />);
"""

REASON = "begin<\x1b|\x9b|\u202e|\u2028|\u2066|\ufeff|\U000e0001>end"
"""A close frame has room for few."""


@pytest.fixture
async def fake() -> AsyncIterator[Switchboard]:
    async with Switchboard().running() as switchboard:
        yield switchboard


async def speak(line: Line, text: str) -> None:
    """All frames in which somebody else's words can be."""
    await line.welcome()
    await line.message("1-1", text)
    await line.message("1-2", {text: [text]})
    await line.send("error", code="rate_limited", message=text)
    await line.send("shutdown", deadline_s=60.0, reason=text)
    await line.message("1-3", "over and out")


def _client(folder: Path, url: str) -> list[str]:
    return [*WSCTL, "client", "--url", url, "--id", "bob"]


TERMINALS: dict[str, Callable[[Path, str], list[str]]] = PROGRAMS | {"wsctl": _client}


@pytest.mark.parametrize("kind", TERMINALS)
async def test_a_terminal_is_shown_none_raw(fake: Switchboard, tmp_path: Path, kind: str) -> None:
    with running(*TERMINALS[kind](tmp_path, fake.url)) as client:
        line = await fake.line()
        await speak(line, among(hidden()))
        await to_thread.run_sync(client.wait_for, "over and out")
        await line.close(4000, REASON)
        await fake.line()
        await to_thread.run_sync(client.wait_for, "4000 begin")
    whole = [shown for shown in client.lines if "begin<" in shown and ">end" in shown]
    assert len(whole) >= 4
    assert seen_in("".join(client.lines), hidden()) == []


def of_the_server() -> str:
    return Path(wsctl.server.page.__file__).with_name("index.html").read_text(encoding="utf-8")


def of_generate() -> str:
    """The example, which finds its server where it came from."""
    nowhere = "http://127.0.0.1:1"
    return printed("browser", nowhere).replace(f'"{nowhere}"', "location.origin")


@pytest.mark.browser
@pytest.mark.parametrize("made", [of_the_server, of_generate])
async def test_a_page_shows_none_raw(page: Page, made: Callable[[], str]) -> None:
    async with Switchboard(made().encode()).running() as fake:
        await shows_none(page, fake, fake.url)


@pytest.mark.browser
async def test_a_component_shows_none_raw(fake: Switchboard, page: Page, tmp_path: Path) -> None:
    await to_thread.run_sync(install, tmp_path)
    url = await to_thread.run_sync(build, tmp_path, printed("react", fake.url), APP)
    await shows_none(page, fake, url)


async def shows_none(page: Page, fake: Switchboard, url: str) -> None:
    await to_thread.run_sync(page.open, url)
    line = await fake.line()
    await speak(line, among(hidden_in_pages()))
    await to_thread.run_sync(page.wait_for_text, "body", "over and out")
    shown = await to_thread.run_sync(page.text, "body")
    assert shown.count("begin<") >= 3
    await line.close(4000, REASON)
    await to_thread.run_sync(page.wait_for_text, "body", "4000")
    shown += await to_thread.run_sync(page.text, "body")
    assert seen_in(shown, hidden_in_pages()) == []
