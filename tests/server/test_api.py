"""The routes as an ASGI server calls them."""

import httpx
import pytest

from wsctl.drain.progress import HandoverProgress
from wsctl.server.app import create_app
from wsctl.server.node import Node
from wsctl.settings import Settings

pytestmark = pytest.mark.anyio


class Succeeded:
    """A handover after which a successor serves."""

    failures = 0
    leaving = True

    def begin(self, by: str) -> None:
        """Do nothing: it is over."""

    async def wait_until_over(self) -> None:
        """Return: it is over."""

    def progress(self) -> HandoverProgress | None:
        return None


async def test_a_process_with_a_successor_tells_probes_that_the_address_takes_clients() -> None:
    node = Node(Settings(), [])
    node.started()
    node.driver.begin_handover()
    node.driver.finish_handover()
    transport = httpx.ASGITransport(create_app(node))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        assert (await client.get("/health/ready")).status_code == 503
        node.handover = Succeeded()
        assert (await client.get("/health/ready")).status_code == 200
