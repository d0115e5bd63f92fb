"""The service that `wsctl generate app` prints, and its own test."""

import ast
import asyncio
import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
from websockets.asyncio.client import connect as open_websocket
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.conftest import StartServer, environ_of
from tests.support.examples import NOWHERE
from tests.support.issuer import bearer
from tests.support.keys import SECRET
from tests.support.linters import ROOT, lint
from tests.support.processes import lending, run
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from wsctl import Message, MessageStream, connect
from wsctl.cli.recipes import generate_file
from wsctl.settings import Settings

pytestmark = pytest.mark.anyio

FILES = {"app": "app.py", "app-test": "test_app.py"}

WITHOUT = [word for name in ("cacheprovider", "schemathesis", "valkey") for word in ("-p", f"no:{name}")]
"""For pytest: plugins of libraries that only our own tests use."""


def printed(kind: str, settings: Settings | None = None) -> str:
    return generate_file(kind, settings or Settings(), NOWHERE)


def write(folder: Path) -> None:
    """The service, its test and a key."""
    for kind, name in FILES.items():
        (folder / name).write_text(printed(kind))
    (folder / "app.key").write_bytes(SECRET + b"\n")


# As files


def test_both_are_clean_in_the_eyes_of_linters(tmp_path: Path) -> None:
    write(tmp_path)
    assert lint(tmp_path, *FILES.values()) == ""


@pytest.mark.parametrize("kind", FILES)
def test_it_is_short(kind: str) -> None:
    lines = printed(kind).splitlines()
    assert len(lines) <= 185
    assert [line for line in lines if len(line) > 88 or not line.isascii()] == []


def test_its_head_starts_it_with_the_flags_that_were_given() -> None:
    meant = Settings(app="main:service", port=9000)
    assert "#     wsctl serve main:service --port=9000\n" in printed("app", meant)
    assert "#     wsctl serve app:app\n" in printed("app")
    assert 'APP = "main:service"\n' in printed("app-test", meant)


@pytest.mark.parametrize("kind", FILES)
def test_no_setting_breaks_out_of_its_place(kind: str) -> None:
    text = printed(kind, Settings(app='a"\\:app', root_path='/"""\\'))
    assert len(ast.parse(text).body) == len(ast.parse(printed(kind)).body)


def test_its_own_test_passes(environ: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "app.key").write_bytes(SECRET)
    for kind, name in FILES.items():
        assert wsctl("generate", kind, "-o", str(tmp_path / name), environ=environ).returncode == 0
    kept = {name: value for name, value in environ.items() if not name.startswith("PYTEST_")}
    plugins = [*WITHOUT, "-p", "tests.support.forking"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", *plugins, "test_app.py"],
        cwd=tmp_path,
        env=lending(kept) | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=5 * DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 7 passed" in done.stdout


# Served


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("service")
    write(found)
    return found


@pytest.fixture(scope="module")
def service(folder: Path) -> Iterator[ServerProcess]:
    """A service for the tests that only use it."""
    with tempfile.TemporaryDirectory(prefix="ws") as runtime:
        flags = ("app:app", "--broadcast-interval", "0")
        started = ServerProcess.start(*flags, environ=environ_of(Path(runtime)), cwd=folder)
        try:
            yield started
        finally:
            started.kill()


async def ask(server: ServerProcess, path: str, body: object, token: str | None = None) -> tuple[int, Any]:
    headers = {"Content-Type": "application/json"} | (bearer(token) if token else {})
    return await asyncio.to_thread(server.http, "POST", path, body, headers)


async def log_in(server: ServerProcess, name: str) -> str:
    """The token of a user."""
    status, answer = await ask(server, "/login", {"name": name, "password": f"demo-{name}"})
    assert status == 200, answer
    return str(answer["token"])


async def next_of(messages: MessageStream) -> Message:
    async with asyncio.timeout(DEADLINE):
        return await anext(messages)


async def test_who_logged_in_publishes_to_who_logged_in_until_both_leave(
    start_server: StartServer, folder: Path
) -> None:
    server = start_server("app:app", "--broadcast-interval", "0", cwd=folder)
    ann, bob = await log_in(server, "ann"), await log_in(server, "bob")
    async with connect(server.url, id="bob", token=bob) as messages:
        for text in ("hello", "again"):
            status, receipt = await ask(server, "/notes", {"text": text}, ann)
            assert (status, receipt["recipients"]) == (200, 1)
            message = await next_of(messages)
            assert (message.id, message.data) == (receipt["id"], {"by": "ann", "text": text})
        server.signal()
        await asyncio.to_thread(server.wait_for_line, "draining")
        assert (await ask(server, "/notes", {"text": "still here"}, ann))[0] == 200
        assert (await next_of(messages)).data["text"] == "still here"
    assert await asyncio.to_thread(server.wait) == 0
    assert server.faults == []


async def test_a_browser_brings_its_token_as_a_subprotocol(service: ServerProcess) -> None:
    token = await log_in(service, "ann")
    encoded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    offers = [Subprotocol("wsctl"), Subprotocol(f"bearer.{encoded}")]
    async with open_websocket(f"{service.ws_url}/echo", subprotocols=offers, proxy=None) as websocket:
        await websocket.send("hello")
        assert (await websocket.recv(), websocket.subprotocol) == ("ann: hello", "wsctl")
    async with open_websocket(f"{service.ws_url}/ws/any", subprotocols=offers, proxy=None) as websocket:
        welcome = json.loads(await websocket.recv())
        assert (welcome["client_id"], websocket.subprotocol) == ("ann", "wsctl")


async def test_the_command_that_its_head_names_makes_a_token(
    service: ServerProcess, environ: dict[str, str], folder: Path
) -> None:
    key = ("--jwt-key", str(folder / "app.key"))
    made = await asyncio.to_thread(wsctl, "token", "--id", "bob", *key, environ=environ)
    async with connect(service.url, id="bob", token=made.stdout.strip()):
        status, receipt = await ask(service, "/notes", {"text": "hello"}, made.stdout.strip())
        assert (status, receipt["recipients"]) == (200, 1)


@pytest.mark.parametrize(
    ("claims", "key"),
    [
        ({"sub": "ann", "exp": 1}, SECRET),
        ({"sub": "ann"}, SECRET),
        ({"exp": time.time() + 60}, SECRET),
        ({"sub": "ann", "exp": time.time() + 60}, SECRET[::-1]),
    ],
    ids=["expired", "for ever", "of nobody", "of another key"],
)
async def test_a_token_that_is_not_right_opens_nothing(
    service: ServerProcess, claims: dict[str, Any], key: bytes
) -> None:
    token = jwt.encode(claims, key, "HS256")
    assert (await ask(service, "/notes", {"text": "hello"}, token))[0] == 401
    for path in ("/echo", "/ws/ann"):
        with pytest.raises(InvalidStatus) as refused:
            await open_websocket(f"{service.ws_url}{path}", additional_headers=bearer(token), proxy=None)
        assert refused.value.response.status_code == 401


@pytest.mark.parametrize(("key", "why"), [(None, "no-such.key"), ("short", "less than 32 bytes")])
def test_without_a_key_it_does_not_start(
    environ: dict[str, str], folder: Path, tmp_path: Path, key: str | None, why: str
) -> None:
    file = tmp_path / "no-such.key"
    if key is not None:
        file.write_text(key)
    command = (*WSCTL, "serve", "app:app", "--port", "0")
    done = run(command, cwd=folder, env=environ | {"APP_KEY_FILE": str(file)}, timeout=DEADLINE)
    assert done.returncode == 3
    assert why in done.stderr
