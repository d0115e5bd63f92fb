"""The services of the manual's page on applications, each with all its programs in one file, are run."""

import asyncio
import http.client
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive
from tests.support.event_streams import StreamClient, messages_of
from tests.support.generations import Generations, starting_generations
from tests.support.manual import blocks, commands, pages
from tests.support.server import DEADLINE, ServerProcess, wsctl

pytestmark = pytest.mark.anyio

BLOCKS = list(blocks("applications", pages()["applications"]))


def programs(section: str) -> list[str]:
    return [b.text for b in BLOCKS if b.section == section and b.language == "python"]


PROGRAMS = programs("A hub in your application")
OWN = "Serve your own application"
README = (Path(__file__).parents[2] / "README.md").read_text()


@pytest.fixture
def service(start_server: StartServer, tmp_path: Path) -> ServerProcess:
    (tmp_path / "service.py").write_text("\n\n".join(PROGRAMS))
    return start_server("service:app", "--broadcast-interval", "0", cwd=tmp_path)


@pytest.fixture
def start_generations(start_server: StartServer) -> Iterator[Callable[..., Generations]]:
    with starting_generations(start_server) as start:
        yield start


async def test_the_first_program_alone_publishes_to_its_clients(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "service.py").write_text(PROGRAMS[0])
    server = start_server("service:app", "--broadcast-interval", "0", cwd=tmp_path)
    async with await join(server.ws_url, "bob") as bob:
        status, receipt = await asyncio.to_thread(server.http, "POST", "/prices/3.5")
        assert (status, receipt["recipients"]) == (200, 1)
        assert (await receive(bob))["data"] == {"price": 3.5}


async def test_all_of_it_does_what_the_page_says(service: ServerProcess) -> None:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{service.ws_url}/ws/bob", proxy=None)
    assert refused.value.response.status_code == 401
    async with await join(service.ws_url, "any?user=bob") as bob:
        async with await join(service.ws_url, "any?user=eve"):
            await bob.send("hello")
            assert (await receive(bob))["data"] == {"text": "hello"}
            await bob.send("x" * 501)
            assert (await receive(bob))["code"] == "too_long"
        assert (await receive(bob))["data"] == {"left": "eve"}
        status, _ = await asyncio.to_thread(service.http, "POST", "/news?text=new")
        assert status == 200
        assert (await receive(bob))["data"] == {"news": "new"}
        service.signal()
        assert (await receive(bob))["type"] == "shutdown"
    assert await asyncio.to_thread(service.wait) == 0


async def test_a_service_without_a_hub_drains_as_the_page_says(
    start_server: StartServer, tmp_path: Path
) -> None:
    await asyncio.to_thread((tmp_path / "service.py").write_text, "\n\n".join(programs(OWN)))
    scripts = [b.text for b in BLOCKS if b.section == OWN and b.language == "sh"]
    (_, *plain), (_, *with_policies) = (words for text in scripts for words in commands(text))
    server = start_server(*plain, cwd=tmp_path)
    async with connect(f"{server.ws_url}/talk/a") as talking:
        async with connect(f"{server.ws_url}/until-restart") as told:
            server.signal()
            assert re.fullmatch(r"SIGTERM, (1800|1799) s", str(await told.recv()))
            assert await closed(told) == (1012, "the server restarts: reconnect")
        await talking.send("hello")
        assert await talking.recv() == "a: hello"
    assert server.wait() == 0
    server = start_server(*with_policies, cwd=tmp_path)
    stream = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    stream.request("GET", "/events")
    answer = stream.getresponse()
    async with connect(f"{server.ws_url}/until-restart") as told:
        server.signal()
        assert await asyncio.to_thread(answer.read) == b"data: tick\n\n"
        assert re.fullmatch(r"SIGTERM, (29|30) s", str(await told.recv()))
    stream.close()
    assert server.wait() == 0


async def test_the_service_of_readme_serves_both_kinds_of_clients_and_moves_them(
    start_generations: Callable[..., Generations], tmp_path: Path
) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert len(code.split("\n\n")[0].splitlines() + code.split("\n\n")[1].splitlines()) == 5
    await asyncio.to_thread((tmp_path / "main.py").write_text, code)
    server = start_generations("main:app", "--broadcast-interval", "0", cwd=tmp_path)
    asked = {"environ": server.first.environ}
    async with (
        await join(server.first.ws_url, "bob?topic=news") as bob,
        StreamClient.connect(server.port, "/events/eve?topic=news") as eve,
    ):
        assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
        sent = await asyncio.to_thread(wsctl, "broadcast", "hello", "--topic", "news", **asked)
        assert sent.returncode == 0, sent.stderr
        assert (await receive(bob))["data"] == "hello"
        await eve.until(lambda stream: messages_of(stream.events))
        assert messages_of(eve.events) == ["hello"]
