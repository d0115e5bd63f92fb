"""Several connections of one id: each gets everything, and the oldest goes where there are too many."""

import pytest

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive_type
from tests.support.server import ServerProcess

pytestmark = pytest.mark.anyio


def publish(server: ServerProcess, data: str, *to: str) -> int:
    code, answer = server.api("POST", "/api/broadcast", {"data": data} | ({"to": list(to)} if to else {}))
    assert code == 200, answer
    return int(answer["recipients"])


async def test_messages_reach_all_connections_of_an_id_and_the_oldest_beyond_the_limit_is_closed(
    start_server: StartServer,
) -> None:
    server = start_server("--broadcast-interval", "0", "--connections-per-id", "2")
    async with await join(server.ws_url, "bob") as phone, await join(server.ws_url, "bob") as laptop:
        async with await join(server.ws_url, "eve"):
            assert publish(server, "to bob", "bob") == 2
            assert publish(server, "to all") == 3
        async with await join(server.ws_url, "bob") as tablet:
            for client in (phone, laptop):
                assert [(await receive_type(client, "message"))["data"] for _ in range(2)] == [
                    "to bob",
                    "to all",
                ]
            assert await closed(phone) == (4501, "replaced by a newer connection of this id")
            assert publish(server, "again", "bob") == 2
            for client in (laptop, tablet):
                assert (await receive_type(client, "message"))["data"] == "again"


async def test_any_number_of_connections_of_an_id(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--connections-per-id", "0")
    clients = [await join(server.ws_url, "bob") for _ in range(20)]
    assert publish(server, "to bob", "bob") == 20
    for client in clients:
        assert (await receive_type(client, "message"))["data"] == "to bob"
        await client.close()


async def test_a_full_server_replaces_only_connections_of_an_id_that_has_as_many_as_it_may(
    start_server: StartServer,
) -> None:
    flags = ("--connections-per-id", "2", "--max-connections", "3")
    server = start_server("--broadcast-interval", "0", *flags)
    async with (
        await join(server.ws_url, "bob") as phone,
        await join(server.ws_url, "bob"),
        await join(server.ws_url, "eve"),
    ):
        with pytest.raises(Exception, match="503"):
            await join(server.ws_url, "eve")
        async with await join(server.ws_url, "bob"):
            assert (await closed(phone))[0] == 4501
