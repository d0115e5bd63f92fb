"""Flags that several commands share, and the flags that are made from `Settings`."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import Field
from typing import Annotated, Any

import typer

from wsctl.client_ids import InvalidClientId, client_id
from wsctl.settings import (
    EVERY_TOPIC,
    FLAGS,
    Rate,
    Settings,
    boolean,
    duration,
    flag,
    port_number,
    secrets,
    topic_patterns,
    variable,
)
from wsctl.settings import whole_number as parse_whole_number

GROUPS = {
    "Application": "app app_dir factory env_file startup_timeout hook_timeout reload reload_dir",
    "Listening": "host port admin_host admin_port uds fd backlog ssl_certfile ssl_keyfile "
    "proxy_headers forwarded_allow_ips root_path",
    "Drain": "shutdown_timeout drain_delay drain_spread reconnect_window drain_policy stop_timeout",
    "Messages": "broadcast_interval history history_bytes history_ttl journal journal_sync client_publish "
    "client_subscribe client_direct",
    "Limits": "max_connections max_connection_age connections_per_id max_subscriptions max_message_size "
    "max_queue rate ping_interval ping_timeout",
    "Access": "allow_origin allow_host auth jwt_key jwt_algorithm jwt_audience auth_query",
    "Several servers": "workers redis redis_prefix max_draining",
    "Logs": "log_level log_format access_log tracing",
}
"""The settings of `serve` by subject, in the order in which its help shows them."""

_GROUP_OF = {name: group for group, names in GROUPS.items() for name in names.split()}


def parser(parse: Callable[[str], Any], name: str) -> Callable[[Any], Any]:
    """Return a parser whose error reaches the person who typed the value."""

    def read(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        try:
            return parse(text)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from None

    read.__name__ = name
    return read


DIGITS = 9
"""The digits of the largest number that a count of something can be."""


def whole_number(least: int) -> Callable[[Any], Any]:
    """Make a parser of whole numbers from `least` on."""
    return parser(lambda text: parse_whole_number(text, least, DIGITS), "N")


def number(least: float) -> Callable[[Any], Any]:
    """Make a parser of numbers from `least` on."""

    def parse(text: str) -> float:
        if not re.fullmatch(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", text.strip()) or float(text) < least:
            raise ValueError(f"{text!r} is not a number from {least:g} to {10**DIGITS - 1}")
        return float(text)

    return parser(parse, "N")


def seconds(name: str, help_text: str) -> Any:
    """Return an option that takes a duration."""
    return typer.Option(name, parser=parser(duration, "DURATION"), metavar="DURATION", help=help_text)


Json = Annotated[bool, typer.Option("--json", help="Print JSON: one object, or one a line.")]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        metavar="URL",
        envvar="WSCTL_URL",
        help="Address of the server; without it, a server on this machine.",
    ),
]
Port = Annotated[
    int | None,
    typer.Option(
        "--port", parser=parser(port_number, "PORT"), metavar="PORT", help="Port of a server on this machine."
    ),
]


def client_ids(name: str, count: int | None) -> tuple[str, ...]:
    """Return the ids of one client, or of `count` of them: NAME-1, NAME-2, ... They come from `--id`.

    Raises:
        BadParameter: one of them is not an id.
    """
    names = [name] if count is None else [f"{name}-{n}" for n in range(1, count + 1)]
    try:
        return tuple(client_id(each) for each in names)
    except InvalidClientId as error:
        raise typer.BadParameter(str(error), param_hint="--id") from None


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Give the command one flag for each setting; it gets those that were given, by keyword."""
    signature = inspect.signature(command)
    kept = [p for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]
    order = list(_GROUP_OF)
    made = [each for f in sorted(FLAGS, key=lambda f: order.index(f.name)) for each in _parameters(f)]
    command.__signature__ = signature.replace(parameters=[*kept, *made])  # type: ignore[attr-defined]
    return command


SEVERAL = frozenset({"allow_origin", "allow_host", "drain_policy", "reload_dir"})
"""The settings whose flags can be repeated."""


def settings_from(given: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Return the settings from the flags and variables that a command with `with_settings` was given, and the
    secrets from theirs.

    Raises:
        UsageError: they cannot be meant together, or a secret cannot be read.
    """
    values = {name: value for name, value in given.items() if value is not None}
    for off in _SWITCHES & set(values):
        if values.pop(off):
            values[off.removeprefix("no_")] = ()
    for name in SEVERAL & set(values):
        values[name] = tuple(one for several in values[name] for one in several)
    return Settings(**values, **secrets(environ, values.get("auth")))


_SWITCHES = frozenset(f"no_{f.name}" for f in FLAGS if f.metadata["parse"] is topic_patterns)
"""The switches that say `off` for settings that take topics."""


def _parameters(field: Field[Any]) -> list[inspect.Parameter]:
    """Return the flag of a setting, and the switch beside it where it has one."""
    made = [_parameter(field)]
    if (name := f"no_{field.name}") in _SWITCHES:
        text = f"The same as {flag(field.name)} off."
        option = typer.Option(
            flag(name), help=text, show_default=False, rich_help_panel=_GROUP_OF[field.name]
        )
        kind = Annotated[bool, option]
        made.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind))
    return made


def _parameter(field: Field[Any]) -> inspect.Parameter:
    parse, metavar = field.metadata["parse"], field.metadata["metavar"]
    default = default_text(field)
    text = field.metadata["help"] + (f" [default: {default}]" if default else "")
    shared: dict[str, Any] = {
        "envvar": variable(field.name),
        "help": text,
        "show_default": False,
        "show_envvar": False,
    }
    shared["rich_help_panel"] = _GROUP_OF[field.name]
    kind: Any
    if field.metadata.get("argument"):
        argument = typer.Argument(parser=parser(parse, metavar), metavar=metavar, **shared)
        kind = Annotated[str | None, argument]
    elif parse is boolean:
        option = typer.Option(f"{flag(field.name)}/{_negative(field.name)}", **shared)
        kind = Annotated[bool | None, option]
    else:
        option = typer.Option(flag(field.name), parser=parser(parse, metavar), metavar=metavar, **shared)
        kind = Annotated[list[str] | None, option] if field.default == () else Annotated[str | None, option]
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _negative(name: str) -> str:
    return "--no-" + name.replace("_", "-")


def default_text(field: Field[Any]) -> str:
    """Return the default as a person would type it; empty when there is none to show."""
    value = field.default
    if isinstance(value, bool):
        return "on" if value else "off"
    if value == EVERY_TOPIC:
        return "on"
    if isinstance(value, Rate):
        return f"{value.per_second:g}/s:{value.burst}"
    if isinstance(value, float):
        return f"{value:g}"
    return str(value) if value else ""
