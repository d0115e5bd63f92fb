"""Client ids: their form, in which two that look the same to a person are the same, or one is refused.

The tables of invisible characters and of what looks like `server` are an approximation that needs no library:
the reserved name has four letters, of which Unicode Technical Standard 39 lists about a hundred doubles. Most
are compatibility forms, which form NFKC folds.
"""

import re
import unicodedata
from collections.abc import Sequence

MAX_CLIENT_ID = 128
"""Characters in a client id: longer than any UUID, e-mail local part or host name in use."""

MAX_DECOMPOSED = 4 * MAX_CLIENT_ID
"""Code points of a client id before it is composed: no character decomposes into more than four."""

MAX_MARKS = 30
"""Combining marks in a row (UAX #15, stream-safe text): no script writes so many, and the time to order them
grows with their square."""

SERVER = "server"
"""The id that no client may have: the `from` of messages that none sent."""

_ID_SHAPE = re.compile(r"[^\W_][\w.@:+~-]*")

_UNSEEN = re.compile(
    "["
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f"
    "\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U00013441\U00013442\U00016fe4"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    "]"
)
"""Code points that show nothing: those with the property Default_Ignorable_Code_Point (Unicode 16,
DerivedCoreProperties.txt), and blanks and fillers that count as letters or marks."""

_DOUBLES = {
    "s": "\u0455\ua731\u01bd\u0d1f\uabaa\U000118c1\U00010448"
    "\u0405\u054f\u13d5\u13da\ua4e2\U00016f3a\U00010296\U00010420",
    "e": "\uab32\u0435\u04bd\u1d07\u0395\u0415\u2d39\u13ac\ua4f0\U000118a6\U000118ae\U00010286",
    "r": "\uab47\uab48\u1d26\u2c85\u0433\uab81\u0280\u01a6\u13a1\u13d2\U000104b4\u1587\ua4e3\U00016f35",
    "v": "\u1d20\u03bd\u0475\u05d8\U00011706\uaba9\U000118c0"
    "\u0667\u06f7\u0474\u2d38\u13d9\u142f\ua6df\ua4e6\U00016f08\U000118a0\U0001051d",
}
"""Letters and digits that confusables.txt (UTS 39, version 17) maps to one of `server`, small or capital, and
that NFKC leaves as they are; with the small capitals of Latin."""

_SKELETON = str.maketrans({double: letter for letter, doubles in _DOUBLES.items() for double in doubles})


class InvalidClientId(ValueError):
    """A text that is no client id; the message says which rule it breaks."""


def client_id(text: str) -> str:
    """Return the id in Unicode normal form C, in which ids are compared.

    Letters and digits of any script, with the combining marks that some scripts write their letters
    with, and `. _ @ : + ~ -`; the first one a letter or digit; 1 to 128 characters; nothing that cannot be
    seen; not `server`, nor what looks like it in other letters.

    Raises:
        InvalidClientId: the text is not an id.
    """
    bounded_id(text)
    normal = text if text.isascii() else unicodedata.normalize("NFC", _composable(text))
    if not 0 < len(normal) <= MAX_CLIENT_ID:
        raise InvalidClientId(f"a client id has 1 to {MAX_CLIENT_ID} characters, not {len(normal)}")
    if normal == SERVER:
        raise InvalidClientId(f"the client id {SERVER} is taken: messages from it are the server's own")
    if not _ID_SHAPE.fullmatch(normal if normal.isascii() else _without_marks(normal)):
        raise InvalidClientId(
            "a client id has letters, digits and . _ @ : + ~ - and starts with a letter or digit"
        )
    if not normal.isascii():
        _check_looks(normal)
    return normal


def bounded_id(text: str) -> str:
    """Return the text, unless it is too long to become an id; nothing else is checked.

    Raises:
        InvalidClientId: the text is too long.
    """
    if len(text) > MAX_DECOMPOSED:
        raise InvalidClientId(f"a client id has 1 to {MAX_CLIENT_ID} characters, not {len(text)}")
    return text


def _composable(text: str) -> str:
    """Return the text, unless it has so many combining marks in a row that it takes long to compose."""
    marks = 0
    for character in text:
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks > MAX_MARKS:
            raise InvalidClientId(f"a client id has at most {MAX_MARKS} combining marks in a row")
    return text


def _check_looks(name: str) -> None:
    """Refuse a name with invisible characters, and one that looks like `server`."""
    if _UNSEEN.search(name):
        raise InvalidClientId("a client id has no characters that cannot be seen")
    if _looks_like(name, SERVER):
        raise InvalidClientId(f"the client id looks like {SERVER}: messages from it are the server's own")


def _without_marks(text: str) -> str:
    """Return the text without the combining marks behind its first character."""
    return text[0] + "".join(c for c in text[1:] if unicodedata.category(c) not in {"Mn", "Mc"})


def recipients(to: Sequence[str]) -> tuple[str, ...]:
    """Return the addressees of a direct message, each once, in the order given.

    Raises:
        InvalidClientId: one of them is not an id.
    """
    return tuple(dict.fromkeys(client_id(name) for name in to))


def _looks_like(text: str, name: str) -> bool:
    """Tell whether a text that is not ASCII has the skeleton of `name`, which is made of the letters of
    `server`. Case is folded: a name that mixes scripts is meant to be taken for another."""
    folded = unicodedata.normalize("NFKC", text).translate(_SKELETON)
    return unicodedata.normalize("NFKC", folded.casefold()) == name
