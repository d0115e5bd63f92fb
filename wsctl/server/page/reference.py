"""The page at `/docs`: the HTTP routes, written out from the server's own OpenAPI, without any script."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from wsctl.server.page import headers

Schema = Mapping[str, Any]

_TEMPLATE = Path(__file__).with_name("reference.html")
_BLANK = re.compile(r"<!--(\w+)-->")
_LINK = re.compile(r"\[([^\]]+)\]\((\w[\w./-]*)\)")
_CODE = re.compile(r"`([^`]+)`")

_GIVE = """printf 'Authorization: Bearer %s' "$(cat "$WSCTL_TOKEN_FILE")" |\n  """
"""The shell code that gives curl the token by a pipe: a list of processes shows arguments to other users."""

_SAMPLES = {"string": "bob", "number": 60, "integer": 1, "boolean": True, "array": []}

_BOUNDS = (("minimum", "maximum", ""), ("minLength", "maxLength", " characters"))

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def reference(request: Request) -> HTMLResponse:
    html = written(request.app.openapi())
    return HTMLResponse(html, headers=headers(html))


def written(described: Schema) -> str:
    """Return the page for an OpenAPI document: all that comes from it is text, or a link within this
    server."""
    info = described["info"]
    schemas = described.get("components", {}).get("schemas", {})
    blanks = {
        "title": escape(f"{info['title']} {info['version']}"),
        "about": _prose(info.get("description", "")),
        "contents": "".join(_entry(*route) for route in _routes(described)),
        "routes": "".join(_route(*route) for route in _routes(described)),
        "schemas": "".join(_schema(name, schemas[name]) for name in sorted(schemas)),
    }
    return _BLANK.sub(lambda found: blanks[found[1]], _TEMPLATE.read_text(encoding="utf-8"))


def _routes(described: Schema) -> Iterator[tuple[str, str, Schema]]:
    """Yield method, path and operation of each route; those for operators come last."""
    found = [(m.upper(), path, op) for path, ops in described["paths"].items() for m, op in ops.items()]
    yield from sorted(found, key=lambda route: bool(route[2].get("security")))


def _anchor(method: str, path: str) -> str:
    return "-".join([method.lower(), *re.findall(r"\w+", path)])


def _entry(method: str, path: str, operation: Schema) -> str:
    verb = f'<span class="verb">{escape(method)}</span>'
    return f'<li><a href="#{_anchor(method, path)}">{verb} <code>{escape(path)}</code></a></li>'


def _route(method: str, path: str, operation: Schema) -> str:
    for_operators = bool(operation.get("security"))
    parts = [
        f'<h3><span class="verb">{escape(method)}</span> <code>{escape(path)}</code></h3>',
        '<p class="tag">For operators</p>' if for_operators else "",
        _prose(operation.get("description") or operation["summary"]),
        _table("Parameters", map(_parameter, operation.get("parameters", ()))),
        _body(operation),
        _table("Answers", (_answer(*answer) for answer in sorted(operation["responses"].items()))),
        f"<h4>Example</h4><pre><code>{escape(_example(method, path, operation))}</code></pre>",
    ]
    return f'<article id="{_anchor(method, path)}">{"".join(parts)}</article>'


def _parameter(parameter: Schema) -> tuple[str, str, str]:
    name, place = escape(parameter["name"]), escape(parameter["in"])
    notes = [place, *_notes(parameter["schema"], parameter.get("required", False))]
    text = parameter.get("description") or _said(parameter["schema"])
    return f"<code>{name}</code>", _kind(parameter["schema"]), _joined(notes, text)


def _body(operation: Schema) -> str:
    schema = _taken(operation)
    if schema is None:
        return ""
    optional = "" if operation["requestBody"].get("required") else ", which may be left out"
    return f"<h4>Body: JSON{optional}</h4>{_fields(schema)}"


def _taken(operation: Schema) -> Schema | None:
    """Return the schema of a request's body."""
    content = operation.get("requestBody", {}).get("content", {})
    taken: Schema | None = content.get("application/json", {}).get("schema")
    return taken


