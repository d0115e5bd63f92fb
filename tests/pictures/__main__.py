"""Record README's pictures anew: `python -m tests.pictures`, on a quiet machine, in under a minute.

Each is a real terminal (or two) in which commands of wsctl run, written beside this file as NAME.svg. One
that does not show what README says of it, since the machine was busy, is not written.
"""

import asyncio
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import environ_of
from tests.pictures.recording import recorded, type_slowly
from tests.pictures.svg import svg
from tests.support.clients import join
from tests.support.server import WSCTL, ServerProcess, wsctl
from tests.support.terminal import Terminal

FOLDER = Path(__file__).parent
COLUMNS = 112
PROMPT = "$ "


def main() -> None:
    names = sys.argv[1:] or list(PICTURES)
    refused = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            try:
                (FOLDER / f"{name}.svg").write_text(PICTURES[name](_environ(Path(folder))))
            except SystemExit as why:
                refused.append(f"{name}: {why}")
    sys.exit("\n".join(refused) or None)


def upgrade(environ: dict[str, str], clients: int = 1000, seconds: int = 12) -> str:
    """A load on a server, which is replaced twice meanwhile."""
    server = ServerProcess.start("--broadcast-interval", "0", "--rate", "0", environ=environ)
    try:
        with _shell(environ, 12) as load, _shell(environ, 9) as operator:
            started = time.monotonic()
            with (
                recorded(load, "a load", started) as above,
                recorded(operator, "the operator", started) as below,
            ):
                type_slowly(load, f"wsctl stress --clients {clients} --rate 20 --duration {seconds}\r")
                _wait(lambda: f"{clients} of {clients}" in load.text)
                for times in (1, 2):
                    type_slowly(operator, "wsctl upgrade\r")
                    _wait(lambda times=times: operator.text.count("upgraded:") == times)
                    _wait_for_prompt(operator)
                _wait_for_prompt(load)
        wanted = [f"moved {clients}, draining 0"] * 2
        require(operator.text, wanted)
        require(
            load.text, ["missed 0", f"connected {clients} of {clients}"], unless="messages were sent, not"
        )
        shown = (
            f"{clients} clients get 20 messages a second while the server is replaced twice; none is missed."
        )
        return svg([above, below], COLUMNS, shown)
    finally:
        wsctl("drain", environ=environ)  # whichever process serves now
        server.kill()


def drain(environ: dict[str, str], clients: int = 10, seconds: int = 12) -> str:
    """A server that drains after Ctrl-C, while its clients leave when it asks each of them to."""
    with _shell(environ, 24) as operator:
        started = time.monotonic()
        with recorded(operator, "the server", started) as recording:
            type_slowly(operator, f"wsctl serve --port 0 --reconnect-window {seconds}\r")
            found = _wait(lambda: re.search(r"serving url=http(://\S+)", operator.text))
            crowd = threading.Thread(target=lambda: asyncio.run(_leave_when_asked(f"ws{found[1]}", clients)))
            crowd.start()
            _wait(lambda: operator.text.count(" connected ") == clients)
            operator.type("\x03")
            crowd.join()
            _wait_for_prompt(operator)
        require(operator.text, [f'how="{clients} left by themselves"'])
    return svg([recording], COLUMNS, f"{clients} clients leave one by one; a bar shows how many are left.")


PICTURES: dict[str, Callable[[dict[str, str]], str]] = {"upgrade": upgrade, "drain": drain}


def require(shown: str, wanted: Sequence[str], unless: str = "\0") -> None:
    """Leave the picture as it is where a terminal does not show what is wanted, as often as it is wanted, or
    shows what is not.

    Raises:
        SystemExit: with what is missing.
    """
    words = " ".join(shown.split())
    missing = [each for each in wanted if words.count(each) < wanted.count(each)]
    if missing or unless in words:
        raise SystemExit(
            f"the picture stays as it was: it {f'lacks {missing[0]!r}' if missing else f'has {unless!r}'}; "
            f"record it on a quiet machine\n{shown}"
        )


async def _leave_when_asked(url: str, clients: int) -> None:
    async def leave(name: str) -> None:
        socket = await join(url, name)
        async for text in socket:
            if found := re.search(r'"reconnect_in_s":\s*([\d.]+)', str(text)):
                await asyncio.sleep(float(found[1]))
                await socket.close()

    await asyncio.gather(*(leave(f"client-{number}") for number in range(1, clients + 1)))


@contextmanager
def _shell(environ: dict[str, str], lines: int) -> Iterator[Terminal]:
    """bash in which `wsctl` is this checkout's."""
    terminal = Terminal(
        ["bash", "--norc", "--noprofile", "-i"], environ | {"PS1": PROMPT}, columns=COLUMNS, lines=lines
    )
    try:
        terminal.type(f'wsctl() {{ {" ".join(WSCTL)} "$@"; }}; clear\r')
        terminal.wait_for(lambda text: text == PROMPT.strip())
        yield terminal
    finally:
        terminal.close()


def _environ(folder: Path) -> dict[str, str]:
    return environ_of(folder) | {"PATH": os.environ["PATH"]}


def _wait_for_prompt(terminal: Terminal) -> None:
    """Wait until what was typed has ended: what is typed sooner is shown before the prompt, too."""
    _wait(lambda: terminal.text.endswith(f"\n{PROMPT.strip()}"))


def _wait(found: Callable[[], Any], deadline: float = 60.0) -> Any:
    until = time.monotonic() + deadline
    while not (value := found()):
        if time.monotonic() > until:
            raise TimeoutError("the terminal never showed it")
        time.sleep(0.05)
    return value


if __name__ == "__main__":
    main()
