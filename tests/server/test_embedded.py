"""The end of a host once the drain of the application in it is over."""

import signal
import subprocess
import sys

import pytest

from tests.support.server import DEADLINE

HOST = """
import asyncio, signal, sys
from wsctl.server.embedded import create_embedded_app
from wsctl.settings import from_environ

async def main():
    app = create_embedded_app(from_environ({}), {})
    async with app.router.lifespan_context(app):
        app.state.node.driver.drain()
        await asyncio.Event().wait()

for name in sys.argv[1:]:
    signal.signal(signal.Signals[name], lambda signum, _: sys.exit(f"the host's own {signum.name}"))
asyncio.run(main())
"""


@pytest.mark.parametrize("handled", [[], ["SIGINT"]])
def test_a_host_that_does_not_handle_sigterm_gets_it_all_the_same(handled: list[str]) -> None:
    host = subprocess.run(
        [sys.executable, "-c", HOST, *handled], capture_output=True, timeout=DEADLINE, check=False
    )
    assert host.returncode == -signal.SIGTERM


def test_a_host_that_handles_sigterm_is_asked_by_its_own_handler() -> None:
    host = subprocess.run(
        [sys.executable, "-c", HOST, "SIGTERM"], capture_output=True, timeout=DEADLINE, check=False
    )
    assert host.returncode == 1
    assert b"the host's own" in host.stderr
