"""`POST /api/publish` from outside: one message, many, and again."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ON_VALKEY, StartServer
from tests.support.clients import join, receive_type
from tests.support.cluster import Cluster
from tests.support.server import ServerProcess
from tests.support.store import StoreProcess
from wsctl.control.operations import MAX_BATCH_BYTES, MAX_BATCH_LINES, NDJSON
from wsctl.server.message_publisher import BODY_ALLOWANCE

pytestmark = pytest.mark.anyio

LINES = {"content-type": NDJSON}


def publish(server: ServerProcess, **body: object) -> tuple[int, Any]:
    return server.api("POST", "/api/publish", body, headers={"content-type": "application/json"})


def publish_lines(server: ServerProcess, *lines: object) -> list[dict[str, Any]]:
    """Publish a batch, of texts as they are and of other values as JSON, and return what each line got."""
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    status, answer = server.api("POST", "/api/publish", b"\n".join(texts) + b"\n", headers=LINES)
    assert status == 200, answer
    return [json.loads(line) for line in answer.splitlines()]


async def test_a_message_reaches_the_subscribers_of_its_topic_once_for_each_key(
    server: ServerProcess,
) -> None:
    bob, eve = await join(server.ws_url, "bob?topic=a.*"), await join(server.ws_url, "eve")
    status, first = publish(server, data={"n": 1}, topic="a.b", key="order-1")
    assert (status, first["recipients"]) == (200, 1)
    again = publish(server, data={"n": 1}, topic="a.b", key="order-1")
    assert again == (200, {"id": first["id"], "recipients": 0, "repeated": True})
    assert publish(server, data="for eve", to=["eve"])[1]["recipients"] == 1
    assert publish(server, data="last")[1]["recipients"] >= 2
    heard = [await receive_type(bob, "message") for _ in range(2)]
    assert heard[0]["id"] == first["id"]
    assert [frame["data"] for frame in heard] == [{"n": 1}, "last"]
    assert [(await receive_type(eve, "message"))["data"] for _ in range(2)] == ["for eve", "last"]
    await bob.close()
    await eve.close()


async def test_each_line_of_a_batch_has_its_receipt_or_its_error_in_order(server: ServerProcess) -> None:
    await check_a_batch(server, 1)


async def check_a_batch(server: ServerProcess, count: int) -> None:
    """Publish lines of all kinds to so many clients."""
    clients = [await join(server.ws_url, f"batch-{n}?topic=batch") for n in range(count)]
    answers = publish_lines(
        server,
        {"data": 1, "topic": "batch", "key": "batch-1"},
        b"{",
        b"",
        {"data": 1, "topic": "no topic"},
        {"data": "x" * (65536 + BODY_ALLOWANCE), "topic": "batch"},
        {"data": 1, "topic": "batch", "key": "batch-1"},
        {"data": 2, "topic": "batch"},
    )
    codes = [answer["error"]["code"] if "error" in answer else "ok" for answer in answers]
    assert codes == ["ok", "bad_request", "bad_request", "bad_topic", "too_big", "ok", "ok"]
    first, repeated, last = answers[0], answers[5], answers[6]
    assert (repeated["id"], repeated["repeated"]) == (first["id"], True)
    for client in clients:
        heard = [await receive_type(client, "message") for _ in range(2)]
        assert [(frame["id"], frame["data"]) for frame in heard] == [(first["id"], 1), (last["id"], 2)]
        await client.close()


def test_what_is_too_much_or_something_else_is_refused_whole(server: ServerProcess) -> None:
    check_refusals(server)


def check_refusals(server: ServerProcess) -> None:
    """Send what has too many lines or bytes, or is of another kind."""

    def ask(kind: str, body: bytes) -> tuple[int, str]:
        status, answer = server.api("POST", "/api/publish", body, headers={"content-type": kind})
        return status, answer["error"]["message"]

    many = f"a batch may have {MAX_BATCH_LINES} lines: send the rest in another request"
    assert ask(NDJSON, b"\n" * (MAX_BATCH_LINES + 1)) == (413, many)
    status, text = ask(NDJSON, b"\n" * (MAX_BATCH_BYTES + 1))
    assert (status, text.partition(":")[0]) == (413, f"a body may have {MAX_BATCH_BYTES} bytes")
    status, text = ask("application/json", b"x" * (65536 + BODY_ALLOWANCE + 1))
    assert (status, text) == (413, "a body may have 131072 bytes")
    assert ask("text/plain", b"hi") == (415, f"send application/json, or {NDJSON} with a message a line")


def test_who_may_publish_may_do_nothing_else(start_server: StartServer) -> None:
    server = start_server(env={"WSCTL_PUBLISH_TOKEN": "pub", "WSCTL_TOKEN": "all"})

    def ask(method: str, path: str, token: str) -> tuple[int, str | None]:
        headers = {"authorization": f"Bearer {token}", "content-type": "application/json"}
        status, answer = server.http(method, path, {"data": 1} if method == "POST" else None, headers)
        return status, answer["error"]["code"] if isinstance(answer, dict) and "error" in answer else None

    for path in ("/api/publish", "/api/broadcast"):
        assert ask("POST", path, "pub") == ask("POST", path, "all") == (200, None)
        assert ask("POST", path, "other") == (401, "bad_token")
    for method, path in (("GET", "/api/status"), ("GET", "/metrics"), ("POST", "/api/drain")):
        assert ask(method, path, "pub") == (403, "publish_only")
    assert ask("GET", "/api/status", "all") == (200, None)
    assert not [line for line in server.lines if "pub\b" in line]


def test_where_only_publishers_have_a_token_commands_need_the_control_socket(
    start_server: StartServer, tmp_path: Path
) -> None:
    (tmp_path / "token").write_text("pub\n")
    server = start_server(env={"WSCTL_PUBLISH_TOKEN_FILE": str(tmp_path / "token")})
    kind = {"content-type": "application/json"}
    status, _ = server.http("POST", "/api/publish", {"data": 1}, {"authorization": "Bearer pub"} | kind)
    assert status == 200
    status, answer = server.http("GET", "/api/status", headers={"authorization": "Bearer other"})
    assert (status, answer["error"]["code"]) == (403, "control_only")


@ON_VALKEY
async def test_a_key_holds_at_every_node_and_over_a_restart_of_them(
    start_server: StartServer, store: StoreProcess
) -> None:
    async with Cluster(start_server, store.url) as cluster:
        one, two = cluster.grow(2)
        _, first = publish(one, data=1, key="k")
        repeated = {"id": first["id"], "recipients": 0, "repeated": True}
        assert publish(two, data=1, key="k") == (200, repeated)
        assert publish_lines(two, {"data": 1, "key": "k"}, {"data": 2, "key": "k2"})[0] == repeated
        one.kill()
        two.kill()
        three = cluster.add()
        assert publish(three, data=1, key="k") == (200, repeated)
        assert publish_lines(three, {"data": 2, "key": "k2"})[0]["repeated"]


def test_a_key_holds_over_a_kill_where_there_is_a_journal(start_server: StartServer, tmp_path: Path) -> None:
    journal = ("--journal", str(tmp_path / "journal"), "--journal-sync", "normal")
    server = start_server(*journal)
    first, second = publish_lines(server, {"data": 1, "key": "a"}, {"data": 2, "key": "b"})
    server.kill()
    again = start_server(*journal)
    assert publish(again, data=1, key="a") == (200, {"id": first["id"], "recipients": 0, "repeated": True})
    assert publish_lines(again, {"data": 2, "key": "b"})[0]["id"] == second["id"]
