"""The Dockerfile and the file for Compose. There is no engine: they are read as Docker reads them."""

import ensurepip
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from shlex import quote
from typing import Any
from zipfile import ZipFile

import pytest
import yaml
from hypothesis import given

from tests.conftest import StartServer
from tests.support.nginx import NginxProcess
from tests.support.processes import run
from tests.support.server import DEADLINE
from tests.support.sizes import examples
from tests.support.written import ODD, any_settings, quoted_words
from wsctl import __version__
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.deployment import Place, flags, stop_time
from wsctl.cli.recipes.docker import WHEEL, container_settings
from wsctl.errors import UsageError
from wsctl.settings import Settings

ROOT = Path(__file__).parents[3]
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
    text = generate_file("docker", meant, HERE)
    assert json.loads(only(text, "CMD")) == ["serve", *flags(container_settings(meant, "docker"))]


def test_signals_reach_the_server_which_is_not_root() -> None:
    text = generate_file("docker", Settings(port=9000, shutdown_timeout=600), HERE)
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
    found = instructions(generate_file("docker", Settings(), HERE))
    stages = [rest for name, rest in found if name == "FROM"]
    assert len(stages) == 2
    assert stages[0].endswith(" AS build")
    assert ("COPY", "--from=build /opt/wsctl /opt/wsctl") in found
    # No registry is named, neither for images nor for packages.
    assert [rest for name, rest in found if name == "ARG"] == [
        "PYTHON=python:3.13-slim",
        f"WSCTL=wsctl_server-{__version__}-py3-none-any.whl",
    ]


@pytest.mark.parametrize("odd", ODD)
def test_a_variable_is_read_back(odd: str) -> None:
    text = generate_file("docker", Settings(redis=f"redis://store/0?a={odd}"), HERE)
    (line,) = [rest for name, rest in instructions(text) if name == "ENV" and "WSCTL_REDIS" in rest]
    name, _, quoted = line.partition("=")
    assert (name, quoted_words(quoted)) == ("WSCTL_REDIS", [f"redis://store/0?a={odd}"])
    assert not re.search(r"(?<!\\)\$", quoted)
    assert '"./${WSCTL}[redis]"' in text


def test_secrets_are_files_and_are_never_shown() -> None:
    url = "redis://me:s3cret@store:6379/0"
    text = generate_file("docker", Settings(token="s3cret", redis=url), HERE)
    assert "s3cret" not in text
    assert '"./${WSCTL}[jwt]"' in generate_file("docker", Settings(auth="jwt", jwt_key="/k"), HERE)
    for name in ("token", "publish_token", "redis_password"):
        assert f"-e WSCTL_{name.upper()}_FILE=/run/secrets/{name}" in text


def test_the_image_of_an_application_has_it_and_its_packages() -> None:
    mine = Settings(app="main:app")
    steps = instructions(generate_file("docker", mine, HERE))
    assert [rest for name, rest in steps if name == "COPY"][1:] == [
        "requirements.txt /tmp/",
        "--from=build /opt/wsctl /opt/wsctl",
        "app /app/",
    ]
    assert ("RUN", "/opt/wsctl/bin/pip install --no-cache-dir -r /tmp/requirements.txt") in steps
    assert ("WORKDIR", "/app") in steps
    assert "COPY app /app/" in read(mine)["services"]["node-1"]["build"]["dockerfile_inline"]
    there = generate_file("docker", Settings(app="main:app", app_dir="/opt/mine/"), HERE)
    assert ("WORKDIR", "/opt/mine") in instructions(there)
    assert "requirements" not in generate_file("docker", Settings(), HERE)
    with pytest.raises(UsageError, match="without blanks"):
        generate_file("docker", Settings(app="main:app", app_dir="/my app"), HERE)


@pytest.mark.parametrize("kind", ["docker", "compose", "k8s"])
@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_loopback_is_of_no_use_in_a_container(kind: str, host: str) -> None:
    assert "--host=0.0.0.0" in generate_file(kind, Settings(host=host), HERE)
    assert '"--host=::"' in generate_file(kind, Settings(host="::"), HERE)


