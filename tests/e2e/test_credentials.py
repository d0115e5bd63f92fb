"""Who may connect, and for how long: real servers, every road."""

import asyncio
import base64
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jwt
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.conftest import StartServer
from tests.e2e.ways import embedded, module
from tests.support.clients import closed, join, receive_type
from tests.support.generations import Generations
from tests.support.issuer import Issuer, bearer
from tests.support.keys import SECRET, jwk, jwks, public_pem, signed, written
from tests.support.processes import children
from tests.support.raw import RawClient, handshake
from tests.support.server import ServerProcess, wsctl

pytestmark = pytest.mark.anyio

SHARED = "a-shared-t0ken+with/all=of.it"

Start = Callable[..., ServerProcess]


@pytest.fixture(params=[module, embedded])
def start(request: pytest.FixtureRequest, start_server: StartServer) -> Start:
    """A server of ours, and one that is not."""

    def begin(*flags: str) -> ServerProcess:
        server: ServerProcess = request.param(start_server, "--broadcast-interval", "0", *flags)
        return server

    return begin


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


@pytest.fixture
def shared(environ: dict[str, str], tmp_path: Path) -> tuple[str, ...]:
    """The flags of a server with one token for all, which it has from a file."""
    file = tmp_path / "shared"
    file.write_text(f"{SHARED}\n")
    environ["WSCTL_CLIENT_TOKEN_FILE"] = str(file)
    return ("--auth", "token")


def offered(token: str) -> list[Subprotocol]:
    """What a browser can send."""
    coded = base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")
    return [Subprotocol("wsctl"), Subprotocol(f"bearer.{coded}")]


async def refused(server: ServerProcess, client_id: str = "bob", query: str = "", **how: Any) -> str:
    """Why a client is not let in."""
    with pytest.raises(InvalidStatus) as caught:
        await join(server.ws_url, f"{client_id}{query}", **how)
    answer = caught.value.response
    error = json.loads(bytes(answer.body or b""))["error"]
    assert (answer.status_code, error["code"]) == (401, "bad_credentials")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    return str(error["message"])


async def test_a_shared_token_comes_in_a_header_or_as_a_subprotocol(
    start: Start, shared: tuple[str, ...]
) -> None:
    server = start(*shared)
    async with await join(server.ws_url, "ann", additional_headers=bearer(SHARED)) as ann:
        assert ann.subprotocol is None
        async with await join(server.ws_url, "bob", subprotocols=offered(SHARED)) as bob:
            assert bob.subprotocol == "wsctl"
            await bob.send("hello")
            assert (await receive_type(ann, "message"))["data"] == "hello"
    assert "Authorization: Bearer TOKEN" in await refused(server)
    assert "not the server's token" in await refused(server, additional_headers=bearer("an0ther"))
    assert "not the server's token" in await refused(server, subprotocols=offered("an0ther"))
    assert "from an address" in await refused(server, query=f"?access_token={quote(SHARED)}")


async def test_an_address_is_believed_when_that_is_switched_on(
    start: Start, shared: tuple[str, ...], environ: dict[str, str]
) -> None:
    environ["WSCTL_AUTH_QUERY"] = "1"
    server = start(*shared)
    async with await join(server.ws_url, f"bob?access_token={quote(SHARED)}"):
        assert "not the server's token" in await refused(server, query="?access_token=an0ther")


@pytest.mark.parametrize("algorithm", ["RS256", "EdDSA"])
async def test_a_token_lets_in_the_client_that_it_names(
    start_server: StartServer, tmp_path: Path, algorithm: str
) -> None:
    issuer = Issuer(tmp_path, algorithm)
    server = start_server(*issuer.flags, "--jwt-audience", "chat")
    async with await join(server.ws_url, "bob", additional_headers=bearer(issuer.token("bob", aud="chat"))):
        eves = bearer(issuer.token("eve", aud="chat"))
        assert "another client id" in await refused(server, additional_headers=eves)
        stale = bearer(issuer.token("bob", aud="chat", ttl=-1))
        assert "expired" in await refused(server, additional_headers=stale)
        assert "no aud" in await refused(server, additional_headers=bearer(issuer.token("bob")))


