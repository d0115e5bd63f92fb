"""A picture on a terminal, which a signal does not leave behind half drawn."""

import sys
from pathlib import Path

from tests.support.terminal import Terminal

PROGRAM = """
import os, signal, sys
from rich.console import Console
from rich.text import Text
from wsctl.cli.ui.live import Picture

class Interrupts:
    def __rich_console__(self, console, options):
        yield Text("the first line")
        os.kill(os.getpid(), signal.SIGINT)
        yield Text("the second line")

picture = Picture(Console(file=sys.stdout), transient=True)
try:
    picture.show(Text("before" * {drawn_before}))
    picture.show(Interrupts())
    print("not interrupted")
except KeyboardInterrupt:
    picture.stop()
    print("interrupted")
assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
"""


def screen_after(drawn_before: int, folder: Path) -> list[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM.format(drawn_before=drawn_before))
    terminal = Terminal([sys.executable, str(program)], {"TERM": "xterm-256color"})
    try:
        assert terminal.wait() == 0, terminal.text
        return [line.rstrip() for line in terminal.text.splitlines() if line.strip()]
    finally:
        terminal.close()


def test_ctrl_c_waits_until_the_picture_is_drawn_and_takes_it_away(tmp_path: Path) -> None:
    assert screen_after(1, tmp_path) == ["interrupted"]
    assert screen_after(0, tmp_path) == ["interrupted"]
