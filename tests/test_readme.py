"""What README and the page of flags say of flags and commands is what they are."""

import re
from pathlib import Path

from tests.support.command_tree import TREE
from wsctl.cli.options import default_text
from wsctl.settings import FLAGS, flag

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
FLAGS_PAGE = (ROOT / "wsctl/docs/flags.md").read_text()


def test_each_flag_is_there_with_its_default() -> None:
    for field in FLAGS:
        name = field.metadata["metavar"] if field.metadata.get("argument") else flag(field.name)
        row = f"| `{name}` | {default_text(field) or 'none'} | {field.metadata['help']} |"
        assert row in FLAGS_PAGE


def test_each_command_is_there_and_no_other() -> None:
    commands = set(TREE.commands)
    assert set(re.findall(r"^\| `wsctl (\w+)", README, re.MULTILINE)) == commands


def test_no_flag_is_named_that_does_not_exist() -> None:
    known = {"--help", "--version", "--no-color", "--dist", "--minutes"}  # of pytest and of the soak
    for command in TREE.commands.values():
        known |= {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", README)) <= known
