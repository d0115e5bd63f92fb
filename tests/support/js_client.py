"""A client in JavaScript, as a test sees it: in Node and in a page of Chromium alike."""

import json
import queue
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from anyio import to_thread

from tests.support import frames
from tests.support.browser import Page
from tests.support.javascript import Node
from tests.support.server import DEADLINE

_START = """
globalThis.ahead = 0;
const elapsed = performance.now.bind(performance);
Object.defineProperty(performance, "now", { value: () => elapsed() + ahead, configurable: true });

globalThis.made = [];

globalThis.start = (url, options) => {
  const happened = [];
  const wanted = [];
  const take = ({ type, planned, recovered, reconnected, lost, frame, data, wait, ...more }) => {
    const { state, cursor } = client;
    const facts = { planned, recovered, reconnected, lost, frame, data, wait, ...more };
    const fact = { type, state, cursor, ...facts };
    if (wanted.length) wanted.shift()(fact); else happened.push(fact);
  };
  globalThis.next = () => happened.shift() ?? new Promise((done) => wanted.push(done));
  globalThis.client = new wsctl.Client(url, options);
  made.push(client);
  const frames = ["message", "heartbeat", "keepalive", "shutdown", "error", "joined", "left", "news"];
  for (const type of [...wsctl.STATES, ...frames]) {
    client.addEventListener(type, take);
  }
};
"""


_CLOSE = "globalThis.made?.forEach((client) => client.close())"


class Realm(ABC):
    """Where JavaScript runs, with the module as `wsctl`."""

    @abstractmethod
    def load(self, url: str) -> None:
        """Import the module that the server at `url` serves."""

    @abstractmethod
    def evaluate(self, js: str) -> Any:
        """The value of an expression, awaited if it is a promise."""


class InNode(Realm):
    """`folder` is where the module is saved, as a person would."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._node = node
        self._file = folder / "wsctl.mjs"

    def load(self, url: str) -> None:
        with urlopen(f"{url}/wsctl.js", timeout=DEADLINE) as answer:
            self._file.write_bytes(answer.read())
        self._node.load(self._file)

    def evaluate(self, js: str) -> Any:
        return self._node.evaluate(js)

    def end(self) -> None:
        """Close all clients and put the globals back, for what comes next in this Node."""
        with suppress(queue.Empty):
            self.evaluate(_CLOSE)
        self._node.restore()


class InPage(Realm):
    """A page of the server's own origin."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def load(self, url: str) -> None:
        self._page.open(f"{url}/")
        self.evaluate('import("./wsctl.js").then((module) => { globalThis.wsctl = module; })')

    def evaluate(self, js: str) -> Any:
        return self._page.evaluate(js)


class JsClient:
    """One client in a realm, and what happens to it, in order.

    The realm's clock runs ahead by `ahead` milliseconds.
    """

    def __init__(self, realm: Realm) -> None:
        self._realm = realm

    async def load(self, url: str) -> None:
        """Import the module from a server."""
        await to_thread.run_sync(self._realm.load, url)
        await self.run(f"(() => {{ {_START} }})()")

    async def start(self, url: str, options: str = "{}") -> None:
        """Make the client. `options` is JavaScript."""
        await self.run(f"start({json.dumps(url)}, {options})")

    async def end(self) -> None:
        """Close all clients of the realm: none comes to a server that is about to end."""
        with suppress(queue.Empty, TimeoutError):
            await self.run(_CLOSE)

    async def run(self, js: str) -> Any:
        """The value of an expression; `client` is the client."""
        return await to_thread.run_sync(self._realm.evaluate, js)

    async def next(self) -> dict[str, Any]:
        """The next event, waited for."""
        event = await self.anything()
        if event.get("frame") is not None:
            frames.checked(event["frame"])
        return event

    async def anything(self) -> dict[str, Any]:
        """The next event, waited for, of whatever frame: a later server may send others."""
        event: dict[str, Any] = await self.run("next()")
        return event

    async def until(self, kind: str) -> dict[str, Any]:
        """The next event of a type; what comes before it is skipped."""
        while True:
            event = await self.next()
            if event["type"] == kind:
                return event
