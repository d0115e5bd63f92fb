"""Signs of life, for clients that ask: on both roads, and through an upgrade."""

import asyncio
from http import HTTPStatus

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.conftest import StartServer
from tests.e2e.ways import Way, as_operator, embedded, module
from tests.support.clients import receive
from tests.support.generations import Generations

pytestmark = pytest.mark.anyio

SILENT = ("--broadcast-interval", "0")


@pytest.mark.parametrize("way", [module, embedded])
async def test_only_who_asks_is_sent_one(start_server: StartServer, way: Way) -> None:
    server = way(start_server, *SILENT)
    at = f"{server.ws_url}/ws"
    async with connect(f"{at}/plain") as plain, connect(f"{at}/kept?keepalive=1") as kept:
        welcomes = [await receive(plain), await receive(kept)]
        assert [w.get("keepalive_s") for w in welcomes] == [None, 1]
        assert [w["server"]["connections"] for w in welcomes] == [1, 2]
        for _ in range(2):
            assert await receive(kept) == {"type": "keepalive"}
        code, _ = await asyncio.to_thread(as_operator, server, "POST", "/api/broadcast", {"data": "hello"})
        assert code == HTTPStatus.OK
        assert (await receive(plain))["data"] == "hello"
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"{at}/kept?keepalive=0.5")
    assert refused.value.response.status_code == HTTPStatus.BAD_REQUEST
    assert b"bad_keepalive" in (refused.value.response.body or b"")


async def test_it_goes_on_in_the_next_process(start_server: StartServer) -> None:
    server = Generations(start_server(*SILENT))
    try:
        async with connect(f"{server.first.ws_url}/ws/kept?keepalive=1") as kept:
            assert (await receive(kept))["keepalive_s"] == 1
            outcome = await asyncio.to_thread(server.upgrade)
            assert outcome["moved"] == 1, outcome
            assert server.first_ended() == 0
            for _ in range(5):  # the first may be from the process that has ended
                assert await receive(kept) == {"type": "keepalive"}
    finally:
        server.kill()
