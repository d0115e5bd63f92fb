"""Nobody is told to install a name: the package index has another program under that of our command."""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command_tree import TREE
from wsctl.cli.generate import KINDS
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.deployment import Place
from wsctl.errors import package
from wsctl.settings import Settings

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

NAMES = r"wsctl(?:[-_.]server)?"
"""Ours, and that of the distribution, which is as little on an index."""

INSTALLERS = (
    r"(?:pip\d?|pipx|uvx|pipenv|poetry|pdm|hatch|rye|conda|mamba|easy_install|uv (?:tool |pip )?|install)"
)

WAYS = (
    # wsctl[redis], wsctl==0.1.0, wsctl @ URL: a requirement, wherever it stands.
    rf"(?<![\w./\\-]){NAMES}(?:\[[a-z]+(?:,[a-z]+)*\]|\s*(?:==|>=|~=|<=|!=)\s*\d|\s@\s)",
    # pip install --upgrade wsctl: up to the end of the command.
    rf"\b{INSTALLERS}\b[^\n;&|`#]*?[ \t]['\"]?{NAMES}(?!'s\b|[\w./\\@-])",
)

SETTINGS = (
    Settings(),
    Settings(redis="redis://store:6379/0", auth="jwt", jwt_key="/etc/key", port=9000),
    Settings(redis="redis://me:s3cret@store:6379/0", token="s3cret", workers=4, root_path="/chat"),
    Settings(auth="token", client_token="s3cret", ssl_certfile="c.pem", ssl_keyfile="k.pem", host="0.0.0.0"),
)


def told(text: str) -> list[str]:
    """Where a text tells to install a name."""
    return [found[0] for way in WAYS for found in re.finditer(way, text)]


def shipped() -> list[Path]:
    """The files of the repository, but for the tests, that are text."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no checkout, so nothing tells which files belong to it")
    names = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    paths = [ROOT / name for name in names if name and not name.startswith("tests/")]
    return [path for path in paths if path.exists() and b"\0" not in path.read_bytes()]


def helps() -> Iterator[str]:
    """The help of each command."""
    for name, command in TREE.commands.items():
        with command.make_context(name, ["--help"], resilient_parsing=True) as context:
            yield command.get_help(context)


@pytest.mark.parametrize(
    "text",
    [
        "pip install 'wsctl[redis]'",
        "pip install\twsctl",
        "python -m pip install -U wsctl && x",
        "pipx run wsctl",
        "uvx wsctl serve",
        "uv tool install wsctl",
        "ARG WSCTL=wsctl==0.1.0",
        "wsctl-server[jwt]",
        "pip install wsctl-server",
        "wsctl >= 0.1",
        "better install wsctl, and",
        "wsctl @ https://example.org/x.whl",
    ],
)
def test_what_tells_to_install_a_name_is_found(text: str) -> None:
    assert told(text)


@pytest.mark.parametrize(
    "text",
    [
        "pip install '.[redis]'",
        "git clone R wsctl && cd wsctl && .venv/bin/pip install . && .venv/bin/wsctl serve",
        'pip install "./wsctl_server-0.1.0-py3-none-any.whl[redis]"',
        "pip wheel --wheel-dir . /src/wsctl",
        "wsctl serve --port 8000",
    ],
)
def test_a_path_is_no_name(text: str) -> None:
    assert told(text) == []


def test_no_file_tells_to_install_a_name() -> None:
    found = {str(path.relative_to(ROOT)): told(path.read_text()) for path in shipped()}
    assert {"README.md", "pyproject.toml", "wsctl/docs/deploy.md"} <= set(found)
    assert {path: words for path, words in found.items() if words} == {}


@pytest.mark.parametrize("kind", KINDS)
def test_no_generated_file_tells_to_install_a_name(kind: str) -> None:
    for home in (False, True):
        for settings in SETTINGS:
            place = Place(f"wsctl generate {kind}", "/opt/wsctl/bin/wsctl", in_home=home)
            assert told(generate_file(kind, settings, place)) == []


def test_no_help_and_no_error_tells_to_install_a_name() -> None:
    texts = [*helps(), package("redis", "redis"), package("PyJWT", "jwt")]
    assert len(texts) > 10
    assert [words for text in texts if (words := told(text))] == []


@pytest.mark.parametrize("extra", ["redis", "jwt"])
def test_an_error_names_an_extra_that_there_is(extra: str) -> None:
    assert extra in PROJECT["optional-dependencies"]
    assert f"pip install '.[{extra}]'" in package("a library", extra)


def test_the_distribution_has_a_name_of_its_own_and_the_command_keeps_its() -> None:
    assert PROJECT["name"] == "wsctl-server"
    assert set(PROJECT["scripts"]) == {"wsctl"}


def test_only_what_belongs_there_lies_beside_the_package() -> None:
    beside = {path.name for path in shipped() if path.parent == ROOT}
    known = {".dockerignore", ".gitattributes", ".gitignore", "LICENSE", "README.md", "pyproject.toml"}
    assert beside - known == set()
