"""Requests to publish that are answered without the framework: as the framework answers them."""

import asyncio
import json
import re
import socket
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.server import DEADLINE, ServerProcess
from tests.support.sizes import examples
from wsctl.control.operations import NDJSON

TOKEN = "all"

TO_FRAMEWORK = "TE: trailers"
"""A header that means nothing here, and makes a request unusual."""

ASKED_NEXT = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""The request behind each: its answer shows that the connection was kept, and ends it."""


@pytest.fixture
def limited(start_server: StartServer) -> ServerProcess:
    """A server in which both kinds of bodies were read before."""
    server = start_server("--max-message-size", "200", env={"WSCTL_TOKEN": TOKEN})
    for path in ("/api/publish", "/api/broadcast"):
        ask(server, post(b'{"data": 1}', path=path))
    return server


def post(
    body: bytes,
    *headers: str,
    start: str = "POST {} HTTP/1.1",
    path: str = "/api/publish",
    host: str = "localhost",
    token: str = f"Authorization: Bearer {TOKEN}",
    length: str = "Content-Length: {}",
) -> bytes:
    lines = [start.format(path), f"Host: {host}", token, length.format(len(body)), *headers]
    return "\r\n".join([*filter(None, lines), "", ""]).encode() + body


def ask(server: ServerProcess, *requests: bytes) -> bytes:
    """Send requests on one connection, and return all that comes until it ends."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=DEADLINE) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for request in requests:
            sock.sendall(request)
        return everything(sock)


def everything(sock: socket.socket) -> bytes:
    return b"".join(iter(lambda: sock.recv(65536), b""))


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


def answers(data: bytes) -> list[Answer]:
    """The answers in what a server sent, without what differs from one to the next."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        start, *lines = head.decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers["content-length"])
        body, data = rest[:size].decode(), rest[size:]
        assert headers.pop("date")
        found.append(Answer(int(start.split()[1]), headers, re.sub(r'"id":"[0-9-]+"', '"id":"ID"', body)))
    return found


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)
MESSAGES = st.fixed_dictionaries(
    {"data": VALUES},
    optional={
        "topic": st.sampled_from(["a.b", "a..b", "a.*", "", None, 1]),
        "to": st.sampled_from([["bob"], [], ["no id"], "bob", None, ["bob", "bob"]]),
        "key": st.sampled_from(["KEY", "", "k" * 129, "a\n", None, 7]),
        "show_to": st.booleans(),
        "more": st.just(1),
    },
)
BODIES = (
    MESSAGES.map(lambda value: json.dumps(value).encode())
    | st.lists(
        MESSAGES.map(lambda value: json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
        | st.sampled_from([b"", b"{", b'{"data": 1e400}', b'{"data": "\xff"}', b"[" * 500]),
        max_size=5,
    ).map(b"\n".join)
    | st.binary(max_size=20)
    | st.sampled_from(
        [b'{"data": "%b"}' % (b"x" * 300), b"x" * 70_000, b'{"data": 1}', b'{"data":1,"data":2}']
    )
)
REQUESTS = st.fixed_dictionaries(
    {
        "path": st.sampled_from(
            ["/api/publish"] * 6 + ["/api/broadcast"] * 2 + ["/api/publish/", "/api/publish?a=1"]
        )
    },
    optional={
        "start": st.sampled_from(
            ["POST {} HTTP/1.1"] * 4 + ["PUT {} HTTP/1.1", "POST http://localhost{} HTTP/1.1"]
        ),
        "host": st.sampled_from(["127.0.0.1:80", "evil.example", "", "LOCALHOST"]),
        "token": st.sampled_from(
            ["", "Authorization: Bearer wrong", "authorization:bearer  all ", "Authorization: Basic all"]
        ),
    },
)
HEADERS = st.lists(
    st.sampled_from(
        [
            "Content-Type: application/json",
            "Content-Type: application/json; charset=utf-8",
            f"Content-Type: {NDJSON}",
            f"Content-Type: {NDJSON}",
            f"content-type: {NDJSON.upper()}",
            "Content-Type: text/plain",
            "Connection: keep-alive",
            "Accept: */*",
            "X-Empty:",
            "Origin: https://example.org",
        ]
    ),
    max_size=3,
)


def test_a_request_is_answered_as_the_framework_answers_it(limited: ServerProcess) -> None:
    count = iter(range(10_000))

    @examples(150, deadline=None)
    @given(REQUESTS, HEADERS, BODIES)
    def compare(request: dict[str, Any], headers: list[str], body: bytes) -> None:
        n = next(count)
        direct = post(body.replace(b"KEY", b"%05d" % n), *headers, **request)
        framed = post(body.replace(b"KEY", b"%05d" % (n + 50_000)), *headers, TO_FRAMEWORK, **request)
        found = [answers(ask(limited, data + ASKED_NEXT)) for data in (direct, framed)]
        assert found[0] == found[1]

    compare()
    assert limited.faults == []


@pytest.fixture(params=["memory", "journal"])
def kept(request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path) -> ServerProcess:
    """A server whose log answers at once, and one whose log answers later."""
    flags = ("--journal", str(tmp_path / "journal"), "--journal-sync", "normal")
    server = start_server(*(flags if request.param == "journal" else ()), env={"WSCTL_TOKEN": TOKEN})
    ask(server, post(b'{"data": 1}', "Connection: close"))
    return server


def test_requests_on_one_connection_are_answered_in_order_however_they_are_cut(kept: ServerProcess) -> None:
    def body(n: int) -> bytes:
        return json.dumps({"data": n, "key": f"key-{n}"}).encode()

    kinds = [
        post(body(1)),
        post(b"\n".join(map(body, range(2, 302))), f"Content-Type: {NDJSON}"),
        post(body(302), TO_FRAMEWORK),
        post(body(303)),
        post(b"{"),
        post(body(304)),
        ASKED_NEXT,
    ]
    data = b"".join(kinds)
    for size in (len(data), 7000, 1000, 333):
        cut = [data[at : at + size] for at in range(0, len(data), size)]
        found = answers(ask(kept, *cut))
        assert [answer.status for answer in found] == [200, 200, 200, 200, 400, 200, 200]
        assert len(found[1].body.splitlines()) == 300
    status, told = kept.api("GET", "/api/status")
    assert (status, told["messages"]["published"]) == (200, 305)


@pytest.mark.anyio
async def test_a_server_that_drains_publishes_and_ends_the_connection(kept: ServerProcess) -> None:
    bob = await join(kept.ws_url, "bob")
    kept.api("POST", "/api/drain", {"timeout": 60})
    for headers in ((), (TO_FRAMEWORK,)):
        (answer,) = answers(await asyncio.to_thread(ask, kept, post(b'{"data": 1}', *headers)))
        assert (answer.status, answer.headers["connection"]) == (200, "close")
    assert (await receive_type(bob, "message"))["data"] == 1
    await bob.close()
