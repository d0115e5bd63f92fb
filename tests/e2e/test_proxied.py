"""What a real server believes of the headers of a request."""

import http.client
from pathlib import Path

import pytest
from websockets.asyncio.client import connect, unix_connect

from tests.conftest import StartServer
from tests.support.clients import receive_type
from tests.support.server import DEADLINE, ServerProcess

pytestmark = pytest.mark.anyio


async def address_of(server: ServerProcess, chain: str) -> str:
    """The address that the server has for a client whose handshake says this."""
    headers = {"X-Forwarded-For": chain}
    url = f"{server.ws_url}/ws/bob"
    async with connect(url, proxy=None, additional_headers=headers) as bob:
        await receive_type(bob, "welcome")
        (client,) = server.status()["clients"]
        return str(client["address"])


async def test_an_address_is_one_whatever_is_said(start_server: StartServer) -> None:
    server = start_server("--access-log", env={"FORWARDED_ALLOW_IPS": "6.6.6.6,127.0.0.1"})
    assert await address_of(server, "9.9.9.9, 6.6.6.6") == "6.6.6.6"  # uvicorn's variable is not heard
    assert (await address_of(server, "x" * 2000)).startswith("127.0.0.1:")
    assert (await address_of(server, "9.9.9.9, unknown")).startswith("127.0.0.1:")
    assert server.http("GET", "/health/live", headers={"X-Forwarded-For": "<eve1l>"})[0] == 200
    server.wait_for_line(r"127\.0\.0\.1:\d+.*/health/live")
    assert not [line for line in server.lines if "eve1l" in line or "xxx" in line]


@pytest.mark.parametrize(("proxies", "address"), [("127.0.0.1,0.0.0.0/0", ""), ("*", "192.0.2.7")])
async def test_on_a_unix_socket_a_proxy_is_believed_with_an_asterisk_alone(
    start_server: StartServer, runtime_dir: Path, proxies: str, address: str
) -> None:
    path = str(runtime_dir / "public")
    server = start_server("--uds", path, "--forwarded-allow-ips", proxies, serving='url="?(unix:)')
    said = {"X-Forwarded-For": "192.0.2.7"}
    async with unix_connect(path, "ws://localhost/ws/bob", additional_headers=said) as bob:
        await receive_type(bob, "welcome")
        (client,) = server.status()["clients"]
        assert client["address"] == address


def test_a_slash_too_many_leads_to_no_other_host(start_server: StartServer) -> None:
    server = start_server("--root-path", "/chat", "--allow-host", "evil.example")
    for path, place in (
        ("/docs/", "../docs"),
        ("/api/status/", "../status"),
        ("/health/?x=1", "../health?x=1"),
    ):
        assert led(server, path) == (307, place)
    for path in ("//evil.example/", "/none/", "//evil.example/%2e%2e/", "/docs//", "/%0d%0aX:y/"):
        assert led(server, path) == (404, None)


def led(server: ServerProcess, path: str) -> tuple[int, str | None]:
    """The status, and where a browser goes."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE)
    try:
        connection.request("GET", path, headers={"Host": "evil.example"})
        answer = connection.getresponse()
        answer.read()
        return answer.status, answer.headers["location"]
    finally:
        connection.close()