@pytest.mark.parametrize("kind", ["docker", "compose", "k8s"])
@pytest.mark.parametrize("meant", [Settings(fd=3), Settings(port=0), Settings(uds="/run/x")])
def test_a_container_needs_a_port(kind: str, meant: Settings) -> None:
    with pytest.raises(UsageError, match=kind):
        generate_file(kind, meant, HERE)


def test_a_journal_is_in_a_volume_that_the_server_may_write_to() -> None:
    text = generate_file("docker", Settings(journal="here/log.db"), HERE)
    assert "--journal=/var/lib/wsctl/log.db" in json.loads(only(text, "CMD"))
    assert json.loads(only(text, "VOLUME")) == ["/var/lib/wsctl"]
    names = [name for name, _ in instructions(text)]
    assert ("RUN", "mkdir -p /var/lib/wsctl && chown 10001:10001 /var/lib/wsctl") in instructions(text)
    assert len(names) - names[::-1].index("RUN") - 1 < names.index("VOLUME") < names.index("USER")
    assert " -v wsctl-journal:/var/lib/wsctl wsctl\n" in text
    assert "VOLUME" not in generate_file("docker", Settings(), HERE)


@pytest.mark.parametrize("kind", ["docker", "compose", "k8s"])
@pytest.mark.parametrize(
    ("path", "why"),
    [("/tmp/log.db", "outlive"), ("/etc/log.db", "folder of its own"), ("/log.db", "folder of its own")],
)
def test_a_journal_goes_nowhere_where_it_would_be_lost_or_hide_other_files(
    kind: str, path: str, why: str
) -> None:
    with pytest.raises(UsageError, match=rf"--journal {path}: .*{why}.*--journal log.db"):
        generate_file(kind, Settings(journal=path), HERE)


# What a builder would do, done by hand in a folder: there is no engine on every machine


def test_the_steps_of_a_build_end_in_a_program_that_runs(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    context, image = tmp_path / "context", tmp_path / "image"
    wheel = Path(next(WheelBuilder(str(ROOT)).build(directory=str(context))))
    (context / "token").write_text("s3cret")
    program = _built(generate_file("docker", Settings(redis="redis://store"), HERE), context, image)
    libraries = os.pathsep.join(path for path in sys.path if path.endswith("site-packages"))
    told = _run([program, "--version"], image, PYTHONPATH=libraries)
    assert told == f"wsctl {__version__}\n"
    assert wheel.name in WHEEL
    assert not [path for path in image.rglob("*") if path.name == "token"]


def test_a_build_from_the_source_sees_all_it_needs_and_nothing_else(tmp_path: Path) -> None:
    """`.dockerignore` of the source, read as Docker reads it."""
    from hatchling.builders.wheel import WheelBuilder

    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] != "#"]
    assert lines[0] == "*"
    seen = [line[1:] for line in lines if line[0] == "!"]
    assert set(seen) == {"wsctl", "completions", "pyproject.toml", "README.md", "LICENSE"}
    for name in seen:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, tmp_path / name)
    ours, theirs = (
        sorted(ZipFile(next(WheelBuilder(str(root)).build(directory=str(tmp_path / f"{n}")))).namelist())
        for n, root in enumerate((ROOT, tmp_path))
    )
    assert theirs == ours


def _built(dockerfile: str, context: Path, image: Path) -> Path:
    """Do the steps of the first stage below `image`; returns the program that the image would start.

    The wheel comes from the context; what it needs in turn is not fetched.
    """
    arguments: dict[str, str] = {}
    for name, rest in instructions(dockerfile):
        match name:
            case "FROM" if not rest.endswith(" AS build"):
                break
            case "ARG":
                arguments |= [rest.split("=", 1)]  # type: ignore[arg-type]
            case "COPY":
                source, target = rest.replace("${WSCTL}", arguments["WSCTL"]).split()
                _under(image, target).mkdir(parents=True)
                shutil.copy(context / source, _under(image, target))
            case "RUN":
                _run(
                    ["sh", "-c", re.sub(r"(?<=\s)/(?=opt|tmp)", f"{image}/", f" {rest}")], image, **arguments
                )
    (entry,) = json.loads(only(dockerfile, "ENTRYPOINT"))
    (path,) = [rest for name, rest in instructions(dockerfile) if name == "ENV" and "PATH=" in rest]
    return _under(image, path.removeprefix("PATH=").partition(":")[0]) / entry


