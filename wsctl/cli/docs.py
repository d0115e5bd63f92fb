"""`wsctl docs`."""

import difflib
import os
import re
import sys
from importlib.resources import files
from typing import Annotated

import typer

from wsctl.cli.options import parser

PAGES = ("quickstart", "examples", "architecture", "protocol", "deploy", "operations", "security")
"""The files of `wsctl/docs`, in the order in which somebody new reads them."""

WIDEST = 100
"""Columns of a page on a terminal that has more: longer lines are hard to read."""

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
    no_pager: Annotated[bool, typer.Option("--no-pager", help="Print it all at once.")] = False,
) -> None:
    """Show a page of the manual, or without TOPIC which there are.

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
    from wsctl.cli.ui.manual import laid_out, through_pager
    from wsctl.cli.ui.terminal import is_live

    # Links between the files are of use to a browser; here the command is.
    shown = laid_out(_PAGE_LINK.sub(r"\1 (`wsctl docs \2`)", text), sys.stdout, WIDEST)
    if not (pager and is_live(sys.stdout) and through_pager(shown, os.environ)):
        print(shown, end="")
