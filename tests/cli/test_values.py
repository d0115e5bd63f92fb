"""How the values of a command line are read."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.support.command_tree import TREE
from wsctl.cli.values import PlainValues


def read(name: str, *words: str) -> dict[str, Any]:
    """The values that a command gets from these words."""
    found: dict[str, Any] = TREE.commands[name].make_context(name, list(words)).params
    return found


def test_no_value_of_any_command_needs_pydantic() -> None:
    for command in (TREE, *TREE.commands.values()):
        for param in command.get_params(typer.Context(command)):
            assert isinstance(param.get_runtime_param(), PlainValues), f"{command.name} {param.name}"


def test_a_command_that_does_its_work_loads_no_pydantic(environ: dict[str, str]) -> None:
    code = (
        "import sys; from wsctl.cli.app import run; code = run(['broadcast', 'x', '--url', 'http://127.0.0.1:1']);"
        "sys.exit(' '.join({'pydantic', 'rich', 'prompt_toolkit'} & set(sys.modules)) or code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], env=environ | {"WSCTL_TOKEN": "t"}, check=False)
    assert ended.returncode == 5


def test_a_value_is_read_by_its_parser_and_one_that_was_not_given_is_none() -> None:
    found = read("serve", "--shutdown-timeout", "2m", "--reload-dir", "a", "--reload-dir", "b")
    assert found["shutdown_timeout"] == 120.0
    assert len(found["reload_dir"]) == 2
    assert (found["port"], found["allow_origin"], found["proxy_headers"]) == (None, (), None)


def test_a_text_and_a_path_need_no_parser() -> None:
    assert read("client", "--id", "bob")["client_id"] == "bob"
    assert read("generate", "app", "--output", "x/y")["output"] == Path("x/y")


@pytest.mark.parametrize(("word", "on"), [("yes", True), ("1", True), ("off", False), ("F", False)])
def test_a_variable_switches_as_settings_do(word: str, on: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSCTL_PROXY_HEADERS", word)
    assert read("serve")["proxy_headers"] is on
    assert read("serve", "--no-proxy-headers")["proxy_headers"] is False


def test_a_variable_that_is_no_switch_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WSCTL_PROXY_HEADERS", "maybe")
    with pytest.raises(typer.BadParameter, match="'maybe' is neither yes nor no: write 1 or 0"):
        read("serve")