def _answer(status: str, answer: Schema) -> tuple[str, str, str]:
    kinds = [
        f"<code>{escape(media)}</code>{_of(content.get('schema'))}"
        for media, content in answer.get("content", {}).items()
    ]
    text = "OK" if answer["description"] == "Successful Response" else answer["description"]
    return f"<code>{escape(status)}</code>", "<br>".join(kinds), escape(text)


def _of(schema: Schema | None) -> str:
    return f": {_kind(schema)}" if schema and "$ref" in schema else ""


def _schema(name: str, schema: Schema) -> str:
    body = _prose(schema.get("description", "")) + (_fields(schema) or f"<p>{_kind(schema)}</p>")
    return f'<article id="schema-{escape(name)}"><h3>{escape(name)}</h3>{body}</article>'


def _fields(schema: Schema) -> str:
    """Return the table of an object's fields."""
    required = schema.get("required", ())
    return _table(
        "", (_field(name, field, name in required) for name, field in schema.get("properties", {}).items())
    )


def _field(name: str, field: Schema, required: bool) -> tuple[str, str, str]:
    return f"<code>{escape(name)}</code>", _kind(field), _joined(_notes(field, required), _said(field))


def _table(title: str, rows: Iterable[tuple[str, str, str]]) -> str:
    """Return rows of HTML under a title; nothing when there are none."""
    lines = [f'<th scope="row">{name}</th><td>{kind}</td><td>{text}</td>' for name, kind, text in rows]
    head = f"<h4>{title}</h4>" if title else ""
    return f"{head}<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>" if lines else ""


def _joined(notes: list[str], text: str) -> str:
    noted = "; ".join(notes)
    return " ".join([f"{noted[0].upper()}{noted[1:]}." if noted else "", _inline(text)]).strip()


def _kind(schema: Schema) -> str:
    """Return the values that a schema takes, in words."""
    match schema:
        case {"$ref": ref}:
            name = escape(ref.rpartition("/")[2])
            return f'<a href="#schema-{name}">{name}</a>'
        case {"anyOf": several} | {"oneOf": several} | {"allOf": several}:
            return " or ".join(map(_kind, several))
        case {"const": value}:
            return _code(value)
        case {"enum": values}:
            return ", ".join(map(_code, values))
    return _simple_kind(schema)


def _simple_kind(schema: Schema) -> str:
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    return escape(kind) + _bounds(schema) if isinstance(kind, str) else "any JSON"


def _code(value: Any) -> str:
    return f"<code>{escape(json.dumps(value))}</code>"


def _bounds(schema: Schema) -> str:
    told = [
        f" from {schema[least]:.0f} to {schema[most]:.0f}{unit}"
        for least, most, unit in _BOUNDS
        if least in schema and most in schema
    ]
    return escape(",".join(told))


def _notes(schema: Schema, required: bool) -> list[str]:
    default = f"{_code(schema['default'])} unless given" if "default" in schema else ""
    return [note for note in ("required" if required else "", default) if note]


def _said(schema: Schema) -> str:
    """Return the description of a value, and of what is in it."""
    inner = [schema["items"]] if "items" in schema else schema.get("anyOf", ())
    return " ".join(filter(None, [schema.get("description", ""), *map(_said, inner)]))


def _example(method: str, path: str, operation: Schema) -> str:
    """Return a command line that makes such a request."""
    schema = _taken(operation)
    data = f" -d '{json.dumps(_sample(schema))}'" if schema else ""
    asked = "" if method == ("POST" if data else "GET") else f" -X {method}"
    token = " -H @-" if operation.get("security") else ""
    return f'{_GIVE if token else ""}curl -fsS{token}{asked}{data} "$URL{path}"'


def _sample(schema: Schema) -> Any:
    """Return a value that the schema takes; of an object, the required fields, or else all."""
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0])
    if "properties" not in schema:
        return _SAMPLES.get(schema.get("type", ""), "hello")
    fields = schema["properties"]
    return {name: _sample(fields[name]) for name in schema.get("required", fields)}


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(part)}</p>" for part in text.split("\n\n") if part.strip())


def _inline(text: str) -> str:
    """Return text with its code and its links, which lead to places of this server alone."""
    linked = _LINK.sub(r'<a href="\2">\1</a>', escape(text))
    return _CODE.sub(r"<code>\1</code>", linked)
