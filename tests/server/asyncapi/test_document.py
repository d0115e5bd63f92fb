"""The document obeys AsyncAPI 3.0.0: references lead somewhere, and every object has just what its section
of the specification allows."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest

from tests.conftest import StartServer
from tests.support.frames import checked, validator_of
from wsctl import __version__
from wsctl.codes import CloseCode, can_be_sent, is_final
from wsctl.server.asyncapi.document import document
from wsctl.server.asyncapi.event_streams import MESSAGES
from wsctl.server.asyncapi.frames import COMMANDS, FRAMES
from wsctl.server.websocket.commands import NAMES, read_command

DOCUMENT = json.loads(json.dumps(document("127.0.0.1:8000", "wss", "/below")))
CLIENT = DOCUMENT["channels"]["client"]

ALLOWED: dict[str, tuple[set[str], set[str]]] = {
    "AsyncAPI": (
        {"asyncapi", "info"},
        {"defaultContentType", "servers", "channels", "operations", "components"},
    ),
    "Info": ({"title", "version"}, {"description", "license"}),
    "License": ({"name"}, {"url"}),
    "Server": ({"host", "protocol"}, {"pathname", "title", "description"}),
    "Channel": (set(), {"address", "title", "description", "servers", "parameters", "messages", "bindings"}),
    "Parameter": (set(), {"description", "examples", "enum", "default", "location"}),
    "Operation": ({"action", "channel"}, {"messages", "reply", "title", "summary", "bindings"}),
    "Operation Reply": (set(), {"channel", "messages", "address"}),
    "Message": (set(), {"title", "summary", "payload", "examples", "contentType"}),
    "Message Example": (set(), {"name", "summary", "payload"}),
    "Components": (set(), {"schemas", "messages"}),
    "WebSockets Channel Binding": (set(), {"method", "query", "headers", "bindingVersion"}),
    "HTTP Operation Binding": (set(), {"method", "query", "bindingVersion"}),
}
"""By section: what is required, and what of the rest is in use here. Any object may have x-... too."""


def obeys(section: str, found: dict[str, Any]) -> None:
    required, optional = ALLOWED[section]
    names = {name for name in found if not name.startswith("x-")}
    assert required <= names <= required | optional, section


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "$ref" in value:
            assert set(value) == {"$ref"}, "what stands beside a $ref is ignored"
            yield value["$ref"]
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from references(inner)


def resolved(ref: str) -> Any:
    found: Any = DOCUMENT
    assert ref.startswith("#/")
    for name in ref.removeprefix("#/").split("/"):
        found = found[name]
    return found


def test_every_reference_leads_somewhere() -> None:
    found = set(references(DOCUMENT))
    assert all(resolved(ref) is not None for ref in found)
    assert {f"#/components/schemas/{kind}" for kind in FRAMES} <= found


def test_every_object_has_what_its_section_says() -> None:
    obeys("AsyncAPI", DOCUMENT)
    obeys("Info", DOCUMENT["info"])
    obeys("License", DOCUMENT["info"]["license"])
    obeys("Components", DOCUMENT["components"])
    for server in DOCUMENT["servers"].values():
        obeys("Server", server)
    for channel in DOCUMENT["channels"].values():
        obeys("Channel", channel)
        for parameter in channel.get("parameters", {}).values():
            obeys("Parameter", parameter)
    obeys("WebSockets Channel Binding", CLIENT["bindings"]["ws"])
    for operation in DOCUMENT["operations"].values():
        obeys("Operation", operation)
        for protocol, binding in operation.get("bindings", {}).items():
            assert protocol == "http"
            obeys("HTTP Operation Binding", binding)
        obeys("Operation Reply", operation.get("reply", {}))
    for message in DOCUMENT["components"]["messages"].values():
        obeys("Message", message)
        for example in message["examples"]:
            obeys("Message Example", example)


def test_the_parameters_are_those_of_the_address() -> None:
    addresses = [
        channel["address"].format(**dict.fromkeys(channel.get("parameters", {}), "bob"))
        for channel in DOCUMENT["channels"].values()
    ]
    assert addresses == ["/ws/bob", "/events/bob", "/publish"]


def test_operations_name_messages_of_their_channel_and_all_of_them() -> None:
    named = set()
    for operation in DOCUMENT["operations"].values():
        assert operation["action"] in {"send", "receive"}
        at = operation["channel"]["$ref"]
        for message in [*operation["messages"], *operation.get("reply", {}).get("messages", [])]:
            assert message["$ref"].startswith(f"{at}/messages/")
            named.add(message["$ref"])
    messages = {
        f"#/channels/{name}/messages/{kind}"
        for name, channel in DOCUMENT["channels"].items()
        for kind in channel["messages"]
    }
    assert named == messages
    assert {ref.rpartition("/")[2] for ref in named} == set(DOCUMENT["components"]["messages"])


def test_channels_of_plain_http_are_at_an_address_of_http() -> None:
    servers = DOCUMENT["servers"]
    assert (servers["this"]["protocol"], servers["http"]["protocol"]) == ("wss", "https")
    for name, channel in DOCUMENT["channels"].items():
        (server,) = channel["servers"]
        assert (resolved(server["$ref"]) is servers["this"]) == (name == "client")


def test_the_schemas_are_schemas() -> None:
    handshake = CLIENT["bindings"]["ws"]
    for schema in [*DOCUMENT["components"]["schemas"].values(), handshake["query"], handshake["headers"]]:
        jsonschema_rs.meta.validate(schema | {"$schema": "http://json-schema.org/draft-07/schema#"})
    for schema in (handshake["query"], handshake["headers"]):
        assert (schema["type"], type(schema["properties"])) == ("object", dict)


@pytest.mark.parametrize("kind", FRAMES)
def test_each_frame_has_examples_that_are_such_frames(kind: str) -> None:
    examples = DOCUMENT["components"]["messages"][kind]["examples"]
    assert [checked(example["payload"])["type"] for example in examples] == [kind] * len(examples)
    shown = {name for example in examples for name in example["payload"]}
    assert shown == set(FRAMES[kind]["properties"])


@pytest.mark.parametrize("kind", MESSAGES)
def test_each_message_of_plain_http_has_examples_that_are_such_messages(kind: str) -> None:
    examples = [each["payload"] for each in DOCUMENT["components"]["messages"][kind]["examples"]]
    schema = DOCUMENT["components"]["schemas"][kind]
    check = jsonschema_rs.Draft7Validator({"components": DOCUMENT["components"], **schema})
    for example in examples:
        check.validate(example)
    assert {name for example in examples for name in example} == set(schema["properties"])


@pytest.mark.parametrize("kind", COMMANDS)
def test_each_command_has_examples_that_are_such_commands(kind: str) -> None:
    examples = [each["payload"] for each in DOCUMENT["components"]["messages"][kind]["examples"]]
    for example in examples:
        assert validator_of(kind).is_valid(example)
        assert NAMES[type(read_command(json.dumps(example)))] == kind
    assert {name for example in examples for name in example} == set(COMMANDS[kind]["properties"])


def test_each_close_code_that_is_sent_has_a_meaning_there() -> None:
    told = {close["code"]: close for close in CLIENT["x-close-codes"]}
    assert set(told) == {code for code in CloseCode if can_be_sent(code)}
    for code, close in told.items():
        assert close["meaning"].endswith(".")
        assert close["reconnect"] != is_final(code)
        assert f"`{code}`: {close['meaning']}" in CLIENT["description"]


def test_the_server_is_the_one_that_was_asked(start_server: StartServer) -> None:
    server = start_server("--root-path", "/below", "--port", "0")
    status, told = server.http("GET", "/asyncapi.json")
    assert (status, told["info"]["version"]) == (200, __version__)
    here = {"host": f"127.0.0.1:{server.port}", "protocol": "ws", "pathname": "/below"}
    assert told["servers"] == {"this": here, "http": here | {"protocol": "http"}}
    proxied = {"host": "chat.example", "x-forwarded-proto": "https"}
    told = server.http("GET", "/asyncapi.json", headers=proxied)[1]
    assert told["servers"]["this"] == {"host": "chat.example", "protocol": "wss", "pathname": "/below"}
    told = server.api("GET", "/asyncapi.json")[1]
    assert told["servers"]["this"]["host"] == "localhost"


def test_the_documentation_of_the_routes_leads_to_it(start_server: StartServer) -> None:
    described = start_server().http("GET", "/openapi.json")[1]
    assert "(asyncapi.json)" in described["info"]["description"]
