"""Templates: text with placeholders `@{name}`, a form that none of the languages in them uses."""

import re
from collections.abc import Mapping
from importlib.resources import files
from textwrap import indent

_PLACEHOLDER = re.compile(r"^(?P<margin>[ \t]*)@\{(?P<line>[a-z_]+)\}\n|@\{(?P<word>[a-z_]+)\}", re.MULTILINE)


def read_template(name: str) -> str:
    """Read one of the files in `wsctl/templates`."""
    return (files("wsctl") / "templates" / name).read_text(encoding="utf-8")


def fill_template(template: str, values: Mapping[str, str]) -> str:
    """Return the template with each placeholder filled; what is filled in is not looked at again.

    A line that is nothing but a placeholder becomes as many lines as its value has, each as far to the right,
    and goes when that is empty.

    Raises:
        KeyError: a placeholder has no value.
    """

    def fill(found: re.Match[str]) -> str:
        if found["word"]:
            return values[found["word"]]
        lines = values[found["line"]].rstrip("\n")
        return indent(lines, found["margin"]) + "\n" if lines else ""

    return _PLACEHOLDER.sub(fill, template)
