"""Templates: text with blanks `@{name}`, a form that none of the languages in them uses."""

import re
from collections.abc import Mapping

_BLANK = re.compile(r"@\{([a-z_]+)\}")
_LINE = re.compile(r"[ \t]*@\{([a-z_]+)\}\n")


def filled(template: str, values: Mapping[str, str]) -> str:
    """The template with each blank filled. A line that is nothing but a blank goes when that is empty.

    Raises:
        KeyError: nobody has named what belongs into a blank.
    """
    kept = _LINE.sub(lambda found: found[0] if values[found[1]] else "", template)
    return _BLANK.sub(lambda found: values[found[1]], kept)
