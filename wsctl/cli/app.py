"""The command tree and its help as plain text, and the one place where a failure becomes a line and an exit
code."""

import copy
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import Abort, TyperException

from wsctl import __version__
from wsctl.cli.broadcast import broadcast
from wsctl.cli.check import check
from wsctl.cli.client import client
from wsctl.cli.completions import completions
from wsctl.cli.dashboard import dashboard
from wsctl.cli.disconnect import disconnect
from wsctl.cli.docs import docs
from wsctl.cli.drain import drain
from wsctl.cli.generate import generate
from wsctl.cli.journal import journal
from wsctl.cli.serve import serve
from wsctl.cli.status import status
from wsctl.cli.stress import stress
from wsctl.cli.token import token
from wsctl.cli.ui.text import printable, say
from wsctl.cli.upgrade import upgrade
from wsctl.cli.values import read_plainly
from wsctl.codes import ExitCode
from wsctl.errors import WsctlError

WHOLE = 1000
"""Characters of a command's first sentence that are shown: more than any has."""


class GroupedCommand(TyperCommand):
    """A command whose options stand in help under the group that each names as `rich_help_panel`; those
    without one come first. Typer itself groups only where rich draws the help, which is slow to load."""

    def get_params(self, ctx: Any) -> Any:
        return read_plainly(super().get_params(ctx))

    def format_options(self, ctx: Any, formatter: Any) -> None:
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for param in self.get_params(ctx):
            if row := param.get_help_record(ctx):
                plain = "Arguments" if param.param_type_name == "argument" else "Options"
                sections.setdefault(getattr(param, "rich_help_panel", None) or plain, []).append(row)
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class CommandTree(TyperGroup):
    """The program: without arguments it shows its help, and there each command's first sentence whole."""

    def get_params(self, ctx: Any) -> Any:
        return read_plainly(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, args or ["--help"])

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        shown = [(name, command) for name, command in self.commands.items() if not command.hidden]
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(WHOLE)) for name, command in shown])


app = typer.Typer(
    name="wsctl",
    help="WebSocket broadcasting that can be redeployed at noon.",
    cls=CommandTree,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: nothing cut off on a narrow terminal, and nothing imported for it
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"wsctl {__version__}")
        raise typer.Exit


def _colourless(asked: bool) -> None:
    if asked:
        os.environ["NO_COLOR"] = "1"


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    no_color: Annotated[
        bool, typer.Option("--no-color", callback=_colourless, is_eager=True, help="No colour anywhere.")
    ] = False,
) -> None:
    """WebSocket broadcasting that can be redeployed at noon."""


COMMANDS = (
    serve,
    check,
    client,
    broadcast,
    status,
    disconnect,
    dashboard,
    drain,
    upgrade,
    stress,
    token,
    journal,
    generate,
    docs,
    completions,
)

for command in COMMANDS:
    app.command(cls=GroupedCommand)(command)


def _program(arguments: Sequence[str]) -> Any:
    """Return the command tree; where the name of a command comes first, it has that one alone, since building
    all takes ten milliseconds. Only `completions` is about the others, too."""
    chosen = [each for each in COMMANDS if arguments[:1] == [each.__name__] and each is not completions]
    if not chosen:
        return typer.main.get_command(app)
    program = copy.copy(app)
    program.registered_commands = [each for each in app.registered_commands if each.callback in chosen]
    return typer.main.get_command(program)


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns its exit code."""
    try:
        result = _program(arguments).main(args=list(arguments), prog_name="wsctl", standalone_mode=False)
    except TyperException as error:
        return _say(f"{error.format_message()}{_hint(error)}", error.exit_code)
    except WsctlError as error:
        return _say(str(error), error.exit_code, error.details)
    except (KeyboardInterrupt, Abort):
        return ExitCode.OPERATOR
    except BrokenPipeError:
        # Whoever read our output has gone; nothing more can be told.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.ERROR
    except OSError as error:
        return _say(_plain(error), ExitCode.ERROR)
    return int(result or 0)


def _say(text: str, code: int, details: Iterable[str] = ()) -> int:
    with suppress(OSError):  # where nobody reads it any more, the code still tells
        say(text)
        for line in details:
            print(f"  {printable(line)}", file=sys.stderr, flush=True)
    return code


def _plain(error: OSError) -> str:
    """Give the system's reason without its number."""
    if not error.strerror:
        return str(error)
    return f"{error.filename}: {error.strerror}" if error.filename else error.strerror


def _hint(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    return f" (see '{context.command_path} --help')" if context else ""
