"""The OpenAPI document: what the routes say of themselves, and schemas of what they take and answer, which
follow from the types.

The schemas are made when somebody asks for the document, and not when a server starts.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from pydantic import TypeAdapter

from wsctl.control.operations import (
    JSON,
    MAX_KEY,
    NDJSON,
    OPERATIONS,
    PUBLISH,
    ErrorAnswer,
    Operation,
    PublishRequest,
)
from wsctl.control.status import Health, PhaseStatus
from wsctl.server.asyncapi.frames import CLIENT_ID, TOPIC
from wsctl.server.metrics import PUBLIC

Schema = dict[str, Any]

_NOT_AN_OPERATOR = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

_HEALTH: Mapping[str, Mapping[int, type]] = {
    "/health": {200: Health},
    "/health/live": {200: PhaseStatus},
    "/health/ready": {200: PhaseStatus, 503: PhaseStatus},
    PUBLIC: dict.fromkeys(_NOT_AN_OPERATOR, ErrorAnswer),
}
"""The answers to questions that are no operations, by path and status."""


class Application(FastAPI):
    """The application, whose document has the schemas of its answers. It leaves out 422, which FastAPI gives
    to bad requests: here they get 400, like all others."""

    def openapi(self) -> Schema:
        if not self.openapi_schema:
            _complete(super().openapi())
        return self.openapi_schema or {}


_CLIENTS: Mapping[tuple[str, str], Mapping[int, type]] = {
    ("/events/{client_id}", "get"): dict.fromkeys((400, 401, 403, 503), ErrorAnswer),
    ("/publish", "post"): dict.fromkeys((400, 401, 403, 413, 415, 429, 500, 503, 504), ErrorAnswer),
}
"""The answers to clients, by path and method, and by status."""

_PARAMETERS: Mapping[tuple[str, str], Sequence[Schema]] = {
    ("/events/{client_id}", "get"): [
        {"name": "client_id", "in": "path", "required": True, "schema": CLIENT_ID},
        {
            "name": "since",
            "in": "query",
            "required": False,
            "description": "The id of the last message that was seen",
            "schema": {"type": "string"},
        },
        {
            "name": "topic",
            "in": "query",
            "required": False,
            "description": "A pattern to subscribe to",
            "schema": {"type": "array", "items": {"type": "string"}},
        },
        {
            "name": "Last-Event-ID",
            "in": "header",
            "required": False,
            "description": "As since, from EventSource",
            "schema": {"type": "string"},
        },
    ],
    ("/publish", "post"): [
        {
            "name": "id",
            "in": "query",
            "required": False,
            "description": "The client that publishes; not needed where its token names it",
            "schema": CLIENT_ID,
        }
    ],
}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


_PUBLISH_BODY = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "properties": {
                    "data": {},
                    "topic": _or_null(TOPIC),
                    "to": _or_null({"type": "array", "items": CLIENT_ID}),
                    "key": _or_null({"type": "string", "minLength": 1, "maxLength": MAX_KEY}),
                    "traceparent": {"description": "As the header; ignored where it is no trace context"},
                },
                "required": ["data"],
                "additionalProperties": False,
            }
        },
        "text/plain": {"schema": {"type": "string"}},
    },
}


_PUBLISH_ANSWER = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The id the message got."},
        "repeated": {
            "const": True,
            "description": "There if a message had the key before: its id.",
        },
    },
    "required": ["id"],
}


def _complete(described: Schema) -> None:
    for path in described["paths"].values():
        for route in path.values():
            route["responses"].pop("422", None)
    schemas: Schema = {}
    paths = described["paths"]  # an application may lack the routes of operators
    for path, answers in [(path, answers) for path, answers in _HEALTH.items() if path in paths]:
        _add_answers(described["paths"][path]["get"], answers, schemas)
    for (path, method), told in _CLIENTS.items():
        if route := paths.get(path, {}).get(method):
            _add_answers(route, told, schemas)
            route["parameters"] = list(_PARAMETERS[path, method])
    if route := paths.get("/publish", {}).get("post"):
        route["requestBody"] = _PUBLISH_BODY
        route["responses"]["200"]["content"] = {"application/json": {"schema": _PUBLISH_ANSWER}}
    for operation in OPERATIONS:
        if operation.answer and operation.path in paths:
            route = described["paths"][operation.path][operation.method.lower()]
            errors = sorted({*operation.errors, *_NOT_AN_OPERATOR})
            answers = {operation.status: operation.answer, **dict.fromkeys(errors, ErrorAnswer)}
            _add_answers(route, answers, schemas)
            _tell_client_ids(route)
            if operation.request:
                _add_body(route, operation)
    described.setdefault("components", {})["schemas"] = dict(sorted(schemas.items()))


def _tell_client_ids(route: Schema) -> None:
    """Tell what a client id in the path may be."""
    for parameter in route.get("parameters", ()):
        if parameter["name"] == "client_id":
            parameter["schema"] = CLIENT_ID


def _add_answers(route: Schema, answers: Mapping[int, type], schemas: Schema) -> None:
    for status, kind in answers.items():
        schema = _schema(kind, "serialization")
        schemas |= schema.pop("$defs", {})
        schemas[kind.__name__] = schema
        content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
        told = route["responses"].setdefault(str(int(status)), {"description": HTTPStatus(status).phrase})
        told["content"] = content


def _add_body(route: Schema, operation: Operation) -> None:
    """Describe what an operation takes: of publishing batches too. What a line of one is, is said in words,
    for OpenAPI 3.1 has no schema for a sequence."""
    route["requestBody"] = _body(operation)
    if operation is not PUBLISH:
        return
    sent, answered = f"A message a line, each like that of `{JSON}`.", "A receipt or an error a line."
    content = route["requestBody"]["content"]
    content[NDJSON] = {"schema": {"type": "string", "description": sent}}
    route["responses"]["200"]["content"][NDJSON] = {"schema": {"type": "string", "description": answered}}


def _body(operation: Operation) -> Schema:
    schema = _schema(operation.request, "validation")
    if operation.request and issubclass(
        operation.request, PublishRequest
    ):  # of an id `messages.client_id` knows more than a schema can say
        schema["properties"]["to"]["anyOf"][0]["items"] = CLIENT_ID
        schema["properties"]["topic"]["anyOf"][0] = TOPIC
    return {"content": {"application/json": {"schema": schema}}, "required": operation.is_body_required}


def _schema(kind: Any, mode: Any) -> Schema:
    found: Schema = TypeAdapter(kind).json_schema(mode=mode, ref_template="#/components/schemas/{model}")
    _drop_null_defaults(found)
    return found


def _drop_null_defaults(schema: Any) -> None:
    """Leave out what goes without saying: a field that may be null, and be left out, is null then."""
    for value in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(value, dict) and "default" in value and value["default"] is None:
            del value["default"]
        if isinstance(value, (dict, list)):
            _drop_null_defaults(value)
