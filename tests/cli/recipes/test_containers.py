"""The Dockerfile. There is no engine to build it: its instructions are read as Docker reads them."""

import json
import re

import pytest
from hypothesis import given

from tests.support.written import ODD, any_settings, quoted_words
from wsctl import __version__
from wsctl.cli.recipes import made
from wsctl.cli.recipes.containers import contained
from wsctl.cli.recipes.place import Place
from wsctl.cli.recipes.words import flags
from wsctl.errors import UsageError
from wsctl.settings import Settings

HERE = Place(made_by="wsctl generate docker", program="/usr/bin/wsctl")


def instructions(text: str) -> list[tuple[str, str]]:
    """Name and arguments of each; none goes over several lines."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines)]


def only(text: str, name: str) -> str:
    (found,) = [rest for each, rest in instructions(text) if each == name]
    return found


@given(any_settings())
def test_the_command_says_what_the_settings_say(meant: Settings) -> None:
    text = made("docker", meant, HERE)
    assert json.loads(only(text, "CMD")) == ["serve", *flags(contained(meant, "docker"))]


def test_signals_reach_the_server_which_is_not_root() -> None:
    text = made("docker", Settings(port=9000, shutdown_timeout=600), HERE)
    assert json.loads(only(text, "ENTRYPOINT")) == ["wsctl"]
    assert json.loads(only(text, "CMD")) == [
        "serve",
        "--host=0.0.0.0",
        "--port=9000",
        "--shutdown-timeout=600",
    ]
    assert only(text, "STOPSIGNAL") == "SIGTERM"
    assert only(text, "EXPOSE") == "9000"
    assert int(only(text, "USER").partition(":")[0]) > 0
    check = only(text, "HEALTHCHECK")
    assert json.loads(check.partition("CMD ")[2]) == ["wsctl", "status"]
    assert "--stop-timeout 630" in text


def test_what_builds_is_left_behind() -> None:
    found = instructions(made("docker", Settings(), HERE))
    stages = [rest for name, rest in found if name == "FROM"]
    assert len(stages) == 2
    assert stages[0].endswith(" AS build")
    assert ("COPY", "--from=build /opt/wsctl /opt/wsctl") in found
    # No registry is named, neither for images nor for packages.
    assert [rest for name, rest in found if name == "ARG"] == [
        "PYTHON=python:3.13-slim",
        f"WSCTL=wsctl=={__version__}",
    ]


@pytest.mark.parametrize("odd", ODD)
def test_a_variable_is_read_back(odd: str) -> None:
    text = made("docker", Settings(redis=f"redis://store/0?a={odd}"), HERE)
    (line,) = [rest for name, rest in instructions(text) if name == "ENV" and "WSCTL_REDIS" in rest]
    name, _, quoted = line.partition("=")
    assert (name, quoted_words(quoted)) == ("WSCTL_REDIS", [f"redis://store/0?a={odd}"])
    assert not re.search(r"(?<!\\)\$", quoted)
    assert f"ARG WSCTL=wsctl[redis]=={__version__}" in text


def test_secrets_are_files_and_are_never_shown() -> None:
    url = "redis://me:s3cret@store:6379/0"
    text = made("docker", Settings(token="s3cret", redis=url), HERE)
    assert "s3cret" not in text
    assert f"ARG WSCTL=wsctl[jwt]=={__version__}" in made("docker", Settings(auth="jwt", jwt_key="/k"), HERE)
    for name in ("token", "redis_password"):
        assert f"-e WSCTL_{name.upper()}_FILE=/run/secrets/{name}" in text


@pytest.mark.parametrize("kind", ["docker", "compose", "k8s"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_of_no_use_in_a_container(kind: str, host: str) -> None:
    assert "--host=0.0.0.0" in made(kind, Settings(host=host), HERE)
    assert '"--host=::"' in made(kind, Settings(host="::"), HERE)


@pytest.mark.parametrize("kind", ["docker", "compose", "k8s"])
@pytest.mark.parametrize("meant", [Settings(fd=3), Settings(port=0), Settings(uds="/run/x")])
def test_a_container_needs_a_port(kind: str, meant: Settings) -> None:
    with pytest.raises(UsageError, match=kind):
        made(kind, meant, HERE)
