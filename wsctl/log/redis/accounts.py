"""The parsing of what nodes write of themselves and of their clients to Redis, where anybody may have written
it."""

import json
from typing import Any

from wsctl import messages

Account = dict[str, Any]

MOST_DIGITS = 16
"""Digits of a whole number: 2 to the power of 53 has so many, beyond which not every reader of JSON is
exact."""

_FIELDS: dict[str, tuple[type, ...]] = {
    "host": (str,),
    "pid": (int,),
    "url": (str, type(None)),
    "version": (str,),
    "generation": (int,),
    "phase": (str,),
    "connections": (int,),
    "started": (int, float),
}


def read_json(text: str) -> Any:
    """Parse a JSON text.

    Raises:
        ValueError: the text is no JSON, is nested too deeply, or has a NaN or an infinity, which JSON does
            not have.
    """
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_account(told: bytes) -> Account:
    """Parse a node's account of itself; fields that are not known here stay.

    Raises:
        ValueError: the bytes are no such account.
    """
    found = read_json(told.decode())
    if not isinstance(found, dict):
        raise ValueError("it is no object")
    for name, kinds in _FIELDS.items():
        if not isinstance(found.get(name), kinds) or isinstance(found.get(name), bool):
            raise ValueError(f"{name} is not there, or something else")
    messages.encode(found)  # a number may be too large for anything that shows it
    return found


def read_stay(name: bytes, told: bytes) -> tuple[str, int]:
    """Parse a client's id, and since when it is connected, in milliseconds of Redis's clock.

    Raises:
        ValueError: they are no id or no moment.
    """
    return messages.client_id(name.decode()), read_count(told.partition(b" ")[0])


def read_count(digits: bytes) -> int:
    """Parse a whole number from 0 on.

    Raises:
        ValueError: the bytes are no number, or have too many digits.
    """
    if not digits.isdigit() or len(digits) > MOST_DIGITS:
        raise ValueError("it is no number")
    return int(digits)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
