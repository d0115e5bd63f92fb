"""What a person sees who presses Ctrl-C."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from websockets.protocol import State

from tests.support.clients import join, receive_type
from tests.support.server import WSCTL
from tests.support.terminal import Terminal

pytestmark = pytest.mark.anyio

Open = Callable[..., Terminal]

HINT = b"close everybody now"

PRINTED = re.compile(r"^http(://127\.0\.0\.1:\d+)$", re.MULTILINE)
"""The address on stdout, where the kernel picks the port."""


@pytest.fixture
def terminal(environ: dict[str, str]) -> Iterator[Open]:
    with ExitStack() as stack:

        def start(*flags: str, before: tuple[str, ...] = (), env: dict[str, str] | None = None) -> Terminal:
            made = Terminal([*WSCTL, *before, "serve", "--port", "0", *flags], environ | (env or {}))
            stack.callback(made.close)
            return made

        yield start


def address(terminal: Terminal) -> str:
    found = re.search(r"serving url=http(://\S+)", terminal.wait_for("serving url="))
    assert found
    return "ws" + found[1]


async def test_ctrl_c_shows_a_bar_with_the_log_above_it(terminal: Open) -> None:
    server = terminal("--broadcast-interval", "0")
    url = address(server)
    bob, eve = await join(url, "bob"), await join(url, "eve")
    server.type("\x03")
    screen = server.wait_for("2 of 2 connected")
    assert "remaining 29:5" in screen or "remaining 30:00" in screen
    assert "longest: bob" in screen
    await receive_type(bob, "shutdown")
    await bob.close()
    screen = server.wait_for("1 of 2 connected")
    assert "longest: eve" in screen
    lines = screen.splitlines()
    assert "1 of 2 connected" in lines[-2]
    assert lines[-1] == "Ctrl-C: close everybody now"
    assert len([line for line in lines if "connected" in line and "elapsed" in line]) == 1
    assert any("disconnected client_id=bob" in line for line in lines[:-2])
    server.wait_for(lambda text: "elapsed 0:01" in text)
    await eve.close()
    assert server.wait() == 0
    assert "elapsed 0:" not in server.text
    ended = re.search(r"disconnected client_id=eve.*drained .*left=2", server.text.replace("\n", ""))
    assert ended, server.text
    assert 'how="2 left by themselves"' in server.text.replace("\n", "")


async def test_ctrl_c_again_a_second_later_forces(terminal: Open) -> None:
    server = terminal()
    bob = await join(address(server), "bob")
    server.type("\x03")
    server.wait_for(lambda text: "elapsed 0:01" in text)
    server.type("\x03")
    assert server.wait() == 130
    await bob.wait_closed()
    assert bob.close_code == 1012


@pytest.mark.parametrize("workers", [(), ("--workers", "2")], ids=["alone", "workers"])
@pytest.mark.parametrize("level", ["info", "warning"])
async def test_ctrl_c_again_at_once_is_answered(terminal: Open, level: str, workers: tuple[str, ...]) -> None:
    server = terminal("--broadcast-interval", "0", "--log-level", level, *workers)
    found = PRINTED.search(server.wait_for(lambda text: bool(PRINTED.search(text))))
    assert found
    bob = await join(f"ws{found[1]}", "bob")
    server.type("\x03")
    server.wait_for("Ctrl-C: close everybody now")
    pictures = server.raw.count(HINT)
    server.wait_for(lambda _: server.raw.count(HINT) > pictures)  # a quarter of a second later
    server.type("\x03")
    server.wait_for("Ctrl-C again: close everybody now")
    assert ("Ctrl-C again to close everybody now" in server.text) == (level == "info")
    assert bob.state is State.OPEN
    server.wait_for(lambda text: "elapsed 0:01" in text)
    server.type("\x03")
    assert server.wait() == 130
    await bob.wait_closed()
    assert bob.close_code == 1012


@pytest.mark.parametrize(
    ("flags", "env", "coloured"),
    [
        ((), {}, True),
        ((), {"NO_COLOR": "1"}, False),
        (("--no-color",), {}, False),
        ((), {"TERM": "dumb"}, False),
    ],
    ids=["a terminal", "NO_COLOR", "--no-color", "TERM=dumb"],
)
async def test_colour_is_for_terminals_that_want_it(
    terminal: Open, flags: tuple[str, ...], env: dict[str, str], coloured: bool
) -> None:
    server = terminal(before=flags, env=env)
    bob = await join(address(server), "bob")
    server.type("\x03")
    await receive_type(bob, "shutdown")
    await bob.close()
    assert server.wait() == 0
    assert (b"\x1b[3" in server.raw) == coloured