def _under(image: Path, path: str) -> Path:
    return image / path.lstrip("/")


def _run(command: list[Any], image: Path, **variables: str) -> str:
    image.mkdir(exist_ok=True)
    (image / "bin").mkdir(exist_ok=True)
    if not (image / "bin" / "python").exists():
        _put_python(image / "bin" / "python")
    path = f"{image / 'bin'}{os.pathsep}{os.environ['PATH']}"
    # What is compiled is not looked at, and is most of the work.
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_COMPILE": "1", "PATH": path}
    done = subprocess.run(
        command, env={**os.environ, **offline, **variables}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
set -e
{python} -m venv --without-pip "$3"
{python} -m zipfile -e {wheel} "$(echo "$3"/lib/python*/site-packages)"
printf '#!/bin/sh\\nexec %s/bin/python -m pip "$@"\\n' "$3" >"$3/bin/pip"
chmod +x "$3/bin/pip"
"""
"""Python, in whose virtual environments pip is unpacked: where `venv` installs it, all of it is compiled."""


def _put_python(path: Path) -> None:
    """This interpreter; where its own pip is not at hand, `venv` installs one."""
    wheels = [*Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl")]
    if wheels:
        path.write_text(PYTHON.format(python=quote(sys.executable), wheel=quote(str(wheels[0]))))
        path.chmod(0o700)
    else:
        path.symlink_to(sys.executable)


NODES = ("node-1", "node-2")


def read(meant: Settings) -> Any:
    """As Compose has it when it has replaced variables, of which there are none."""
    return _undollared(yaml.safe_load(generate_file("compose", meant, HERE)))


def _undollared(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _undollared(value) for key, value in found.items()}
    if isinstance(found, list):
        return [_undollared(each) for each in found]
    if not isinstance(found, str):
        return found
    assert "$" not in found.replace("$$", "")
    return found.replace("$$", "$")


@given(any_settings())
@examples(20)
def test_both_nodes_are_told_what_the_settings_say(meant: Settings) -> None:
    found = read(meant)["services"]
    for name in NODES:
        node = found[name]
        told = [word for word in flags(meant) if not word.startswith(("--ssl", "--host", "--forwarded"))]
        assert [word for word in node["command"] if word in told] == told
        assert node["stop_grace_period"] == f"{stop_time(meant)}s"


def test_two_nodes_share_a_redis_behind_nginx() -> None:
    found = read(Settings(port=9000, shutdown_timeout=600))
    services = found["services"]
    assert set(services) == {*NODES, "redis", "nginx"}
    for name in NODES:
        node = services[name]
        assert node["command"] == [
            "serve",
            "--host=0.0.0.0",
            "--port=9000",
            "--shutdown-timeout=600",
            "--forwarded-allow-ips=*",
        ]
        assert node["environment"] == {
            "WSCTL_REDIS": "redis://redis:6379/0",
            "WSCTL_STOP_TIMEOUT": "630",
        }
        assert node["stop_grace_period"] == "630s"
        assert (node["read_only"], node["cap_drop"], "init" in node) == (True, ["ALL"], False)
        assert node["ulimits"] == {"nofile": 65536}
        assert "ports" not in node
    assert services["nginx"]["ports"] == ["9000:80"]


def test_a_node_is_checked_at_its_admin_address_which_nobody_else_reaches(start_server: StartServer) -> None:
    found = read(Settings(app="main:app", admin_port=9000))
    node = found["services"]["node-1"]
    assert {"--admin-port=9000", "--admin-host=0.0.0.0"} <= set(node["command"])
    assert "ports" not in node
    assert "9000" not in str(found["configs"])
    assert "healthcheck" not in read(Settings())["services"]["node-1"]
    server = start_server("--admin-port", "0")
    port = server.wait_for_line(r"admin address.* url=\S+:(\d+)").group(1)
    command, python, *check = [word.replace("9000", port) for word in node["healthcheck"]["test"]]
    assert (command, python) == ("CMD", "python")
    assert run([sys.executable, *check], timeout=DEADLINE).returncode == 0
    server.kill()
    assert run([sys.executable, *check], timeout=DEADLINE).returncode == 1


def test_nginx_and_redis_outlive_the_drain() -> None:
    """Compose stops who depends on others before them."""
    services = read(Settings())["services"]
    for name in NODES:
        assert set(services[name]["depends_on"]) == {"nginx", "redis"}
    assert "depends_on" not in services["nginx"]


def test_a_redis_elsewhere_is_not_started_here() -> None:
    found = read(Settings(redis="redis://store:6379/0"))
    assert set(found["services"]) == {*NODES, "nginx"}
    assert "volumes" not in found
    assert found["services"]["node-1"]["environment"]["WSCTL_REDIS"] == "redis://store:6379/0"


def test_the_image_is_built_from_the_file_itself() -> None:
    found = read(Settings(port=9000))["services"]["node-1"]["build"]["dockerfile_inline"]
    plain = generate_file("docker", Settings(port=9000, redis="redis://x"), HERE)
    assert instructions(found) == [each for each in instructions(plain) if "redis://" not in each[1]]


def test_nginx_takes_what_is_written_for_it(tmp_path: Path) -> None:
    meant = Settings(port=9000, max_connections=1000, root_path="/a $b")
    text = read(meant)["configs"]["nginx"]["content"]
    for name in NODES:
        assert f"server {name}:9000 max_fails=0 resolve;" in text
        # Names of Compose's, and what nginx 1.27 brought.
        text = text.replace(f"{name}:9000 max_fails=0 resolve", "127.0.0.1:9000")
    site = text[text.index("http {") + len("http {") : text.rindex("}")]
    with NginxProcess(site, tmp_path) as nginx:
        assert nginx.check() == ""
    assert "worker_connections 4256;" in text


def test_secrets_of_compose_are_files_and_are_never_shown() -> None:
    meant = Settings(token="s3cret", redis="redis://me:s3cret@store/0", ssl_certfile="/my $c.pem")
    assert "s3cret" not in generate_file("compose", meant, HERE)
    found = read(meant)
    assert found["secrets"] == {
        "token": {"file": "./token"},
        "redis_password": {"file": "./redis_password"},
        "ssl_certfile": {"file": "/my $c.pem"},
    }
    node = found["services"]["node-2"]
    assert node["secrets"] == list(found["secrets"])
    assert node["environment"] == {
        "WSCTL_REDIS": "redis://me@store/0",
        "WSCTL_STOP_TIMEOUT": "1830",
        "WSCTL_TOKEN_FILE": "/run/secrets/token",
        "WSCTL_REDIS_PASSWORD_FILE": "/run/secrets/redis_password",
    }
    assert "--ssl-certfile=/run/secrets/ssl_certfile" in node["command"]
    assert "secrets" not in read(Settings())
    assert "`publish_token`, and `WSCTL_PUBLISH_TOKEN_FILE`" in generate_file("compose", Settings(), HERE)
    assert read(Settings(publish_token="s3cret"))["secrets"] == {"publish_token": {"file": "./publish_token"}}


def test_a_journal_belongs_to_one_node_which_needs_no_redis() -> None:
    found = read(Settings(journal="/data/log.db", journal_sync="normal"))
    assert set(found["services"]) == {"node-1", "nginx"}
    node = found["services"]["node-1"]
    assert {"--journal=/data/log.db", "--journal-sync=normal"} < set(node["command"])
    assert (node["volumes"], found["volumes"]) == (["journal:/data"], {"journal": {}})
    assert "WSCTL_REDIS" not in node["environment"]
    assert set(node["depends_on"]) == {"nginx"}
    assert 'VOLUME ["/data"]' in node["build"]["dockerfile_inline"]
    assert "[redis]" not in node["build"]["dockerfile_inline"]
    assert found["configs"]["nginx"]["content"].count("max_fails=0 resolve") == 1
    text = generate_file("compose", Settings(journal="log.db"), HERE)
    assert text.startswith("# One wsctl ")
    assert "node-2" not in text
    assert "volumes" not in read(Settings())["services"]["node-1"]
