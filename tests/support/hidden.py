"""The characters of others that no client of ours shows raw."""

import functools
from unicodedata import category

_JOINERS = "\u200c\u200d"
"""Scripts and emoji are written with them."""


@functools.cache
def in_categories(*categories: str) -> list[str]:
    """All characters of these Unicode categories. Looking takes a quarter of a second."""
    return [character for character in map(chr, range(0x110000)) if category(character) in categories]


@functools.cache
def hidden() -> list[str]:
    """Control characters, what turns the writing direction, what separates lines and paragraphs, what is not
    seen, and half of a character. U+001B, U+009B, U+202E and U+2028 are among them."""
    return [c for c in in_categories("Cc", "Cf", "Zl", "Zp") if c not in _JOINERS] + ["\ud800"]


def hidden_in_pages() -> list[str]:
    """The same for pages, where a line may break."""
    return [character for character in hidden() if character not in "\n\t"]


def among(characters: list[str]) -> str:
    """A text with each of them, between marks."""
    return "begin<" + "|".join(characters) + ">end"


def seen_in(text: str, characters: list[str]) -> list[str]:
    """Those that are there, by their numbers."""
    return [f"U+{ord(character):04X}" for character in characters if character in text]
