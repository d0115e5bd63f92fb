"""What clients of event streams publish, one request a message."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import StartServer, running_workers
from tests.support.event_streams import StreamClient, messages_of
from tests.support.generations import Generations
from tests.support.issuer import Issuer, bearer
from tests.support.server import DEADLINE, ServerProcess

pytestmark = pytest.mark.anyio


@asynccontextmanager
async def asking(server: ServerProcess) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=server.url, timeout=DEADLINE) as client:
        yield client


def code_of(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


async def test_a_text_or_json_reaches_everybody_in_the_name_of_the_client(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0")
    async with asking(server) as client, StreamClient.connect(server.port, "/events/eve?topic=a.b") as eve:
        await eve.event("welcome")
        plain = await client.post(
            "/publish?id=bob", content="hello ✓", headers={"Content-Type": "text/plain; charset=utf-8"}
        )
        assert plain.status_code == 200, plain.text
        topical = await client.post("/publish?id=bob", json={"data": {"n": 1}, "topic": "a.b", "key": "k"})
        again = await client.post("/publish?id=bob", json={"data": {"n": 1}, "topic": "a.b", "key": "k"})
        assert again.json() == {"id": topical.json()["id"], "repeated": True}
        assert await eve.messages(2) == ["hello ✓", {"n": 1}]
        first = json.loads(eve.events[1].data)
        assert (first["from"], first["id"]) == ("bob", plain.json()["id"])


@pytest.mark.parametrize(
    ("path", "how", "expected"),
    [
        ("/publish", {"json": {"data": 1}}, (400, "bad_client_id")),
        ("/publish?id=server", {"json": {"data": 1}}, (400, "bad_client_id")),
        ("/publish?id=bob", {"json": [1]}, (400, "bad_request")),
        ("/publish?id=bob", {"json": {"data": 1, "type": "subscribe"}}, (400, "bad_request")),
        ("/publish?id=bob", {"json": {"topic": "a"}}, (400, "bad_command")),
        ("/publish?id=bob", {"json": {"data": 1, "topic": "a.*"}}, (400, "bad_topic")),
        ("/publish?id=bob", {"data": {"data": 1}}, (415, "unsupported_media_type")),
        ("/publish?id=bob", {"json": {"data": "x" * 70_000}}, (400, "bad_command")),
        ("/publish?id=bob", {"json": {"data": "x" * 200_000}}, (413, "too_big")),
        (
            "/publish?id=bob",
            {"content": b"[" * 100_000, "headers": {"Content-Type": "application/json"}},
            (400, "bad_request"),
        ),
        (
            "/publish?id=bob",
            {"content": b"\xff", "headers": {"Content-Type": "text/plain"}},
            (400, "bad_request"),
        ),
        (
            "/publish?id=bob",
            {"json": {"data": 1}, "headers": {"Origin": "https://evil.example"}},
            (403, "origin_not_allowed"),
        ),
    ],
)
async def test_what_is_wrong_is_told(
    server: ServerProcess, path: str, how: dict[str, Any], expected: tuple[int, str]
) -> None:
    async with asking(server) as client:
        assert code_of(await client.post(path, **how)) == expected


async def test_many_requests_of_a_client_share_its_rate_with_its_other_connections(
    start_server: StartServer,
) -> None:
    server = start_server("--broadcast-interval", "0", "--rate", "1:5")
    async with asking(server) as client:
        answers = await asyncio.gather(*(client.post("/publish?id=bob", json={"data": n}) for n in range(12)))
        counts = [answer.status_code for answer in answers]
        assert 5 <= counts.count(200) <= 7, counts
        assert set(counts) == {200, 429}
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["error"]["code"] == "rate_limited"


async def test_where_clients_may_not_publish_this_is_no_way_around(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--client-publish", "off")
    async with asking(server) as client:
        answer = await client.post("/publish?id=bob", json={"data": 1})
        assert code_of(answer) == (403, "publish_disabled")


async def test_a_token_names_the_client_and_says_what_it_may(
    start_server: StartServer, tmp_path: Path
) -> None:
    issuer = Issuer(tmp_path)
    server = start_server("--broadcast-interval", "0", *issuer.flags)
    token = issuer.token("bob")
    async with (
        asking(server) as client,
        StreamClient.connect(server.port, "/events/bob", **bearer(token)) as bob,
    ):
        await bob.event("welcome")
        assert code_of(await client.post("/publish", json={"data": 1})) == (401, "bad_credentials")
        answer = await client.post("/publish?id=eve", json={"data": 1}, headers=bearer(token))
        assert code_of(answer) == (401, "bad_credentials")
        assert (await client.post("/publish", json={"data": 2}, headers=bearer(token))).status_code == 200
        assert await bob.messages(1) == [2]


async def test_a_page_of_an_allowed_origin_may_publish(start_server: StartServer) -> None:
    server = start_server("--broadcast-interval", "0", "--allow-origin", "https://app.example")
    origin = {"Origin": "https://app.example"}
    async with asking(server) as client:
        preflight = await client.options("/publish?id=bob", headers=origin)
        assert preflight.headers["access-control-allow-methods"] == "POST"
        assert "content-type" in preflight.headers["access-control-allow-headers"]
        answer = await client.post("/publish?id=bob", json={"data": 1}, headers=origin)
        assert answer.headers["access-control-allow-origin"] == "https://app.example"


async def test_workers_share_what_is_published_so() -> None:
    with running_workers(2, "--broadcast-interval", "0", token="events") as server:
        async with asking(server) as client, StreamClient.connect(server.port, "/events/eve") as eve:
            await eve.event("welcome")
            ids = [(await client.post("/publish?id=bob", json={"data": n})).json()["id"] for n in range(4)]
            await eve.until(lambda eve: eve.last_id == ids[-1])
            assert messages_of(eve.events) == [0, 1, 2, 3]


@pytest.fixture
def generations(start_server: StartServer) -> Iterator[Generations]:
    """A server that can hand over; none of its processes is left at the end."""
    server = Generations(start_server("--broadcast-interval", "0", "--rate", "0"))
    yield server
    server.kill()


async def test_what_is_published_during_an_upgrade_arrives_once(generations: Generations) -> None:
    over, accepted = asyncio.Event(), []
    async with (
        asking(generations.first) as client,
        StreamClient.connect(generations.port, "/events/eve") as eve,
    ):
        await eve.event("welcome")

        async def publish_on() -> None:
            n = 0
            while not over.is_set():
                answer = await client.post("/publish?id=bob", json={"data": n})
                assert answer.status_code == 200, answer.text
                accepted.append(n)
                n += 1

        publishing = asyncio.create_task(publish_on())
        outcome = await asyncio.to_thread(generations.upgrade)
        assert outcome["moved"] == 1, outcome
        over.set()
        await publishing
        await eve.messages(len(accepted))
        assert messages_of(eve.events) == accepted
