"""Names that are different texts but look the same to a person: invisible characters, and what looks like
`server`.

Both tables are an approximation that needs no library: the reserved name has four letters, of which Unicode
Technical Standard 39 lists about a hundred doubles. Most are compatibility forms, which form NFKC folds.
"""

import re
import unicodedata

UNSEEN = re.compile(
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


def looks_like(text: str, name: str) -> bool:
    """Tell whether a text that is not ASCII has the skeleton of `name`, which is made of the letters of
    `server`. Case is folded: a name that mixes scripts is meant to be taken for another."""
    folded = unicodedata.normalize("NFKC", text).translate(_SKELETON)
    return unicodedata.normalize("NFKC", folded.casefold()) == name