async def test_at_the_end_of_its_token_a_client_is_closed_unless_it_has_renewed(
    start: Start, issuer: Issuer
) -> None:
    server = start(*issuer.flags)
    ann, bob, eve = [
        await join(server.ws_url, name, additional_headers=bearer(issuer.token(name, ttl=2.0)))
        for name in ("ann", "bob", "eve")
    ]
    await ann.send(json.dumps({"type": "renew", "token": issuer.token("ann", ttl=3600)}))
    renewed = await receive_type(ann, "renewed")
    assert 3590 < renewed["expires_in_s"] <= 3600
    for token in (issuer.token("ann"), "n0ne", None, 5):
        await bob.send(json.dumps({"type": "renew", "token": token}))
        assert (await receive_type(bob, "error"))["code"] == "renewal_refused"
    for client in (bob, eve):
        code, reason = await closed(client)
        assert (code, reason) == (4403, "the credentials have expired: connect with new ones")
    # Of what was renewed and refused nobody has heard anything.
    await ann.send("still here")
    assert [(await receive_type(ann, "message"))["data"]] == ["still here"]
    await ann.close()


async def test_a_renewal_is_no_message_where_nothing_ends(start: Start, shared: tuple[str, ...]) -> None:
    server = start(*shared)
    async with await join(server.ws_url, "bob", additional_headers=bearer(SHARED)) as bob:
        await bob.send("before")
        seen = (await receive_type(bob, "message"))["id"]
        for token in ({"token": SHARED}, {"token": "t0p"}, {}):
            frame = {"type": "renew"} | token
            await bob.send(json.dumps(frame))
            assert (await receive_type(bob, "error"))["code"] == "renewal_refused"
        await bob.send("hello")
        assert (await receive_type(bob, "message"))["data"] == "hello"
    async with await join(server.ws_url, f"eve?since={seen}", additional_headers=bearer(SHARED)) as eve:
        assert (await receive_type(eve, "message"))["data"] == "hello"


async def test_where_credentials_are_not_asked_for_those_that_are_sent_stay_with_the_server(
    start: Start,
) -> None:
    server = start("--auth", "none")
    async with await join(server.ws_url, "bob") as bob:
        await bob.send(json.dumps({"type": "renew", "token": "t0p"}))
        assert (await receive_type(bob, "error"))["code"] == "renewal_refused"
        text = '{"type": "renew"}'
        await bob.send(text)
        assert (await receive_type(bob, "message"))["data"] == text


def test_a_handshake_that_is_unusual_is_held_to_the_same(
    start_server: StartServer, shared: tuple[str, ...]
) -> None:
    server = start_server(*shared)
    coded = offered(SHARED)[1]
    for lines, status in (
        ((), b"401"),
        (("Authorization: Bearer an0ther",), b"401"),
        ((f"Authorization: Bearer {SHARED}",), b"101"),
        (("Authorization: Basic dTpw", f"Sec-WebSocket-Protocol: wsctl,{coded}"), b"101"),
    ):
        whole = handshake("/ws/bob", *lines)
        twice = whole.replace(b"\r\n\r\n", b"\r\nSec-WebSocket-Protocol: wsctl\r\n\r\n")
        for pieces in ([whole], [whole[:40], whole[40:]], [twice]):
            with RawClient(server.port) as client:
                for piece in pieces:
                    client.send(piece)
                head = client.read_head()
                assert head.split(b" ")[1] == status
                assert SHARED.encode() not in head
                assert coded.encode() not in head


def test_what_is_offered_without_auth_is_answered_by_our_name_alone(start_server: StartServer) -> None:
    server = start_server()
    for offer, answer in (("chat", b""), ("chat, wsctl", b"Sec-WebSocket-Protocol: wsctl\r\n")):
        with RawClient(server.port) as client:
            client.send(handshake("/ws/bob", f"Sec-WebSocket-Protocol: {offer}"))
            head = client.read_head()
            assert head.startswith(b"HTTP/1.1 101 ")
            assert (b"Sec-WebSocket-Protocol" in head, answer in head) == (bool(answer), True)


