"""How the values of a command line are read: as Typer does, but without pydantic, whose import takes a
quarter of a server's start."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import typer
from typer.core import TyperArgument, TyperOption

from wsctl.settings import boolean

Params = TypeVar("Params", bound=Iterable[object])

_READERS: dict[Any, Callable[[Any], Any]] = {str: str, list[str]: str, Path: Path, bool: boolean}
"""What reads a text, by the parameter's annotation, where the parameter has no parser of its own."""


class PlainValues:
    """The reader of one parameter's values: None, where nothing was given, one value, or a list."""

    def __init__(self, read: Callable[[Any], Any]) -> None:
        self._read = read

    def coerce(self, value: Any, param: TyperArgument | TyperOption, ctx: typer.Context) -> Any:
        """Read what was given; the names of the arguments are Typer's.

        Raises:
            BadParameter: it cannot be read.
        """
        several = param.multiple or param.nargs == -1
        if value is None:
            return () if several else None
        try:
            return [self._read(each) for each in value] if several else self._read(value)
        except ValueError as error:
            raise typer.BadParameter(str(error), ctx=ctx, param=param) from None


def read_plainly(params: Params) -> Params:
    """Have parameters read their values without pydantic, where their annotation is one that commands here
    have; returns them."""
    for param in params:
        if isinstance(param, TyperArgument | TyperOption):
            described = param.type_descriptor
            read = described.parameter_info.parser or _READERS.get(described.annotation)
            if read:
                # Typer makes the parameters itself, and asks each for this.
                param.get_runtime_param = partial(PlainValues, read)  # type: ignore[method-assign,assignment]
    return params
