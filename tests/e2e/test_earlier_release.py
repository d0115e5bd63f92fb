"""Upgrades from a release that had no event streams, and back to it."""

import asyncio
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wsctl
from tests.conftest import StartServer
from tests.support.clients import join, receive_type
from tests.support.event_streams import StreamClient, messages_of
from tests.support.generations import Generations, starting_generations

pytestmark = pytest.mark.anyio

BEFORE_STREAMS = "56c898103820473d04e391776dc85bfd760e9f3c"
"""The last commit of this repository without event streams."""

ROOT = Path(__file__).parent.parent.parent


class Releases:
    """The programs of two releases, one of which is in `folder` at a time."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        git = ("git", "-C", str(ROOT), "archive", BEFORE_STREAMS, "wsctl")
        archive = subprocess.run(git, capture_output=True, check=False)
        if archive.returncode:
            pytest.skip("needs the history of the repository")
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as earlier:
            earlier.extractall(folder / "before", filter="data")
        source, ignored = Path(wsctl.__file__).parent, shutil.ignore_patterns("__pycache__")
        shutil.copytree(source, folder / "now" / "wsctl", ignore=ignored)

    def install(self, name: str) -> None:
        """Put one in place of the other."""
        link = self.folder / "wsctl"
        link.unlink(missing_ok=True)
        link.symlink_to(self.folder / name / "wsctl")


@pytest.fixture
def releases(tmp_path: Path) -> Releases:
    return Releases(tmp_path)


@pytest.fixture
def server(start_server: StartServer, releases: Releases) -> Iterator[Generations]:
    """A server of the earlier release."""
    releases.install("before")
    with starting_generations(start_server) as start:
        yield start("--reconnect-window", "1", cwd=releases.folder, cold=True)


async def test_websockets_move_to_and_fro_and_streams_are_asked_to_come_back(
    server: Generations, releases: Releases
) -> None:
    async def upgrade(to: str) -> tuple[int, int]:
        server.status()  # so that it imports nothing more of what it is
        releases.install(to)
        outcome = await asyncio.to_thread(server.upgrade)
        assert outcome["state"] == "done", outcome
        return outcome["moved"], outcome["staying"]

    async def publish(data: str) -> int:
        status, answer = await asyncio.to_thread(server.api, "POST", "/api/broadcast", {"data": data})
        assert status == 200, answer
        assert (await receive_type(eve, "message"))["data"] == data
        return int(answer["recipients"])

    eve: Any = await join(server.first.ws_url, "eve")
    assert await upgrade("now") == (1, 0)
    async with StreamClient.connect(server.port, "/events/bob") as bob:
        await bob.event("welcome")
        assert await publish("to both") == 2
        assert await bob.messages(1) == ["to both"]
        assert await upgrade("before") == (1, 1)
        await bob.end()
        assert [event.type for event in bob.events[-2:]] == ["shutdown", "close"]
        assert json.loads(bob.events[-1].data)["code"] == 1012
    assert await publish("to her alone") == 1
    assert await upgrade("now") == (1, 0)
    async with StreamClient.connect(server.port, "/events/bob", Last_Event_ID=bob.last_id) as bob:
        assert await bob.messages(1) == ["to her alone"]
        assert (await bob.event("welcome"))["recovered"] is True
        assert messages_of(bob.events) == ["to her alone"]
    await eve.close()
