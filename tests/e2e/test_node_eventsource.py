"""The package `eventsource` for Node, which reconnects and resumes by itself: real servers."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import StartServer
from tests.support import npm
from tests.support.generations import Generations
from tests.support.javascript import Node, running_node
from tests.support.server import ServerProcess

PACKAGE = {"private": True, "type": "module", "dependencies": {"eventsource": "^4.0.0"}}

LISTEN = """
(async () => {
  const { EventSource } = await load(%s);
  const facts = { got: [], welcomes: [], closes: [], errors: 0 };
  let told = () => {};
  globalThis.until = (met) => new Promise((done) => {
    told = () => { if (met(facts)) done(facts); };
    told();
  });
  globalThis.source = new EventSource(%s);
  const on = (type, act) => source.addEventListener(type, (event) => { act(event); told(); });
  on("welcome", ({ data }) => facts.welcomes.push(JSON.parse(data).recovered ?? null));
  on("message", ({ data }) => facts.got.push(JSON.parse(data).data));
  on("close", ({ data }) => facts.closes.push(JSON.parse(data).code));
  on("error", () => { facts.errors += 1; });
  await until(({ welcomes }) => welcomes.length);
})()
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The module of the package."""
    folder = tmp_path_factory.mktemp("eventsource")
    npm.install(folder, PACKAGE, "eventsource")
    return folder / "node_modules/eventsource/dist/index.js"


@pytest.fixture
def node() -> Iterator[Node]:
    with running_node() as running:
        yield running


def publish(server: ServerProcess | Generations, data: object) -> None:
    status, answer = server.api("POST", "/api/broadcast", {"data": data})
    assert status == 200, answer


def listen(node: Node, package: Path, url: str) -> None:
    node.evaluate(LISTEN % (json.dumps(package.as_uri()), json.dumps(f"{url}/events/bob")))


def test_it_sees_no_end_over_an_upgrade_and_resumes_over_a_restart(
    start_server: StartServer, package: Path, node: Node, tmp_path: Path
) -> None:
    flags = ("--broadcast-interval", "0", "--journal", str(tmp_path / "journal"), "--shutdown-timeout", "0.1")
    server = Generations(start_server(*flags))
    try:
        listen(node, package, server.first.url)
        publish(server, 1)
        outcome = server.upgrade()
        assert (outcome["state"], outcome["moved"]) == ("done", 1), outcome
        publish(server, 2)
        facts = node.evaluate("until(({ got }) => got.length === 2)")
        assert facts == {"got": [1, 2], "welcomes": [None], "closes": [], "errors": 0}
    finally:
        server.kill()
    again = start_server(*flags, "--port", str(server.first.port))
    publish(again, 3)
    facts = node.evaluate("until(({ got, welcomes }) => got.length === 3 && welcomes.length === 2)")
    assert (facts["got"], facts["welcomes"]) == ([1, 2, 3], [None, True])
    node.evaluate("source.close()")
