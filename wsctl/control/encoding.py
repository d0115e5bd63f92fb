"""JSON objects from dataclasses, and back: between processes of different versions, too.

A class may say more about its fields, for reading and for writing:

    ABSENT    the values of fields that an object of an older version may lack
    OMITTED   the fields that are left out of the object when they are None

What else an object has, a newer version told, and it is ignored.
"""

from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Any, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


def encode(value: Any) -> Any:
    """Return a dataclass as a JSON object, with the fields in their order; other values as they are."""
    if isinstance(value, (tuple, list)):
        return [encode(each) for each in value]
    if not is_dataclass(value):
        return value
    omitted = getattr(value, "OMITTED", ())
    told = ((field.name, getattr(value, field.name)) for field in fields(value))
    return {name: encode(each) for name, each in told if each is not None or name not in omitted}


def decode(kind: type[T], told: Mapping[str, Any]) -> T:
    """Return the dataclass that a JSON object was made from.

    Raises:
        KeyError, TypeError, ValueError: it was made from something else, or by a version that is too
            different.
    """
    told = {**getattr(kind, "ABSENT", {}), **told}
    hints = _hints(kind)  # type: ignore[arg-type]
    names = [name for name, hint in hints.items() if hint.required or name in told]
    return kind(**{name: _value(hints[name].type, told[name]) for name in names})


def _value(hint: Any, told: Any) -> Any:
    origin, parts = get_origin(hint), get_args(hint)
    if type(None) in parts:
        return None if told is None else _value(parts[0], told)
    if origin is tuple:
        return tuple(_value(parts[0], each) for each in told)
    if is_dataclass(hint):
        return decode(hint, told)  # type: ignore[arg-type]
    return hint(told) if isinstance(hint, type) and issubclass(hint, Enum) else told


class _Hint(NamedTuple):
    type: Any
    required: bool


@cache
def _hints(kind: Any) -> dict[str, _Hint]:
    types = get_type_hints(kind)
    return {each.name: _Hint(types[each.name], each.default is MISSING) for each in fields(kind)}
