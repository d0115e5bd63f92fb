"""Headless Chromium, driven by the DevTools protocol: what a person with a browser sees and does."""

import base64
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from tests.support.server import DEADLINE

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""The first is the same engine without windows, menus and extensions: it takes half of the CPU."""

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # A document ends with all it has open when its tab goes elsewhere.
    "--disable-back-forward-cache",
    "--remote-debugging-port=0",
)

KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Escape": (27, ""), "ArrowLeft": (37, "")}
"""Windows key code and text of the keys that tests press."""

_WATCH = """new Promise((resolve) => {
  const check = () => { if (%s) { watcher.disconnect(); resolve(true); } };
  const watcher = new MutationObserver(check);
  watcher.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
  check();
})"""


def find_browser() -> str | None:
    """The path of a Chromium on this machine."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab, with everything it asked the network for and complained about.

    Attributes:
        errors: uncaught exceptions, console errors, and refusals of the content security policy.
        requests: addresses, WebSockets too; `data:` addresses are no requests.
    """

    def __init__(self, browser: "Browser", target: str, session: str) -> None:
        self.target = target
        self.session = session
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._browser = browser
        self._blank = threading.Event()

    def enable(self) -> None:
        """Be told of events from now on."""
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.command(f"{domain}.enable")
        # A tab behind another one draws nothing unless it believes it has the focus.
        self.command("Emulation.setFocusEmulationEnabled", enabled=True)

    def command(self, method: str, **params: Any) -> dict[str, Any]:
        """One DevTools command, and its answer."""
        return self._browser.command(method, params, self.session)

    def leave(self) -> None:
        """End the document, and forget what it has stored and complained about.

        It leaves by itself, since a document that it goes to stays in its process: a new process is what
        costs most of a new tab. Its blank one is of the same origin.

        Raises:
            TimeoutError: it did not end in time.
        """
        self._blank.clear()
        self.command("Runtime.evaluate", expression="location.replace('about:blank')")
        if not self._blank.wait(DEADLINE):
            raise TimeoutError("the document does not end")
        forget = "try { sessionStorage.clear(); localStorage.clear(); } catch { /* it has none */ }"
        self.command("Runtime.evaluate", expression=forget)
        self.command("Network.clearBrowserCookies")
        self.command("Log.clear")
        self.command("Runtime.discardConsoleEntries")

    def open(self, url: str) -> None:
        """Navigate, and wait until the page and its scripts are loaded."""
        assert not self.command("Page.navigate", url=url).get("errorText"), url
        loaded = "document.readyState === 'complete' ? done() : addEventListener('load', done)"
        self.evaluate(f"new Promise((done) => {{ {loaded}; }}).then(() => true)")

    def evaluate(self, js: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        answer = self.command("Runtime.evaluate", expression=js, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in answer, f"{js}: {answer['exceptionDetails']}"
        return answer["result"].get("value")

    def wait_for(self, js: str) -> None:
        """Wait until the expression is true; it is looked at whenever the document changes."""
        try:
            self.evaluate(_WATCH % js)
        except TimeoutError:
            seen = self.evaluate("document.body.innerText")
            raise AssertionError(f"never true: {js}\n{seen}\n{self.errors}") from None

    def text(self, selector: str) -> str:
        """The text of the first element that matches."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)}).textContent"))

    def wait_for_text(self, selector: str, part: str) -> None:
        """Wait until an element that matches has this in its text."""
        elements = f"[...document.querySelectorAll({json.dumps(selector)})]"
        self.wait_for(f"{elements}.some((e) => e.textContent.includes({json.dumps(part)}))")

    def click(self, selector: str) -> None:
        """A mouse click in the middle of an element."""
        box = self.evaluate(
            f"(({{x, y, width, height}}) => [x + width / 2, y + height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.command(
                "Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1
            )

    def press(self, key: str) -> None:
        """A key, pressed and released, on whatever has the focus."""
        code, text = KEYS[key]
        facts = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **facts)
        self.command("Input.dispatchKeyEvent", type="keyUp", **facts)

    def type(self, text: str) -> None:
        """Text, into whatever has the focus."""
        self.command("Input.insertText", text=text)

    def resize(self, width: int, height: int, scale: float = 1, mobile: bool = False) -> None:
        """The viewport in CSS pixels."""
        self.command(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=scale,
            mobile=mobile,
        )

    def prefer(self, feature: str, value: str) -> None:
        """A preference of the person, such as `prefers-color-scheme`."""
        self.command("Emulation.setEmulatedMedia", features=[{"name": feature, "value": value}])

    def screenshot(self, path: Path) -> None:
        """What is seen now, as PNG."""
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot")["data"]))

    def take(self, method: str, params: dict[str, Any]) -> None:
        """An event of this tab."""
        match method:
            case "Page.frameNavigated" if params["frame"]["url"] == "about:blank":
                self._blank.set()
            case "Runtime.exceptionThrown":
                self.errors.append(json.dumps(params["exceptionDetails"]))
            case "Runtime.consoleAPICalled" if params["type"] == "error":
                self.errors.append(json.dumps(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] == "error":
                self.errors.append(params["entry"]["text"])
            case "Network.webSocketCreated":
                self.requests.append(params["url"])
            case "Network.requestWillBeSent" if not params["request"]["url"].startswith("data:"):
                self.requests.append(params["request"]["url"])


class Browser:
    """A running Chromium."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)
        self._answers: dict[int, Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        self._profile = ""
        self._kept: str | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @contextmanager
    def tabs(self) -> Iterator[Callable[[], Page]]:
        """Make tabs of one person, who begins anew: nothing is open, stored or emulated.

        The first of them is the same tab each time: see `Page.leave`.
        """
        used: list[Page] = []

        def new() -> Page:
            used.append(self._attached(self._kept if not used and self._kept else self._new_target()))
            return used[-1]

        try:
            yield new
        finally:
            for page in reversed(used):
                self._give_back(page, keep=page is used[0])

    def _new_target(self) -> str:
        if not self._profile:
            self._profile = self.command("Target.createBrowserContext", {})["browserContextId"]
        empty = {"url": "about:blank", "browserContextId": self._profile}
        return str(self.command("Target.createTarget", empty)["targetId"])

    def _attached(self, target: str) -> Page:
        session = self.command("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        self._pages[session] = page = Page(self, target, session)
        page.enable()
        return page

    def _give_back(self, page: Page, keep: bool) -> None:
        """End what is open in it; what was emulated ends with its session."""
        self._kept = None
        try:
            if keep:
                page.leave()
                self.command("Target.detachFromTarget", {"sessionId": page.session})
                self._kept = page.target
        except (RuntimeError, TimeoutError):
            keep = False
        del self._pages[page.session]
        if not keep:
            self.command("Target.closeTarget", {"targetId": page.target})

    def command(self, method: str, params: dict[str, Any], session: str | None = None) -> dict[str, Any]:
        """One DevTools command, and its answer.

        Raises:
            TimeoutError: there was none in time.
        """
        number = next(self._numbers)
        answer = self._answers[number] = Future()
        sent = {"id": number, "method": method, "params": params}
        self._connection.send(json.dumps(sent | ({"sessionId": session} if session else {})))
        return answer.result(DEADLINE)

    def close(self) -> None:
        """End the browser in its own way."""
        with suppress(ConnectionError, ConnectionClosed, TimeoutError):
            self.command("Browser.close", {})
        self._connection.close()
        self._reader.join(DEADLINE)

    def _read(self) -> None:
        try:
            with suppress(ConnectionClosed):
                for text in self._connection:
                    self._take(json.loads(text))
        finally:
            for answer in list(self._answers.values()):
                answer.set_exception(ConnectionError("the browser is gone"))

    def _take(self, frame: dict[str, Any]) -> None:
        if "id" not in frame:
            if page := self._pages.get(frame.get("sessionId", "")):
                page.take(frame["method"], frame["params"])
            return
        answer = self._answers.pop(frame["id"])
        if "error" in frame:
            answer.set_exception(RuntimeError(frame["error"]["message"]))
        else:
            answer.set_result(frame["result"])


@contextmanager
def running_browser(path: str) -> Iterator[Browser]:
    """A Chromium with a profile that nobody has used, ended afterwards with all its processes."""
    with tempfile.TemporaryDirectory(prefix="chromium", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [path, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            address = _address(process, Path(profile, "DevToolsActivePort"))
            # No pings: their thread draws random numbers beside the tests of this process, which hypothesis
            # takes for theirs.
            with connect(
                address, max_size=None, proxy=None, compression=None, ping_interval=None
            ) as connection:
                browser = Browser(connection)
                try:
                    yield browser
                finally:
                    browser.close()
        finally:
            _end(process)


def _address(process: "subprocess.Popen[bytes]", file: Path) -> str:
    """Where the browser takes commands: it writes port and path into a file of its profile."""
    until = time.monotonic() + DEADLINE
    while time.monotonic() < until and process.poll() is None:
        lines = file.read_text().split("\n") if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        time.sleep(0.05)
    raise AssertionError(f"{process.args!r} did not say where it listens, exit code {process.poll()}")


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
