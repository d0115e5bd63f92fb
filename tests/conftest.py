"""What every test can ask for."""

import faulthandler
import fcntl
import gc
import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import NAMES as BROWSERS
from tests.support.browser import Browser, Page, find_browser, running_browser
from tests.support.programs import need
from tests.support.server import ServerProcess
from tests.support.sizes import FULL, SMALL, Sizes, set_examples
from tests.support.store import StoreProcess

for _signal in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    # Tests that run in the background, or under nohup, ignore these, and so would all that they start.
    if signal.getsignal(_signal) is signal.SIG_IGN:
        signal.signal(_signal, signal.default_int_handler if _signal is signal.SIGINT else signal.SIG_DFL)

StartServer = Callable[..., ServerProcess]
StartStore = Callable[..., Any]
NewPage = Callable[[], Page]


ALONE = re.compile(r"_(crowd|alone)\.py|tests/bench/test_(application|memory|startup)\.py")
"""Files whose tests run after all others, one after the other, with nothing beside them, for a busy machine
takes them beyond their tolerance. One core waits meanwhile."""


FIRST = ("soak/", "bench/", "e2e/test_workers", "log/", "server/", "cli/", "e2e/", "stress/", "test_suite")
"""Where tests take long, for servers and browsers are started there, and some wait for half a minute. A file
that takes a minute is not among the last ones; of the last ones each takes some seconds."""

LONGEST = 300.0
"""Seconds of one test at most: five times the longest one. One that hangs ends with the stacks of all its
threads, and its worker with it, so that the run goes on and says which it was."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="crowds and numbers of examples of full size: many minutes more"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Say how many examples there are, and keep standard error as it is while nothing is captured:
    `_end_what_hangs` writes there."""
    global _stderr  # noqa: PLW0603
    set_examples(full=config.getoption("full", default=False), derandomize="CI" in os.environ)
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        _stderr = os.dup(2)


_stderr = 2


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Schedule a file at a time, so that its tests can share a server; what runs alone comes last, as one.

    By the names of files: pytest-xdist 3.8 does not see groups by mark on pytest 9.2.
    """
    from xdist.scheduler import LoadFileScheduling

    config.option.loadscopereorder = False  # the order of collection is the one that ends early

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return "alone" if ALONE.search(nodeid) else str(super()._split_scope(nodeid))

        def _assign_work_unit(self, node: Any) -> None:
            if "alone" in self.workqueue:
                self.workqueue.move_to_end("alone")
            super()._assign_work_unit(node)

        def remove_node(self, node: Any) -> str | None:
            """As the original does, but what a worker ended in is not run again, to end the next one."""
            work = self.assigned_work.pop(node)
            left = [
                (unit, test) for unit in work.values() for test, completed in unit.items() if not completed
            ]
            if not left:
                return None
            unit, ended_in = left[0]
            unit[ended_in] = True
            self.workqueue.update((name, rest) for name, rest in work.items() if not all(rest.values()))
            for other in self.assigned_work:
                self._reschedule(other)
            return str(ended_in)

    return Scheduling(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Collect no garbage while tests are collected, nor look through the tests for any afterwards: they stay,
    and each of several workers has all of them."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first, so that no worker is left with one of them; what runs alone comes last."""

    def place(item: pytest.Item) -> int:
        if ALONE.search(item.nodeid):
            return len(FIRST) + 1
        return next((n for n, name in enumerate(FIRST) if f"tests/{name}" in item.nodeid), len(FIRST))

    items.sort(key=place)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """While a test runs that is to be alone, no other worker runs one; and none runs for ever.

    A worker may get the last piece of work while another one has not yet finished its own.
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return (yield)
    with open(item.config.rootpath / "pyproject.toml") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX if ALONE.search(item.nodeid) else fcntl.LOCK_SH)
        _end_what_hangs()
        try:
            return (yield)
        finally:
            faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(trylast=True)
def pytest_exception_interact() -> None:
    """A test that has failed can still hang while it is taken down; pytest has ended the watch."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        _end_what_hangs()


