"""The characters of others that no client of ours shows raw."""

import unicodedata

_JOINERS = "\u200c\u200d"
"""Scripts and emoji are written with them."""

HIDDEN = [
    character
    for character in map(chr, range(0x110000))
    if unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp"} and character not in _JOINERS
] + ["\ud800"]
"""Control characters, what turns the writing direction, what separates lines and paragraphs, what is not
seen, and half of a character. U+001B, U+009B, U+202E and U+2028 are among them."""

IN_PAGES = [character for character in HIDDEN if character not in "\n\t"]
"""The same for pages, where a line may break."""


def among(characters: list[str]) -> str:
    """A text with each of them, between marks."""
    return "begin<" + "|".join(characters) + ">end"


def seen_in(text: str, characters: list[str]) -> list[str]:
    """Those that are there, by their numbers."""
    return [f"U+{ord(character):04X}" for character in characters if character in text]
