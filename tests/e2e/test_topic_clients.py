"""The clients of wsctl with topics, against real servers."""

import asyncio
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from tests.conftest import StartServer
from tests.support.generations import Generations
from tests.support.issuer import Issuer
from tests.support.javascript import running_node
from tests.support.js_client import InNode, JsClient
from tests.support.processes import popen
from tests.support.relay import Relay
from tests.support.server import DEADLINE, WSCTL, ServerProcess, wsctl
from wsctl import (
    CommandRefused,
    Connected,
    Joined,
    Left,
    Lost,
    MessageStream,
    Presence,
    Rejected,
    SessionEnded,
    connect,
)
from wsctl.client.stream_events import StreamEvent

pytestmark = pytest.mark.anyio

QUIET = ("--broadcast-interval", "0")


async def publish(server: ServerProcess, data: object, topic: str | None = None) -> int:
    """Publish as an operator; how many got it."""
    body = {"data": data} | ({} if topic is None else {"topic": topic})
    code, answer = await to_thread.run_sync(server.api, "POST", "/api/broadcast", body)
    assert code == 200, answer
    return int(answer["recipients"])


async def first(messages: MessageStream, count: int) -> list[tuple[Any, str | None]]:
    async with asyncio.timeout(DEADLINE):
        got = [await anext(messages) for _ in range(count)]
    return [(m.data, m.topic) for m in got]


async def until(happened: list[StreamEvent], kind: type) -> None:
    async with asyncio.timeout(DEADLINE):
        while not any(isinstance(event, kind) for event in happened):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# The library


