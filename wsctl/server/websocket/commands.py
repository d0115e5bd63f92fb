"""The commands of clients that speak `wsctl.2`, as data: what each is called, which fields it has, and how a
text is read as one. There is no I/O here.

A field that is null counts as one that is not there, but for `data`, which may be any JSON value.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from wsctl import client_ids
from wsctl.codes import ErrorCode
from wsctl.control.operations import MAX_KEY, is_key
from wsctl.messages import Ref
from wsctl.server.websocket.admission import is_message_id
from wsctl.topics import MAX_LENGTH, InvalidTopic, has_wildcards, topic_name, topic_pattern

MAX_REF = 64
"""Characters of a `ref` that is a text: more than a UUID has."""

MAX_NUMBER = (1 << 53) - 1
"""The largest number of a `ref`: beyond it JavaScript would be answered with another one (RFC 7493)."""

MAX_DEPTH = 64
"""Arrays and objects within each other, the command among them: common parsers take no more unless told to,
and the data goes to clients of all kinds."""

MAX_ADDRESSEES = 1000
"""Addressees that one command may name."""

MAX_TOPICS = 1000
"""Topics that one command may name: to read so many takes two milliseconds."""


class Publish(NamedTuple):
    """Publish `data`; `topic` and `to` are None for everybody, `key` for none. `traceparent` may be the trace
    context of the client."""

    ref: Ref | None
    data: Any
    topic: str | None = None
    to: tuple[str, ...] | None = None
    key: str | None = None
    traceparent: str | None = None


class Subscribe(NamedTuple):
    """Subscribe to `topics`, patterns each once. `since` is the id of the last message that was seen of them,
    `events` whether the client wants to hear who else subscribes; None leaves that as it is."""

    ref: Ref | None
    topics: tuple[str, ...]
    since: str | None = None
    events: bool | None = None


class Unsubscribe(NamedTuple):
    """Subscribe to these patterns no more."""

    ref: Ref | None
    topics: tuple[str, ...]


class PresenceQuery(NamedTuple):
    """Tell who subscribes to a topic."""

    ref: Ref | None
    topic: str


class Renew(NamedTuple):
    """Take new credentials."""

    ref: Ref | None
    token: str


Command = Publish | Subscribe | Unsubscribe | PresenceQuery | Renew


class WrongCommand(NamedTuple):
    """A text that is no command, with what its client is told. `ref` is None where none could be read."""

    ref: Ref | None
    code: ErrorCode
    message: str


class _WrongField(ValueError):
    """The error raised for a command that has a wrong field; the text says which rule it breaks."""


class _WrongTopic(ValueError):
    """The error raised for a text that is no topic."""


def _topic(value: Any) -> str:
    return _checked_topic(topic_name, _text(value))


def _patterns(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise _WrongField("is a list of topics, at least one")
    if len(value) > MAX_TOPICS:
        raise _WrongField(f"has at most {MAX_TOPICS} topics")
    return tuple(dict.fromkeys([_checked_topic(topic_pattern, each) for each in value]))


def _checked_topic(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except InvalidTopic as error:
        raise _WrongTopic(f"{text[:MAX_LENGTH]!r}: {error}") from None


def _addressees(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise _WrongField("is a list of client ids")
    if len(value) > MAX_ADDRESSEES:
        raise _WrongField(f"has at most {MAX_ADDRESSEES} client ids")
    try:
        return client_ids.recipients(value)
    except client_ids.InvalidClientId as error:
        raise _WrongField(f"has what is no client id: {error}") from None


def _key(value: Any) -> str:
    if not is_key(text := _text(value)):
        raise _WrongField(f"has 1 to {MAX_KEY} characters that can be seen")
    return text


def _message_id(value: Any) -> str:
    if not is_message_id(text := _text(value)):
        raise _WrongField("is not the id of a message")
    return text


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongField("is true or false")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _WrongField("is a text")
    return value


def _traceparent(value: Any) -> str | None:
    """Return what may be a trace context: whoever gets a wrong one goes on without (W3C, section 3.3)."""
    return value if isinstance(value, str) else None


def _anything(value: Any) -> Any:
    return value


class _Shape(NamedTuple):
    """The form of a command, and how it is read: its fields, those without which it is none first."""

    kind: Callable[..., Command]
    required: Mapping[str, Callable[[Any], Any]]
    optional: Mapping[str, Callable[[Any], Any]] = {}


SHAPES: Mapping[str, _Shape] = {
    "publish": _Shape(
        Publish,
        {"data": _anything},
        {"topic": _topic, "to": _addressees, "key": _key, "traceparent": _traceparent},
    ),
    "subscribe": _Shape(Subscribe, {"topics": _patterns}, {"since": _message_id, "events": _switch}),
    "unsubscribe": _Shape(Unsubscribe, {"topics": _patterns}),
    "presence": _Shape(PresenceQuery, {"topic": _topic}),
    "renew": _Shape(Renew, {"token": _text}),
}
"""The commands by their `type`. Each has that and `ref`, and these fields."""

NAMES: Mapping[Callable[..., Command], str] = {shape.kind: name for name, shape in SHAPES.items()}
"""The `type` of each kind of command."""

_TOO_DEEP = f"a command is nested {MAX_DEPTH} deep at most"

_KNOWN = {name: {"type", "ref", *shape.required, *shape.optional} for name, shape in SHAPES.items()}


def read_command(text: str) -> Command | WrongCommand:
    """Read a client's text as a command; what is wrong with it, if it is none."""
    try:
        found = _DECODER.decode(text)
    except _WrongField as error:
        return WrongCommand(None, ErrorCode.BAD_COMMAND, f"a command is a JSON object: {error}")
    except RecursionError:
        return WrongCommand(None, ErrorCode.BAD_COMMAND, _TOO_DEEP)
    except ValueError:
        return WrongCommand(None, ErrorCode.BAD_COMMAND, "a command is a JSON object: this is no JSON")
    if not isinstance(found, dict):
        return WrongCommand(None, ErrorCode.BAD_COMMAND, "a command is a JSON object")
    ref = found.get("ref")
    if not _is_ref(ref):
        why = f"ref is a text of at most {MAX_REF} characters, or a whole number up to {MAX_NUMBER}"
        return WrongCommand(None, ErrorCode.BAD_COMMAND, why)
    return _read(ref, found, text)


