"""The service of the manual's page on applications, all its programs in one file, is run."""

import asyncio
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive
from tests.support.manual import blocks, pages
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio

PROGRAMS = [b.text for b in blocks("applications", pages()["applications"]) if b.language == "python"]


@pytest.fixture
def service(start_server: StartServer, tmp_path: Path) -> ServerProcess:
    (tmp_path / "service.py").write_text("\n\n".join(PROGRAMS))
    return start_server("service:app", "--broadcast-interval", "0", cwd=tmp_path)


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
    own = await connect(f"{service.ws_url}/until-restart", proxy=None)
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
        assert (await closed(own))[0] == 1012
        assert (await receive(bob))["type"] == "shutdown"
    assert await asyncio.to_thread(service.wait) == 0