async def test_an_end_moves_with_its_connection(start_server: StartServer, issuer: Issuer) -> None:
    server = Generations(start_server(*issuer.flags, "--broadcast-interval", "0"))
    anns = bearer(issuer.token("ann", ttl=3600))
    try:
        async with await join(server.first.ws_url, "ann", additional_headers=anns) as ann:
            bob = await moved(server, issuer, "bob")
            assert (await closed(bob))[0] == 4403
            await ann.send(json.dumps({"type": "renew", "token": issuer.token("ann", ttl=0.5)}))
            assert (await receive_type(ann, "renewed"))["expires_in_s"] <= 0.5
            assert (await closed(ann))[0] == 4403
    finally:
        server.kill()


async def moved(server: Generations, issuer: Issuer, client_id: str) -> ClientConnection:
    """A connection that soon ends, and has gone on in another process before that."""
    for ttl in (2.0, 8.0, 32.0):
        token = issuer.token(client_id, ttl)
        client = await join(server.first.ws_url, client_id, additional_headers=bearer(token))
        outcome = await asyncio.to_thread(server.upgrade)
        if outcome["moved"] == 2:
            return client
    raise AssertionError("no handover was quick enough")


def test_a_key_that_cannot_be_read_is_no_secret(environ: dict[str, str], tmp_path: Path) -> None:
    broken = written(tmp_path, "jwks.json", jwks(jwk("RS256", "first"))[:-1] + b",}")
    flags = ("--auth", "jwt", "--jwt-key", str(broken))
    done = wsctl("serve", "--port", "0", *flags, environ=environ)
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert "looks like JSON" in done.stderr
    checked = wsctl("check", "--port", "0", *flags, environ=environ)
    assert checked.returncode == 1
    assert "looks like JSON" in " ".join(checked.stdout.split())


async def test_another_kind_of_key_is_not_taken_over(start_server: StartServer, tmp_path: Path) -> None:
    key = written(tmp_path, "key", jwks(jwk("EdDSA", "first")))
    flags = ("--auth", "jwt", "--jwt-key", str(key), "--broadcast-interval", "0")
    server = Generations(start_server(*flags))
    token = {"sub": "bob", "exp": time.time() + 600}
    right = bearer(signed("EdDSA", token, kid="first"))
    try:
        server.first.wait_for_line("tokens are checked algorithm=EdDSA kids=first")
        for other, why in (
            (SECRET, "has a shared secret now, and the server that runs checks with public keys"),
            (b"<html>502 Bad Gateway, and enough bytes for a secret</html>", "looks like markup"),
        ):
            key.write_bytes(other)
            outcome = await asyncio.to_thread(server.upgrade)
            assert outcome["state"] == "failed"
            assert why in outcome["error"]
            forged = bearer(jwt.encode(token, other, "HS256"))
            await refused(server.first, additional_headers=forged)
            await (await join(server.first.ws_url, "bob", additional_headers=right)).close()
        key.write_bytes(jwks(jwk("EdDSA", "first"), jwk("RS256", "second")))
        assert (await asyncio.to_thread(server.upgrade))["state"] == "done"
        server.first.wait_for_line(r'algorithm="EdDSA, RS256" kids="first, second"')
        for made in (right, bearer(signed("RS256", token, kid="second"))):
            await (await join(server.first.ws_url, "bob", additional_headers=made)).close()
    finally:
        server.kill()


def test_a_worker_that_is_started_again_takes_no_other_kind_of_key(
    start_server: StartServer, issuer: Issuer
) -> None:
    server = start_server(*issuer.flags, "--workers", "2")
    issuer.checks.write_bytes(public_pem("EdDSA"))
    os.kill(int(server.status()["workers"][0]["pid"]), signal.SIGKILL)
    server.wait_for_line("a worker cannot start for now.*public keys now.*checks with a shared secret")
    issuer.checks.write_bytes(SECRET)
    server.stop()