async def test_only_what_is_subscribed_to_comes_and_once(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    async with connect(server.url, id="bob", topics=["a.>", "a.*"]) as messages:
        assert await publish(server, 1, "a.b") == 1
        assert await publish(server, 2, "b.a") == 0
        assert await publish(server, 3) == 1
        assert await first(messages, 2) == [(1, "a.b"), (3, None)]
        receipt = await messages.publish({"n": 4}, topic="a.c")
        (message,) = [await anext(messages)]
        assert (message.id, message.data, message.topic, message.sender) == (receipt, {"n": 4}, "a.c", "bob")
        await messages.subscribe("b.*")
        await messages.unsubscribe("a.>", "a.*")
        assert await publish(server, 5, "a.b") == 0
        assert await publish(server, 6, "b.a") == 1
        assert await first(messages, 1) == [(6, "b.a")]


async def test_a_message_with_a_key_is_published_once(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    async with connect(server.url, id="bob") as messages:
        receipts = [await messages.publish(data, key="k") for data in ("once", "twice")]
        await messages.publish("end")
        assert await first(messages, 2) == [("once", None), ("end", None)]
    assert receipts[0] == receipts[1]


async def test_one_id_resumes_all_topics_also_those_that_came_later(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    happened: list[StreamEvent] = []
    async with (
        Relay(server.port).running() as road,
        connect(road.url, id="bob", topics=["a.*"], on_event=happened.append) as messages,
    ):
        await publish(server, 0, "b.x")
        await messages.subscribe("b.*")
        road.cut()
        for number, topic in enumerate(["a.x", "b.x", "c.x", None, "b.y", "a.x"], 1):
            await publish(server, number, topic)
        road.mend()
        assert await first(messages, 5) == [(1, "a.x"), (2, "b.x"), (4, None), (5, "b.y"), (6, "a.x")]
    assert not any(isinstance(event, Lost) for event in happened)


async def test_topics_that_are_lost_are_named_and_the_others_come(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--history", "2")
    happened: list[StreamEvent] = []
    async with (
        Relay(server.port).running() as road,
        connect(road.url, id="bob", topics=["busy", "calm.*"], on_event=happened.append) as messages,
    ):
        await publish(server, 0)
        assert await first(messages, 1) == [(0, None)]
        road.cut()
        await publish(server, 1, "calm.sea")
        for number in range(2, 6):
            await publish(server, number, "busy")
        road.mend()
        assert await first(messages, 3) == [(1, "calm.sea"), (4, "busy"), (5, "busy")]
    (lost,) = [event for event in happened if isinstance(event, Lost)]
    assert lost.topics == ("busy",)
    # Another program that begins at the position gets what this one got.
    (again,) = [event for event in happened if isinstance(event, Connected) and event.recovered is False]
    async with connect(server.url, id="eve", topics=["calm.*"], since=again.position) as messages:
        assert await first(messages, 1) == [(1, "calm.sea")]


async def test_what_is_not_permitted_is_refused_and_a_renewed_token_takes_it_away(
    start_server: StartServer,
) -> None:
    server = start_server(*QUIET, "--client-subscribe", "mine.>", "--client-publish", "mine.chat")
    async with connect(server.url, id="bob", topics=["mine.a"]) as messages:
        for call in (
            messages.subscribe("yours"),
            messages.publish("x", "mine.other"),
            messages.publish("x"),
        ):
            with pytest.raises(CommandRefused) as caught:
                await call
            assert caught.value.code in ("topic_not_allowed", "publish_disabled")
        with pytest.raises(CommandRefused) as caught:
            await messages.publish("x", "mine.chat", to="eve")
        assert caught.value.code == "direct_not_allowed"
        assert messages.topics == ("mine.a",)
        assert await messages.publish("fine", "mine.chat")
    with pytest.raises(SessionEnded, match="403") as refused:
        async with connect(server.url, id="bob", topics=["yours"]):
            pass
    assert refused.value.code == 403


@pytest.fixture
def generations(start_server: StartServer) -> Iterator[Generations]:
    """A server that is upgraded, none of whose processes outlives the test."""
    made = Generations(start_server(*QUIET))
    yield made
    made.kill()


async def test_who_comes_and_goes_is_told(start_server: StartServer) -> None:
    server = start_server(*QUIET)
    happened: list[StreamEvent] = []
    async with connect(server.url, id="bob", on_event=happened.append) as messages:
        await messages.watch("chat.lobby")
        reading = asyncio.create_task(anext(messages))
        async with connect(server.url, id="ann", topics=["chat.*"]):
            await until(happened, Joined)
            assert await messages.presence("chat.lobby") == Presence(2, {"ann": 1, "bob": 1})
        await until(happened, Left)
        await messages.publish("done")
        await reading
    assert happened[1:] == [Joined("chat.lobby", "ann"), Left("chat.lobby", "ann")]


async def test_subscriptions_survive_an_upgrade_on_the_same_connection(generations: Generations) -> None:
    happened: list[StreamEvent] = []
    url = f"http://127.0.0.1:{generations.port}"
    async with connect(url, id="bob", topics=["a"], on_event=happened.append) as messages:
        await messages.subscribe("b")
        assert (await to_thread.run_sync(generations.upgrade))["state"] == "done"
        assert await messages.publish(1, "a")
        assert await messages.publish(2, "b")
        assert await first(messages, 2) == [(1, "a"), (2, "b")]
    assert [type(event) for event in happened] == [Connected]
    assert not any(isinstance(event, Rejected) for event in happened)


# The commands


async def test_a_stress_run_with_topics_is_clean_over_an_upgrade(generations: Generations) -> None:
    flags = ("--clients", "12", "--topics", "5", "--rate", "60", "--duration", "1h", "--json")
    url = f"http://127.0.0.1:{generations.port}"
    command = [*WSCTL, "stress", "--url", url, *flags]
    with popen(command, env=generations.first.environ, stdout=subprocess.PIPE, text=True) as process:
        try:
            async with connect(url, id="witness", topics=["stress.5"]) as messages:
                await first(messages, 2)
                assert (await to_thread.run_sync(generations.upgrade))["state"] == "done"
                await first(messages, 2)
            process.send_signal(signal.SIGINT)
            out, _ = await to_thread.run_sync(lambda: process.communicate(timeout=DEADLINE))
        finally:
            process.kill()
    report = json.loads(out)
    assert process.returncode == 0, report
    assert report["delivered"] == report["expected"] > 2 * report["sent"]
    assert (report["not_subscribed"], report["missed"], report["errors"]) == (0, 0, {})


def test_too_many_topics_for_the_clients_are_a_usage_error(environ: dict[str, str]) -> None:
    wrong = wsctl("stress", "--clients", "3", "--topics", "4", environ=environ)
    assert wrong.returncode == 2
    assert wrong.stderr == "wsctl: --topics 4 is too many: each wants a subscriber, and there are 3\n"


def test_a_stress_run_that_may_not_publish_says_so(start_server: StartServer) -> None:
    server = start_server(*QUIET, "--client-publish", "other")
    flags = ("--clients", "2", "--topics", "1", "--duration", "1h", "--url", server.url)
    run = wsctl("stress", *flags, environ=server.environ)
    assert run.returncode == 1
    assert run.stderr.endswith(f"wsctl: {server.url} does not permit its clients the topics stress.>\n")


def test_a_client_on_the_command_line_gets_its_topics(
    start_server: StartServer, environ: dict[str, str]
) -> None:
    server = start_server(*QUIET)
    flags = ("client", "--id", "bob", "--port", str(server.port), "--topic", "a.*", "--publish-to", "a.b")
    run = wsctl(*flags, environ=server.environ, stdin="hello\nthere\n")
    assert run.returncode == 0, run.stderr
    assert [line.split(" ", 1)[1] for line in run.stdout.splitlines()] == [
        "bob on a.b: hello",
        "bob on a.b: there",
    ]
    refused = wsctl(
        "client",
        "--id",
        "bob",
        "--url",
        start_server("--client-subscribe", "off").url,
        "--topic",
        "a",
        environ=environ,
    )
    assert refused.returncode == 6
    assert "refused: HTTP 403" in refused.stderr


# JavaScript


async def test_the_client_in_javascript_resumes_all_its_topics(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = start_server(*QUIET)
    with running_node() as node:
        client = JsClient(InNode(node, tmp_path))
        async with Relay(server.port).running() as road:
            await client.load(server.url)
            await client.start(f"{road.url}/ws/bob", '{ topics: ["a.*"] }')
            await client.until("open")
            await client.run('client.subscribe("b.>")')
            assert isinstance(await client.run('client.publish({ n: 1 }, { topic: "b.c" })'), str)
            assert (await client.until("message"))["data"] == {"n": 1}
            road.cut()
            await client.until("waiting")
            for number, topic in enumerate(["a.x", "c", "b.x.y", None], 2):
                await publish(server, number, topic)
            road.mend()
            await client.run("client.retry()")
            assert (await client.until("open"))["recovered"] is True
            got = [await client.until("message") for _ in range(3)]
            assert [(each["data"], each["frame"].get("topic")) for each in got] == [
                (2, "a.x"),
                (4, "b.x.y"),
                (5, None),
            ]
            code = 'client.subscribe("a..b").catch((error) => error.code)'
            assert await client.run(code) == "bad_topic"
        await client.end()


async def test_a_token_says_which_topics_a_client_may_have(start_server: StartServer, tmp_path: Path) -> None:
    issuer = Issuer(tmp_path)
    server = start_server(*QUIET, *issuer.flags)
    token = issuer.token("bob", ttl=3600)
    async with connect(server.url, id="bob", token=token, topics=["any.>"]) as messages:
        assert await messages.publish("x", "any.thing")
