"""Templates: text with placeholders `@{name}`, a form that none of the languages in them uses, and the words
of these languages, each quoted so that it is read back as it was."""

import json
import re
from collections.abc import Mapping
from importlib.resources import files
from textwrap import indent

from wsctl.errors import UsageError

_PLACEHOLDER = re.compile(r"^(?P<margin>[ \t]*)@\{(?P<line>[a-z_]+)\}\n|@\{(?P<word>[a-z_]+)\}", re.MULTILINE)

_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)

_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
"""Control characters, other line breaks, and what is no text: some of the languages cannot write them."""


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


def check_writable(name: str, text: str) -> None:
    """Refuse, with a `UsageError`, a text with characters that do not belong into a file of settings. The
    text is not repeated: there may be a secret in it."""
    if found := _UNWRITABLE.search(text):
        raise UsageError(f"{name} has the character {found[0]!a}, which no file of settings can hold")


def unit_path(text: str) -> str:
    """Return a path in a unit of systemd, where % begins a specifier (systemd.unit(5)): never quoted."""
    return text.replace("%", "%%")


def unit_word(text: str) -> str:
    """Return a word of a unit, where only % means something (systemd.syntax(7)): `Environment=`."""
    return _quoted(unit_path(text))


def command_word(text: str, before: str = "") -> str:
    """Return a word of a command line in a unit, where $ means something too (systemd.service(5)). What comes
    `before` it in the word is taken as it is, with its specifiers."""
    return _quoted(before + unit_path(text).replace("$", "$$"))


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def nginx_word(text: str) -> str:
    """Return a word of an nginx configuration, in a directive that takes no variables."""
    return _quoted(text)


def json_word(text: str) -> str:
    """Return a string of JSON, which is one of YAML too: what YAML reads otherwise cannot be written
    anyway."""
    return json.dumps(text, ensure_ascii=False)


def dollars(text: str) -> str:
    """Return a text for Compose and for args and env of Kubernetes, where $ begins a variable."""
    return text.replace("$", "$$")


def yaml_word(text: str) -> str:
    """Return a string of YAML for Compose and for args and env of Kubernetes."""
    return json_word(dollars(text))


def env_word(text: str) -> str:
    """Return the value of ENV in a Dockerfile, where $ begins a variable."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'
