"""Bytes that nobody should send, from many peers at once, at one server: it goes on as if nothing were.

Every example is a crowd of peers. Each says its piece and then that it has no more to say, so that none has
to be waited for; what they are answered is read to its end.
"""

import asyncio
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st

from tests.conftest import StartServer
from tests.e2e.ways import Way, embedded, module
from tests.support import frames
from tests.support.clients import join, receive_type
from tests.support.raw import handshake, heard, masked
from tests.support.server import DEADLINE, ServerProcess
from tests.support.sizes import examples
from wsctl.codes import CloseCode, can_be_sent
from wsctl.frame import BINARY, CLOSE, CONTINUATION, PING, PONG, TEXT

pytestmark = pytest.mark.anyio

EXAMPLES = 60
"""Crowds for each kind of bytes and each server: about two seconds."""

PEERS = 8
"""Peers of a crowd: together they cost little more than one of them."""

PATIENCE = 5.0
"""Seconds in which a peer that has said everything is answered and cut: loopback and a busy machine."""

SPARE_MIB = 16
"""Of memory that a server may have more at the end: what its allocator keeps. A leak of what hundreds of
peers have sent would be more."""

STATUSES = {101, 200, 400, 403, 404, 405, 408, 413, 426, 431, 501}
"""What a damaged handshake may be answered with."""

SPURIOUS = "ASGI callable returned without completing handshake"
"""What uvicorn 0.54 logs of a handshake that the application has refused with an answer of its own."""

