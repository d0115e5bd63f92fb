"""`wsctl docs`."""

import difflib
import os
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from importlib.resources import files
from typing import Annotated, TextIO

import typer

from wsctl.cli.options import parser

PAGES = (
    "quickstart",
    "examples",
    "python",
    "applications",
    "architecture",
    "topics",
    "protocol",
    "log",
    "deploy",
    "flags",
    "operations",
    "performance",
    "security",
)
"""The files of `wsctl/docs`, in the order in which somebody new reads them."""

WIDEST = 100
"""Columns of a page on a terminal that has more: longer lines are hard to read."""

STYLES = {"markdown.code": "bold cyan", "markdown.code_block": "cyan"}
"""The styles of code: rich's own have a black background, which stands out on a light terminal."""

_LESS = "FRX"
"""The options of less, as git has them: quit when all fits on one screen (F), pass colours on (R), leave the
text there (X)."""

_NOT_FOUND = 127
"""The exit code of a shell when there is no such program (POSIX, Shell Command Language 2.8.2)."""

_PAGE_LINK = re.compile(r"\[([^]]+)\]\(([a-z]+)\.md(?:#[a-z0-9-]+)?\)")


def _topic(text: str) -> str:
    word = text.strip().lower().removesuffix(".md")
    if word in PAGES:
        return word
    near = difflib.get_close_matches(word, PAGES, 1)
    advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(PAGES)}"
    raise ValueError(f"there is no page {text!r}: {advice}")


def docs(
    topic: Annotated[
        str | None,
        typer.Argument(
            parser=parser(_topic, "TOPIC"),
            autocompletion=lambda: list(PAGES),
            metavar="TOPIC",
            help=f"{', '.join(PAGES)}.",
            show_default=False,
        ),
    ] = None,
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Print the page without a pager.")] = False,
) -> None:
    """Show a page of the manual, or without TOPIC the list of pages.

    On a terminal it is laid out and goes through $PAGER (less unless set); elsewhere it is the Markdown.
    """
    if topic is None:
        print("\n".join(f"{name:<14}{summary(page(name))}" for name in PAGES))
        print("\nRead one with: wsctl docs TOPIC", file=sys.stderr)
    elif not sys.stdout.isatty():
        print(page(topic), end="")
    else:
        _show(page(topic), pager=not no_pager)


def page(topic: str) -> str:
    """Return the Markdown of a page."""
    return (files("wsctl") / "docs" / f"{topic}.md").read_text(encoding="utf-8")


def summary(text: str) -> str:
    """Return the subject of a page: the line below its title."""
    return text.split("\n")[2]


def _show(text: str, *, pager: bool) -> None:
    from wsctl.cli.ui.streams import is_live

    # Links between the files are of use to a browser; here the command is.
    shown = _laid_out(_PAGE_LINK.sub(r"\1 (`wsctl docs \2`)", text), sys.stdout, WIDEST)
    if not (pager and is_live(sys.stdout) and _through_pager(shown, os.environ)):
        print(shown, end="")


def _laid_out(markdown: str, stream: TextIO, widest: int) -> str:
    """Lay out Markdown as text for a terminal, as wide as that is, at most `widest` columns."""
    from rich.console import Console
    from rich.markdown import Markdown
    from rich.theme import Theme

    from wsctl.cli.ui.streams import has_colour

    console = Console(file=stream, theme=Theme(STYLES), highlight=False, no_color=not has_colour(stream))
    console.width = min(console.width, widest)
    with console.capture() as captured:
        console.print(Markdown(markdown, code_theme="ansi_dark", hyperlinks=False))
    return captured.get()


def _through_pager(text: str, environ: Mapping[str, str]) -> bool:
    """Show the text with `PAGER`, or with less, and wait until its reader is done. False where there is none,
    or none is wanted: `PAGER` is empty or `cat`."""
    import subprocess

    command = environ.get("PAGER", "less" if shutil.which("less") else "").strip()
    if command in {"", "cat"}:
        return False
    process = subprocess.Popen(  # noqa: S602 - a pager is a command of a shell, as git and man have it
        command, shell=True, stdin=subprocess.PIPE, env={"LESS": _LESS, **environ}
    )
    # Ctrl-C is the pager's: less goes on after it, and would share the terminal with a shell if this ended.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.communicate(text.encode())
    finally:
        signal.signal(signal.SIGINT, before)
    return process.returncode != _NOT_FOUND
