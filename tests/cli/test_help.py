"""What `wsctl` says of itself."""

import re

import pytest

from tests.support.command_tree import TREE
from tests.support.server import wsctl
from wsctl import __version__
from wsctl.cli.options import GROUPS
from wsctl.settings import FLAGS, flag

ARGUMENTS = {flag(field.name) for field in FLAGS if field.metadata.get("argument")}
"""The settings that are arguments and no flags."""


def sections(text: str) -> dict[str, str]:
    """The parts of a help text by their heading, each as one line."""
    parts = re.split(r"^(\w[\w ]*):\n", text, flags=re.MULTILINE)
    return {title: " ".join(body.split()) for title, body in zip(parts[1::2], parts[2::2], strict=True)}


def test_without_arguments_it_prints_its_help_on_stdout(environ: dict[str, str]) -> None:
    bare, asked = wsctl(environ=environ), wsctl("--help", environ=environ)
    assert (bare.returncode, bare.stderr) == (0, "")
    assert bare.stdout == asked.stdout
    assert len(bare.stdout.splitlines()) > len(TREE.commands)


@pytest.mark.parametrize("name", ["--version", "-V"])
def test_the_version_has_a_short_flag(name: str, environ: dict[str, str]) -> None:
    done = wsctl(name, environ=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"wsctl {__version__}\n", "")


@pytest.mark.parametrize("name", TREE.commands)
def test_a_command_is_the_same_when_another_option_comes_first(name: str, environ: dict[str, str]) -> None:
    alone, among_all = (
        wsctl(*words, environ=environ | {"NO_COLOR": "1"})
        for words in ([name, "--help"], ["--no-color", name, "--help"])
    )
    assert alone.stdout.startswith(f"Usage: wsctl {name}")
    assert (alone.returncode, alone.stdout, alone.stderr) == (0, among_all.stdout, "")


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_no_description_of_a_command_is_cut(columns: str, environ: dict[str, str]) -> None:
    text = wsctl("--help", environ=environ | {"COLUMNS": columns}).stdout
    assert "..." not in text.partition("Commands:")[2]
    told = sections(text)["Commands"].replace("- ", "-")  # a narrow terminal breaks words at hyphens
    for name, command in TREE.commands.items():
        sentence = " ".join(command.help.split("\n\n")[0].split()).rstrip(".")
        assert f"{name} {sentence.replace('- ', '-')}" in told


@pytest.mark.parametrize("command", ["serve", "check", "generate"])
def test_settings_stand_in_groups(command: str, environ: dict[str, str]) -> None:
    found = sections(wsctl(command, "--help", environ=environ).stdout)
    assert [title for title in found if title in GROUPS] == list(GROUPS)
    for title, names in GROUPS.items():
        flags = re.findall(r"(?:^| )(--(?!no-)[a-z-]+)(?= )", found[title])
        assert set(flags) >= {flag(name) for name in names.split()} - ARGUMENTS
    assert "--help" in found["Options"]


def test_each_setting_is_in_one_group() -> None:
    grouped = [name for names in GROUPS.values() for name in names.split()]
    assert sorted(grouped) == sorted(field.name for field in FLAGS)