def lets_in(server: ServerProcess, token: str) -> bool:
    """Whether a client may connect with this token."""
    with RawClient(server.port) as bob:
        bob.send(handshake("/ws/bob", f"Authorization: Bearer {token}"))
        return b" 101 " in bob.read_head()


def test_a_token_that_cannot_be_read_is_not_taken_over(
    start_server: StartServer, shared: tuple[str, ...], environ: dict[str, str]
) -> None:
    server = Generations(start_server(*shared))
    file = Path(environ["WSCTL_CLIENT_TOKEN_FILE"])
    try:
        for other, why in (("", "the client token is empty"), ('{"errors":[]}', "looks like JSON")):
            file.write_text(other)
            outcome = server.upgrade()
            assert outcome["state"] == "failed"
            assert why in outcome["error"]
        assert lets_in(server.first, SHARED)
    finally:
        server.kill()


def test_workers_whose_token_cannot_be_read_any_more_go_on(
    start_server: StartServer, shared: tuple[str, ...], environ: dict[str, str]
) -> None:
    server = start_server(*shared, "--workers", "2")
    file = Path(environ["WSCTL_CLIENT_TOKEN_FILE"])
    file.write_text("")
    os.kill(min(children(server.pid)), signal.SIGKILL)
    server.wait_for_line("cannot start for now.*the client token is empty")
    assert lets_in(server, SHARED)
    assert not [line for line in server.lines if "exit_code=2" in line]


def test_workers_say_once_what_is_wrong_with_the_key(environ: dict[str, str], tmp_path: Path) -> None:
    flags = ("--port", "0", "--workers", "2", "--auth", "jwt", "--jwt-key", str(tmp_path / "none.pem"))
    wrong = wsctl("serve", *flags, environ=environ)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (3, 1)
    assert "none.pem: No such file" in wrong.stderr


# Secrets


LINUX = pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="looks at /proc")


def command_lines(pids: set[int]) -> str:
    """What anybody on the machine can read of processes."""
    return "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)


async def each_road(server: ServerProcess, token: str) -> None:
    """Show it everywhere where it can be shown, rightly and wrongly."""
    coded = offered(token)
    for how in ({"additional_headers": bearer(token)}, {"subprotocols": coded}, {}):
        query = "" if how else f"?access_token={quote(token)}&x=1"
        async with await join(server.ws_url, f"bob{query}", **how) as bob:
            await bob.send(json.dumps({"type": "renew", "token": token}))
            await bob.send(json.dumps({"type": "renew", "token": token})[:-1])
            await receive_type(bob, "error")
        with pytest.raises(InvalidStatus) as caught:
            await join(server.ws_url, f"eve{query}", **how)
        body = bytes(caught.value.response.body or b"").decode()
        assert not leaks([body, str(caught.value.response.headers)], token)
    await asyncio.to_thread(server.http, "GET", f"/ws/bob?access_token={quote(token)}")
    await asyncio.to_thread(server.http, "GET", "/health", None, bearer(token))


def leaks(texts: list[str], *secrets: str) -> list[str]:
    """Those in which a secret is, as it is or as it travels; the beginning is enough."""
    spelled = [form[:24] for secret in secrets for form in (secret, quote(secret), offered(secret)[1][7:])]
    spelled += [secret.rpartition(".")[2] for secret in secrets]
    return [text for text in texts if any(form in text for form in spelled)]


