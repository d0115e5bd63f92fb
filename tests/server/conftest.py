"""A browser, for the tests of what is served to one, and servers without sockets that listen."""

import os
from collections.abc import Callable, Iterator

import pytest

from tests.support.browser import NAMES, Browser, Page, find_browser, running_browser
from tests.support.wires import MakeServer, servers

NewPage = Callable[[], Page]


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        reason = f"no browser: none of {', '.join(NAMES)} is on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running_browser(path) as running:
        yield running


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Tabs of one person's browser."""
    profile = browser.new_profile()
    yield lambda: browser.new_page(profile)
    browser.command("Target.disposeBrowserContext", {"browserContextId": profile})


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()


@pytest.fixture
def make_server() -> Iterator[MakeServer]:
    with servers() as make:
        yield make