OPENING = handshake("/ws/peer")
COMMANDING = handshake("/ws/peer?topic=a.*", "Sec-WebSocket-Protocol: wsctl.2, wsctl")


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """Valid bytes with some of them left out, doubled or replaced."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = at + draw(st.integers(0, 6))
        data[at:end] = draw(st.binary(max_size=6) | st.just(bytes(data[at:end] * 2)))
    return bytes(data)


LINES = st.sampled_from(
    [
        *("Host:", "Host: [", "Host: a b", "Upgrade: h2c", "Connection: close", "Expect: 100-continue"),
        *("Sec-WebSocket-Version: 0", "Sec-WebSocket-Version: 13, 13", "Sec-WebSocket-Key: \xff"),
        *("Content-Length: 0", "Content-Length: -1", "Content-Length: 9", "Transfer-Encoding: chunked"),
        *("Sec-WebSocket-Extensions: ;,=", "Sec-WebSocket-Protocol: ,,", "Origin: \x80://", "Cookie: a=b"),
        "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99",
        *("X-Forwarded-For: ,", "X-Forwarded-Proto: \xff", "Authorization: \xe9", "Authorization: Bearer"),
    ]
)
PATHS = st.sampled_from(
    [
        "/ws/peer",
        "/ws/%",
        "/ws/%00",
        "/ws/%ff%fe",
        "/ws/a?since",
        "/ws/a?since=%ff",
        *(
            "/ws/a?topic",
            "/ws/a?topic=a..b&topic=c",
            "/ws/a?topic=%ff&since=1-0",
            "/ws/a?" + "topic=a&" * 200,
        ),
        "//ws/a",
        "*",
        "/ws/server",
    ]
)
HANDSHAKES = st.one_of(
    st.binary(max_size=80),
    damaged(OPENING),
    st.builds(lambda path, lines: handshake(path, *lines), PATHS, st.lists(LINES, max_size=4)),
    st.text(st.characters(codec="latin-1"), max_size=30).map(lambda path: handshake(f"/ws/{path}")),
)

OPCODES = st.sampled_from([CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG, 3, 15])
PIECES = st.builds(
    lambda opcode, payload, fin: masked(opcode, payload, fin=fin),
    OPCODES,
    st.binary(max_size=130),
    st.booleans(),
)
TEXTS = st.text(max_size=20).map(lambda text: masked(TEXT, text.encode(errors="surrogatepass")))
FRAMES = st.one_of(st.binary(max_size=40), st.lists(PIECES | TEXTS, max_size=5).map(b"".join)).flatmap(
    lambda data: st.just(data) | damaged(data)
)


TOPICS = st.sampled_from(["a.b", "a.*", ">", "a..b", "", "\x00", "a" * 200]) | st.text(max_size=4)
FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["publish", "subscribe", "unsubscribe", "presence", "renew", "dance"])},
    optional={
        "ref": st.integers() | st.text(max_size=70) | st.none() | st.lists(st.none(), max_size=1),
        "data": st.recursive(st.none() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=2)),
        "topic": TOPICS,
        "topics": st.lists(TOPICS, max_size=3),
        "since": st.sampled_from(["1-0", "x y", ""]),
        "events": st.booleans() | st.none(),
        "to": st.lists(st.sampled_from(["peer", "server", "-"]), max_size=2),
        "key": st.text(max_size=3),
        "token": st.text(max_size=3),
    },
)
HOSTILE = st.sampled_from(
    ["{", "[" * 5000, '{"type":"publish","data":' + "[" * 900 + "]" * 900 + "}", '{"a":1e999}', "9" * 5000]
)
COMMANDS = st.lists(
    (FIELDS.map(json.dumps) | HOSTILE).map(lambda text: masked(TEXT, text.encode())), max_size=6
)
SAID = {"handshakes": HANDSHAKES, "frames": FRAMES, "commands": COMMANDS.map(b"".join) | FRAMES}
OPENINGS = {"handshakes": b"", "frames": OPENING, "commands": COMMANDING}
"""By kind of what is fuzzed, what peers say, and what goes before it."""


async def exchange(port: int, said: bytes) -> bytes:
    """What comes back for it, to the end of the connection."""
    async with asyncio.timeout(PATIENCE):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(said)
            writer.write_eof()
            return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()


async def crowd(port: int, each: list[bytes]) -> list[bytes]:
    return await asyncio.gather(*(exchange(port, said) for said in each))


def accepted(answer: bytes) -> bytes | None:
    """What follows a 101; None when the handshake was not accepted. Fails when it was answered wrongly."""
    head, whole, rest = answer.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    assert bool(status) == bool(whole) == bool(answer), answer[:200]
    if not status:
        return None
    assert int(status[1]) in STATUSES, answer[:200]
    return rest if status[1] == b"101" else None


def judge(stream: bytes) -> None:
    """What a peer was sent obeys the protocol, whatever it has sent itself."""
    ended = False
    for opcode, payload in heard(stream):
        assert not ended, "something follows the close frame"
        if opcode == TEXT:
            frames.read(payload)
        elif opcode == CLOSE:
            ended = True
            code = int.from_bytes(payload[:2]) if payload else CloseCode.NORMAL
            assert can_be_sent(code), payload  # it may be the peer's own, sent back
        else:
            assert opcode in (PING, PONG)


def resources(server: ServerProcess) -> tuple[int, float]:
    """Open descriptors, and resident memory in MiB."""
    proc = Path(f"/proc/{server.pid}")
    if not proc.exists():
        pytest.skip("needs /proc")
    resident = re.search(r"VmRSS:\s+(\d+)", (proc / "status").read_text())
    assert resident
    return len(os.listdir(proc / "fd")), int(resident[1]) / 1024


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("way", [module, embedded])
async def test_whatever_peers_send_harms_themselves_alone(
    start_server: StartServer, way: Way, kind: str
) -> None:
    server = way(start_server, "--rate", "0", "--broadcast-interval", "0")
    loop = asyncio.get_running_loop()
    neighbours = [await join(server.ws_url, name) for name in ("ann", "bob")]
    told = 0

    async def attacked(each: list[bytes]) -> None:
        nonlocal told
        opened = [OPENINGS[kind] + said for said in each]
        for answer in await crowd(server.port, opened):
            stream = accepted(answer)
            assert stream is not None or kind == "handshakes", answer
            judge(stream or b"")
        told += 1
        await neighbours[0].send(f"still here {told}")
        for neighbour in neighbours:
            while (await receive_type(neighbour, "message"))["data"] != f"still here {told}":
                pass

    def run(each: list[bytes]) -> None:
        asyncio.run_coroutine_threadsafe(attacked(each), loop).result(DEADLINE)

    await crowd(server.port, [OPENING] * PEERS * 2)
    before = resources(server)
    fuzzed = given(st.lists(SAID[kind], min_size=1, max_size=PEERS))(run)
    bound = examples(EXAMPLES, suppress_health_check=list(HealthCheck))
    await asyncio.to_thread(bound(fuzzed))
    async with asyncio.timeout(DEADLINE):
        while resources(server)[0] > before[0]:
            await exchange(server.port, OPENING)
    assert resources(server)[1] < before[1] + SPARE_MIB
    for neighbour in neighbours:
        await neighbour.close()
    assert server.http("GET", "/health")[0] == 200
    assert not [line for line in server.faults if SPURIOUS not in line]