@LINUX
async def test_a_secret_is_nowhere_to_be_read(
    start_server: StartServer, issuer: Issuer, environ: dict[str, str]
) -> None:
    environ |= {"WSCTL_AUTH_QUERY": "1", "WSCTL_ACCESS_LOG": "1", "WSCTL_LOG_LEVEL": "debug"}
    server = Generations(start_server(*issuer.flags, "--broadcast-interval", "0"))
    token, secret = issuer.token("bob"), issuer.signs.read_text()
    try:
        await each_road(server.first, token)
        pids = {server.pid}
        await asyncio.to_thread(server.upgrade)
        await each_road(server.first, token)
        texts = [json.dumps(server.status()), command_lines(pids - {server.first.pid} | {server.pid})]
        server.first.wait_for_line(r"GET /ws/bob\?access_token=\*\*\*")
        assert not leaks([*texts, *server.first.lines], token, secret)
    finally:
        server.kill()


@LINUX
async def test_nor_of_workers(start_server: StartServer, issuer: Issuer, environ: dict[str, str]) -> None:
    environ |= {"WSCTL_AUTH_QUERY": "1", "WSCTL_ACCESS_LOG": "1", "WSCTL_LOG_LEVEL": "debug"}
    server = start_server(*issuer.flags, "--workers", "2")
    token = issuer.token("bob")
    await each_road(server, token)
    texts = [json.dumps(server.status())]
    texts.append(command_lines({server.pid} | children(server.pid)))
    assert not leaks([*texts, *server.lines], token, issuer.signs.read_text())


@pytest.mark.parametrize("level", ["info", "trace"])
async def test_nor_under_a_server_that_is_not_ours(
    start_server: StartServer, issuer: Issuer, environ: dict[str, str], level: str
) -> None:
    environ |= {"WSCTL_AUTH": "jwt", "WSCTL_JWT_KEY": str(issuer.checks)}
    environ |= {"WSCTL_AUTH_QUERY": "1", "WSCTL_LOG_LEVEL": "debug"}
    uvicorn = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--port", "0", "--log-level", level)
    server = start_server(command=uvicorn, serving=r"running on (\S+)")
    token = issuer.token("bob")
    await each_road(server, token)
    server.wait_for_line(r"access_token=\*\*\*")
    assert not leaks(server.lines, token, issuer.signs.read_text())


# Who lets everybody in


OPEN = r"anyone who reaches (\S+) may connect and publish, under any id, and then gets its direct messages"


SHARED_IDS = "whoever has the clients' token may connect under any id, and then gets its direct messages"


def told(server: ServerProcess) -> int:
    return sum(bool(re.search(OPEN, line)) for line in server.lines)


def test_a_server_that_lets_everybody_in_from_everywhere_says_so_once(start_server: StartServer) -> None:
    server = Generations(start_server("--host", "0.0.0.0"))
    try:
        assert server.first.wait_for_line(OPEN).group(1) == f"0.0.0.0:{server.port}"
        assert server.upgrade()["state"] == "done"
        assert server.first_ended() == 0
        assert told(server.first) == 1
    finally:
        server.kill()


def test_so_do_workers_as_one(start_server: StartServer) -> None:
    server = start_server("--host", "0.0.0.0", "--workers", "2")
    code, answer = server.api("POST", "/api/upgrade", {"wait": True})
    assert code < 300, answer
    server.wait_for_line(r"upgraded")
    assert told(server) == 1


def test_so_does_one_that_is_not_ours(start_server: StartServer) -> None:
    uvicorn = (sys.executable, "-m", "uvicorn", "wsctl.main:app", "--host", "0.0.0.0", "--port", "0")
    server = start_server(command=uvicorn, serving=r"running on (\S+)")
    server.wait_for_line(OPEN)
    assert server.stop() in (0, -signal.SIGTERM)
    assert told(server) == 1


def test_who_asks_or_is_for_this_machine_alone_says_nothing(
    start_server: StartServer, shared: tuple[str, ...], runtime_dir: Path
) -> None:
    for flags in (
        ("--host", "0.0.0.0", *shared),
        ("--host", "127.0.0.1"),
        ("--uds", str(runtime_dir / "public")),
    ):
        server = start_server(*flags)
        assert server.stop() == 0
        assert told(server) == 0
        assert any(SHARED_IDS in line for line in server.lines) is (shared[0] in flags)