def _read(ref: Ref | None, found: dict[str, Any], text: str) -> Command | WrongCommand:
    """Read an object whose `ref` is one."""
    name = found.get("type")
    shape = SHAPES.get(name) if isinstance(name, str) else None
    if shape is None:
        code = ErrorCode.UNKNOWN_COMMAND if isinstance(name, str) else ErrorCode.BAD_COMMAND
        return WrongCommand(ref, code, f"type is one of {', '.join(SHAPES)}")
    try:
        if _is_deep(found, text):
            raise _WrongField(_TOO_DEEP)
        return _checked(shape.kind(ref, *_values(str(name), shape, found)))
    except _WrongField as error:
        return WrongCommand(ref, ErrorCode.BAD_COMMAND, str(error))
    except _WrongTopic as error:
        return WrongCommand(ref, ErrorCode.BAD_TOPIC, str(error))


def _values(name: str, shape: _Shape, found: dict[str, Any]) -> list[Any]:
    """Return the values of a command's fields, in the order of its shape."""
    if not found.keys() <= _KNOWN[name]:
        known = ", ".join((*shape.required, *shape.optional))
        raise _WrongField(f"{name} has no other fields than {known}")
    values = []
    for field, read in shape.required.items():
        if field not in found:
            raise _WrongField(f"{name} needs {field}")
        values.append(_value(field, read, found[field]))
    for field, read in shape.optional.items():
        given = found.get(field)
        values.append(None if given is None else _value(field, read, given))
    return values


def _value(field: str, read: Callable[[Any], Any], value: Any) -> Any:
    try:
        return read(value)
    except _WrongField as error:
        raise _WrongField(f"{field} {error}") from None


def _checked(command: Command) -> Command:
    """Return a command whose fields fit together."""
    if isinstance(command, Subscribe) and command.events and any(map(has_wildcards, command.topics)):
        raise _WrongTopic("events are told of topics without wildcards")
    return command


def _is_ref(ref: Any) -> bool:
    if isinstance(ref, str):
        return len(ref) <= MAX_REF
    return ref is None or (type(ref) is int and -MAX_NUMBER <= ref <= MAX_NUMBER)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _WrongField("a name comes twice in an object")
    return found


def _no_json(constant: str) -> Any:
    raise _WrongField("NaN and Infinity are no numbers of it")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_json)


def _is_deep(found: Any, text: str) -> bool:
    """Tell whether a value that was read from this text is nested deeper than `MAX_DEPTH`."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return False  # nearly every text: without a look at what was read
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True
