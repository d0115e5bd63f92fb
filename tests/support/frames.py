"""Through which tests read what a server sends: every frame must be as the AsyncAPI document says."""

import json
from functools import cache
from typing import Any

from jsonschema_rs import Draft7Validator

from wsctl.server.asyncapi.frames import FRAMES, SCHEMAS, ref

Frame = dict[str, Any]


def read(payload: str | bytes) -> Frame:
    """The frame in a text message of a server, checked."""
    return checked(json.loads(payload, object_pairs_hook=_each_once, parse_constant=_no_json))


def checked(frame: Frame) -> Frame:
    """The same frame; fails when no server would send it."""
    kind = frame.get("type")
    assert kind in FRAMES, f"no frame is of type {kind!r}"
    faults = [error.message for error in validator_of(kind).iter_errors(frame)]
    assert not faults, f"{frame}: {faults}"
    return frame


def is_valid(frame: Frame) -> bool:
    return str(frame.get("type")) in FRAMES and validator_of(frame["type"]).is_valid(frame)


@cache
def validator_of(schema: str) -> Draft7Validator:
    """What checks against one of the document's schemas: compiled, so that a crowd's frames cost
    microseconds."""
    return Draft7Validator({"components": {"schemas": SCHEMAS}, "allOf": [ref(schema)]})


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs), f"a name comes twice: {pairs}"
    return dict(pairs)


def _no_json(constant: str) -> float:
    raise AssertionError(f"{constant} is no JSON")
