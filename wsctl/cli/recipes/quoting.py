"""Quoting in the languages of the files: a text as one word, which is read back as it was."""

import json
import re

from wsctl.errors import UsageError

_PLAIN = re.compile(r"[\w@%+=:,./-]+", re.ASCII)

_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ud800-\udfff\ufffe\uffff]")
"""Control characters, other line breaks, and what is no text: some of the languages cannot write them."""


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


def command_word(text: str) -> str:
    """Return a word of a command line in a unit, where $ means something too (systemd.service(5))."""
    return _quoted(unit_path(text).replace("$", "$$"))


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


def env_word(text: str) -> str:
    """Return the value of ENV in a Dockerfile, where $ begins a variable."""
    return '"' + re.sub(r'([\\"$])', r"\\\1", text) + '"'
