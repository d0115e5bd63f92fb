"""permessage-deflate: compressed once, the same bytes for all."""

import asyncio
import zlib

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from tests.conftest import StartServer
from tests.support.clients import closed, join, receive, receive_type
from tests.support.raw import RawClient, handshake, masked
from tests.support.server import ServerProcess
from wsctl.frame import DEFLATE_ABOVE, TEXT

pytestmark = pytest.mark.anyio

LONG = "0123456789abcdef" * 1024
"""16 KiB that compress well."""


async def deflating(ws_url: str, client_id: str) -> ClientConnection:
    connection = await connect(f"{ws_url}/ws/{client_id}", proxy=None)
    assert (await receive(connection))["type"] == "welcome"
    return connection


async def test_long_and_short_messages_reach_clients_with_and_without_it(start_server: StartServer) -> None:
    server = start_server()
    bob, eve = await deflating(server.ws_url, "bob"), await join(server.ws_url, "eve")
    assert "permessage-deflate" in bob.response.headers["Sec-WebSocket-Extensions"]  # type: ignore[union-attr]
    assert "Sec-WebSocket-Extensions" not in eve.response.headers  # type: ignore[union-attr]
    sent = [LONG, "short", LONG + "!", "", "x" * DEFLATE_ABOVE]
    for data in sent:
        server.api("POST", "/api/broadcast", {"data": data})
    await bob.send(LONG)
    server.api("POST", "/api/broadcast", {"data": "psst " + LONG, "to": ["bob"]})
    for client, expected in ((bob, [*sent, LONG, "psst " + LONG]), (eve, [*sent, LONG])):
        assert sorted([(await receive_type(client, "message"))["data"] for _ in expected]) == sorted(expected)
    await bob.close()
    await eve.close()


async def test_the_wire_is_shorter_by_it(start_server: StartServer) -> None:
    server = start_server()
    with RawClient(server.port) as bob:
        bob.send(handshake("/ws/bob", "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"))
        head = bob.read_head().lower()
        assert b"permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n" in head
        server.api("POST", "/api/broadcast", {"data": LONG})
        server.signal()
        bob.send(masked(8, (1000).to_bytes(2)))
        data = await asyncio.to_thread(bob.read_to_end)
    assert len(data) < 1000


async def test_what_arrives_compressed_is_bounded(server: ServerProcess) -> None:
    bob = await deflating(server.ws_url, "bob")
    await bob.send("x" * 65_536)
    assert len((await receive_type(bob, "message"))["data"]) == 65_536
    await bob.send("x" * 65_537)
    assert await closed(bob) == (1009, "a message may have 65536 bytes")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"\xff\xff\xff", 1007),
        (zlib.compress(b"the whole or nothing", wbits=-15)[:-6], 1007),
        (zlib.compress(b"the whole", wbits=-15) + zlib.compress(b" or nothing", wbits=-15)[:-4], 1007),
        (zlib.compress(bytes(1 << 24), 1, wbits=-15), 1009),
    ],
    ids=["damaged", "cut off", "a second stream that is cut off", "a bomb"],
)
async def test_hostile_compression_ends_that_client_alone(
    server: ServerProcess, payload: bytes, code: int
) -> None:
    client_id = f"bob-{zlib.crc32(payload)}"
    eve = await join(server.ws_url, "eve")
    with RawClient(server.port) as bob:
        bob.send(handshake(f"/ws/{client_id}", "Sec-WebSocket-Extensions: permessage-deflate"))
        bob.read_head()
        frame = bytearray(masked(TEXT, payload))
        frame[0] |= 0x40
        bob.send(bytes(frame))
        await asyncio.to_thread(bob.read_to_end)
    found = await asyncio.to_thread(server.wait_for_line, rf"disconnected client_id={client_id} .*code=(\d+)")
    assert int(found.group(1)) == code
    server.api("POST", "/api/broadcast", {"data": 1})
    assert (await receive_type(eve, "message"))["data"] == 1
    await eve.close()


async def test_a_message_of_two_streams_reaches_everybody_whole(server: ServerProcess) -> None:
    eve = await join(server.ws_url, "eve")
    with RawClient(server.port) as bob:
        bob.send(handshake("/ws/bob", "Sec-WebSocket-Extensions: permessage-deflate"))
        bob.read_head()
        frame = bytearray(
            masked(TEXT, b"".join(zlib.compress(w, wbits=-15) for w in (b"one ", b"two")) + b"\0")
        )
        frame[0] |= 0x40
        bob.send(bytes(frame))
        assert (await receive_type(eve, "message"))["data"] == "one two"
    await eve.close()


@pytest.mark.parametrize(
    "offer",
    ["client_max_window_bits=7", "client_max_window_bits=08", "client_no_context_takeover=1", "x; x"],
)
async def test_an_offer_that_is_not_valid_is_declined(server: ServerProcess, offer: str) -> None:
    with RawClient(server.port) as bob:
        bob.send(handshake("/ws/bob", f"Sec-WebSocket-Extensions: permessage-deflate; {offer}"))
        head = bob.read_head().lower()
        assert b" 101 " in head
        assert b"sec-websocket-extensions" not in head


@pytest.mark.parametrize("bits", [9, 11, 12, 15])
async def test_a_window_that_cannot_be_met_is_not_agreed_on(server: ServerProcess, bits: int) -> None:
    offer = ClientPerMessageDeflateFactory(server_max_window_bits=bits)
    async with connect(f"{server.ws_url}/ws/bob", proxy=None, compression=None, extensions=[offer]) as bob:
        assert (await receive(bob))["type"] == "welcome"
        agreed = bob.response.headers.get("Sec-WebSocket-Extensions", "")  # type: ignore[union-attr]
        assert ("server_max_window_bits=12" in agreed) == (bits >= 12)
        server.api("POST", "/api/broadcast", {"data": LONG})
        assert (await receive_type(bob, "message"))["data"] == LONG
