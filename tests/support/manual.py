"""The manual, taken apart: its blocks, its commands, what it names."""

import re
import shlex
from collections.abc import Iterator
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parents[2] / "wsctl" / "docs"

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_IN_LINE = re.compile(r"`([^`]+)`")
_SECTION = re.compile(r"^## (.+)$", re.MULTILINE)

BEFORE_A_COMMAND = frozenset({"sudo", "exec", "env", "do", "then", "while", "until", "if", "!"})
"""Words of a shell behind which a command stands."""


class Block(NamedTuple):
    """A fenced block: its language and the words behind that, its text, and where it is."""

    page: str
    section: str
    line: int
    language: str
    words: frozenset[str]
    text: str

    def __str__(self) -> str:
        return f"{self.page}.md:{self.line}"


def pages() -> dict[str, str]:
    """The text of each page, by its name."""
    return {path.stem: path.read_text(encoding="utf-8") for path in sorted(FOLDER.iterdir())}


def blocks(name: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _FENCE.finditer(text):
        language, *words = found[1].split() or [""]
        before = text[: found.start()]
        section = ["", *_SECTION.findall(before)][-1]
        yield Block(name, section, before.count("\n") + 1, language, frozenset(words), found[2])


def prose(text: str) -> str:
    """A page without its blocks."""
    return _FENCE.sub("", text)


def quoted(text: str) -> list[str]:
    """What stands between backticks in the prose of a page, each on one line."""
    return [" ".join(found.split()) for found in _IN_LINE.findall(prose(text))]


def commands(block: str) -> Iterator[list[str]]:
    """The arguments of each `wsctl ...` in a block, as a shell would give them."""
    for line in block.replace("\\\n", " ").splitlines():
        text = re.sub(r"^(\$ |ExecStart=|([\d*/,-]+\s+){5})", "", line.strip())
        for words in _simple_commands(text) if "wsctl" in text else ():
            command = list(dropwhile(_stands_before, words))
            if len(command) > 1 and re.fullmatch(r"(.*/bin/)?wsctl", command[0]):
                yield command[1:]


def _stands_before(word: str) -> bool:
    return word in BEFORE_A_COMMAND or re.match(r"\w+=", word) is not None


def _simple_commands(line: str) -> list[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = [[]]
    try:
        for token in lexer:
            if set(token) <= set("<>"):
                next(lexer, None)  # the file that a stream is led to
            elif set(token) <= set("();<>|&"):
                found.append([])
            else:
                found[-1].append(token)
    except ValueError:  # a quote that ends on another line: nothing of ours
        return []
    return found
