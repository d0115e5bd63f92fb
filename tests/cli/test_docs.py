"""`wsctl docs`."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.support.manual import blocks
from tests.support.programs import need
from tests.support.server import DEADLINE, WSCTL
from tests.support.terminal import Terminal
from wsctl.cli.app import run
from wsctl.cli.docs import PAGES, page, summary
from wsctl.codes import ExitCode

ESCAPE = b"\x1b["

Open = Callable[..., Terminal]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def open_page(environ: dict[str, str]) -> Iterator[Open]:
    """`wsctl ARGUMENTS` on a terminal of so many columns and lines."""
    with ExitStack() as stack:

        def start(*arguments: str, columns: int = 80, lines: int = 300, **env: str) -> Terminal:
            kept = {name: text for name, text in environ.items() if name not in {"PAGER", "LESS"}}
            terminal = Terminal([*WSCTL, *arguments], kept | env, columns, lines)
            stack.callback(terminal.close)
            return terminal

        yield start


def test_without_a_topic_the_pages_are_listed_with_what_they_are_about(capsys: Capture) -> None:
    assert run(["docs"]) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [f"{name:<14}{summary(page(name))}" for name in PAGES]
    assert "wsctl docs TOPIC" in told.err


@pytest.mark.parametrize("name", PAGES)
def test_a_page_on_a_pipe_is_its_markdown(name: str, capsys: Capture) -> None:
    assert run(["docs", name]) == 0
    assert capsys.readouterr() == (page(name), "")


def test_a_page_is_found_by_the_name_of_its_file(capsys: Capture) -> None:
    assert run(["docs", "Protocol.md"]) == 0
    assert capsys.readouterr().out == page("protocol")


@pytest.mark.parametrize(("topic", "advice"), [("deplyo", "did you mean deploy?"), ("x", ", ".join(PAGES))])
def test_an_unknown_page_is_one_line_with_what_may_be_meant(topic: str, advice: str, capsys: Capture) -> None:
    assert run(["docs", topic]) == ExitCode.USAGE
    told = capsys.readouterr()
    assert (told.out, len(told.err.splitlines())) == ("", 1)
    assert advice in told.err


@pytest.mark.parametrize("columns", [80, 120])
def test_on_a_terminal_a_page_is_laid_out_within_its_columns(open_page: Open, columns: int) -> None:
    terminal = open_page("docs", "architecture", columns=columns, lines=600, PAGER="cat")
    assert terminal.wait() == 0
    shown = [line.strip() for line in terminal.text.splitlines()]
    assert "Architecture" in shown
    assert "## Floors" not in shown
    # A line of a diagram is not broken, and neither are those of the text further than at 100 columns.
    diagram, *_ = blocks("architecture", page("architecture"))
    assert {line.strip() for line in diagram.text.splitlines()} <= set(shown)
    assert max(map(len, shown)) <= min(columns, 100)
    assert ESCAPE in terminal.raw


def test_links_between_pages_are_commands_on_a_terminal(open_page: Open) -> None:
    terminal = open_page("docs", "quickstart", PAGER="")
    assert terminal.wait() == 0
    assert "protocol (wsctl docs protocol)" in terminal.text
    assert ".md" not in terminal.text


@pytest.mark.parametrize(
    ("arguments", "env"),
    [(("--no-color", "docs", "protocol"), {}), (("docs", "protocol"), {"NO_COLOR": "1"})],
)
def test_colour_can_be_declined(open_page: Open, arguments: tuple[str, ...], env: dict[str, str]) -> None:
    terminal = open_page(*arguments, PAGER="cat", **env)
    assert terminal.wait() == 0
    assert b"Limits" in terminal.raw
    assert b"\x1b[3" not in terminal.raw
    assert b";3" not in terminal.raw


def test_a_dumb_terminal_gets_no_escape_and_no_pager(open_page: Open) -> None:
    terminal = open_page("docs", "protocol", TERM="dumb", PAGER="false")
    assert terminal.wait() == 0
    assert "Limits" in terminal.text
    assert b"\x1b" not in terminal.raw


def press_until_shown(terminal: Terminal, key: str, wanted: str) -> None:
    """Press a key again and again: less drops what is typed while it is interrupted."""
    until = time.monotonic() + DEADLINE
    while wanted not in terminal.text:
        terminal.type(key)
        with suppress(AssertionError):
            terminal.wait_for(wanted, deadline=1.0)
        assert time.monotonic() < until, terminal.text


def test_less_is_the_pager_unless_told_and_goes_on_after_ctrl_c(open_page: Open) -> None:
    need("less")
    terminal = open_page("docs", "protocol", lines=20)
    terminal.wait_for(lambda text: text.endswith(":"))
    assert "Protocol" in terminal.text
    seen = len(terminal.raw)
    terminal.type("\x03")
    terminal.wait_for(lambda _: len(terminal.raw) > seen)
    press_until_shown(terminal, "G", "(END)")
    terminal.type("q")
    assert terminal.wait() == 0


def test_what_fits_on_one_screen_is_just_printed(open_page: Open) -> None:
    need("less")
    terminal = open_page("docs", "quickstart", lines=300)
    assert terminal.wait() == 0
    assert "Quickstart" in terminal.text


def test_the_pager_of_the_environment_is_used(open_page: Open) -> None:
    terminal = open_page("docs", "quickstart", PAGER="grep -c quick; echo paged")
    assert terminal.wait() == 0
    assert terminal.text.endswith("paged")


def test_no_pager_prints_it_all(open_page: Open) -> None:
    terminal = open_page("docs", "quickstart", "--no-pager", lines=300, PAGER="echo paged")
    assert terminal.wait() == 0
    assert "paged" not in terminal.text
    assert "Quickstart" in terminal.text


def test_a_pager_that_is_not_there_leaves_the_page(open_page: Open) -> None:
    terminal = open_page("docs", "quickstart", PAGER="no-such-pager")
    assert terminal.wait() == 0
    assert "Quickstart" in terminal.text