def _end_what_hangs() -> None:
    faulthandler.dump_traceback_later(LONGEST, exit=True, file=_stderr)


@pytest.fixture
def sizes(request: pytest.FixtureRequest) -> Sizes:
    """How large crowds are: `--full` asks for the large ones."""
    return FULL if request.config.option.full else SMALL


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def runtime_dir() -> Iterator[Path]:
    """A runtime folder of this test's own, with a path short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder:
        yield Path(folder)


@pytest.fixture
def environ(runtime_dir: Path) -> dict[str, str]:
    """The environment of processes under test: nothing of the person's who runs the tests."""
    return environ_of(runtime_dir)


def environ_of(runtime_dir: Path) -> dict[str, str]:
    """The environment of processes under test whose runtime folder this is."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WSCTL_", "UVICORN_", "WEB_"))}
    of_a_supervisor = (
        "LISTEN_FDS",
        "LISTEN_PID",
        "LISTEN_FDNAMES",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
    )
    for name in ("COLUMNS", "LINES", "NO_COLOR", "TERM", "XDG_RUNTIME_DIR", *of_a_supervisor):
        kept.pop(name, None)
    return kept | {"WSCTL_RUNTIME_DIR": str(runtime_dir), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[str, str]:
    """A self-signed certificate for 127.0.0.1 and its key, as files."""
    need("openssl")
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        # A key of RSA takes a tenth of a second, this one next to nothing.
        f"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        f"-subj /CN=localhost -addext subjectAltName=IP:127.0.0.1 -keyout {key} -out {cert}".split(),
        check=True,
        capture_output=True,
    )
    return str(cert), str(key)


@pytest.fixture
def start_server(environ: dict[str, str]) -> Iterator[StartServer]:
    """Start `wsctl serve` on a free port; what still runs at the end of the test is killed."""
    with ExitStack() as stack:

        def start(*flags: str, env: dict[str, str] | None = None, **how: object) -> ServerProcess:
            server = ServerProcess.start(*flags, environ=environ | (env or {}), **how)  # type: ignore[arg-type]
            stack.callback(server.kill)
            return server

        yield start


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """A server for all tests of a module that only ask it something, each as clients with ids of its own."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder:
        shared = ServerProcess.start(environ=environ_of(Path(folder)))
        try:
            yield shared
        finally:
            shared.kill()


@contextmanager
def running_workers(count: int, *flags: str, token: str) -> Iterator[ServerProcess]:
    """A parent with so many workers; none of its processes is left at the end."""
    with tempfile.TemporaryDirectory(prefix="ws") as folder:
        environ = environ_of(Path(folder)) | {"WSCTL_TOKEN": token}
        parent = ServerProcess.start("--workers", str(count), *flags, environ=environ)
        try:
            yield parent
        finally:
            parent.kill()


@pytest.fixture
def start_store() -> Iterator[StartStore]:
    """Start a `StoreProcess`, or with `what=` a `Watched` or a `StoreCluster`; all end with the test."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="st")))
        started: list[Any] = []

        def start(*options: str, kind: str = "valkey", what: Any = StoreProcess, **how: Any) -> Any:
            started.append(what.start(kind, folder / str(len(started)), *options, **how))
            stack.callback(started[-1].close)
            return started[-1]

        yield start


ON_VALKEY, ON_REDIS = (
    pytest.mark.parametrize("store", [kind], indirect=True) for kind in ("valkey", "redis")
)
"""For whole servers, whose scenarios take turns: in what the kinds may differ is tested of each kind where
it is spoken with, in tests/log/redis."""


@pytest.fixture(params=["valkey", "redis"])
def store(request: pytest.FixtureRequest, start_store: StartStore) -> StoreProcess:
    """A server with nothing in it, of each kind."""
    alone: StoreProcess = start_store(kind=request.param)
    return alone


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_browser()
    if path is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is on PATH"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    with running_browser(path) as running:
        yield running


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """Tabs of one person's browser, which has nothing open or stored."""
    with browser.tabs() as new:
        yield new


@pytest.fixture
def page(new_page: NewPage) -> Page:
    return new_page()
