"""The command tree as plain facts, in the order help shows it: what can be completed."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args, get_origin

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

from wsctl.settings import FLAGS, variable

_FILE_METAVARS = {"FILE", "PATH"}

_SETTING_WORDS: dict[str, tuple[str, ...]] = {
    variable(f.name): get_args(f.type) for f in FLAGS if get_origin(f.type) is Literal
}
"""Settings with a fixed set of words, by their variable: their options read text, and cannot tell."""


@dataclass(frozen=True)
class Value:
    """The value of an option or an argument: one of some words, a file, or a text that nobody can guess."""

    metavar: str
    words: tuple[str, ...]

    @property
    def is_file(self) -> bool:
        return self.metavar in _FILE_METAVARS


@dataclass(frozen=True)
class Option:
    """An option under all its names.

    Attributes:
        value: None for a flag.
        repeats: True if it may be given several times.
        opposite: the names of the flag that says the contrary.
    """

    names: tuple[str, ...]
    help: str
    value: Value | None
    repeats: bool = False
    opposite: tuple[str, ...] = ()


@dataclass(frozen=True)
class Argument:
    """A word that is no option; the last one of a command may repeat."""

    value: Value
    repeats: bool


@dataclass(frozen=True)
class Command:
    """A sub-command."""

    name: str
    help: str
    options: tuple[Option, ...]
    arguments: tuple[Argument, ...]


@dataclass(frozen=True)
class Tree:
    """The program: the options that stand before the command, and the commands."""

    options: tuple[Option, ...]
    commands: tuple[Command, ...]


def read(tree: TyperGroup) -> Tree:
    """Return the facts of a command tree; what help hides stays hidden."""
    root = typer.Context(tree, **tree.context_settings)
    commands = (
        _command(name, cast(TyperCommand, command), root)
        for name, command in tree.commands.items()
        if not command.hidden
    )
    return Tree(tuple(_options(tree, root)), tuple(commands))


def _command(name: str, command: TyperCommand, root: typer.Context) -> Command:
    context = typer.Context(command, parent=root)
    arguments = (
        Argument(_value(param, context), repeats=param.nargs == -1)
        for param in command.params
        if isinstance(param, TyperArgument) and not param.hidden
    )
    text = command.get_short_help_str(limit=200)
    return Command(name, text, tuple(_options(command, context)), tuple(arguments))


def _options(command: TyperCommand | TyperGroup, context: typer.Context) -> Iterator[Option]:
    for param in command.params:
        if isinstance(param, TyperOption) and not param.hidden:
            yield from _forms(param, context)
    # Typer keeps the names of the help option in a set.
    names = sorted(command.get_help_option_names(context), key=len)
    yield Option(tuple(names), "Show this message and exit.", value=None)


def _forms(param: TyperOption, context: typer.Context) -> Iterator[Option]:
    """Return the option, and its `--no-` form where it has one."""
    text = " ".join((param.help or "").split())
    value = None if param.is_flag or param.count else _value(param, context)
    names, opposite = tuple(param.opts), tuple(param.secondary_opts)
    yield Option(names, text, value, param.multiple or param.count, opposite)
    if opposite:
        yield Option(opposite, f"The opposite of {names[0]}.", value, param.multiple, names)


def _value(param: TyperOption | TyperArgument, context: typer.Context) -> Value:
    words = _SETTING_WORDS.get(str(param.envvar)) or tuple(
        item.value for item in param.shell_complete(context, "") if item.type == "plain"
    )
    return Value(param.metavar or param.name.upper(), words)
