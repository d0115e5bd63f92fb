"""`wsctl generate`, as it is typed."""

import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.server import wsctl
from wsctl.cli.app import run
from wsctl.cli.generate import KINDS, in_home, this_program
from wsctl.cli.recipes import RECIPES, generate_file
from wsctl.cli.recipes.deployment import Place
from wsctl.errors import UsageError
from wsctl.settings import FLAGS, Settings, drain_policies

DEPLOYMENTS = ("systemd", "systemd-socket", "systemd-template", "nginx", "docker", "compose", "k8s")


@pytest.mark.parametrize("kind", ["systemd", "compose"])
def test_a_file_says_how_it_was_made_and_is_made_so_again(kind: str, environ: dict[str, str]) -> None:
    told = {"WSCTL_PORT": "9000", "WSCTL_TOKEN": "s3cret", "WSCTL_REDIS": "redis://:s3cret@store/0"}
    flags = ("--shutdown-timeout", "10m", "--root-path", "/it's $x")
    done = wsctl("generate", kind, *flags, environ=environ | told)
    assert (done.returncode, done.stderr) == (0, "")
    assert "s3cret" not in done.stdout
    made_by = shlex.split(done.stdout.splitlines()[1].removeprefix("#"))
    assert made_by == [
        *("wsctl", "generate", kind, "--port=9000", "--shutdown-timeout=600"),
        *("--root-path=/it's $x", "--redis=redis://store/0"),
    ]
    secrets = {"WSCTL_TOKEN": "another", "WSCTL_REDIS_PASSWORD": "another"}
    again = wsctl(*made_by[1:], environ=environ | secrets)
    assert again.stdout == done.stdout


def test_a_variable_that_is_no_setting_is_told(environ: dict[str, str]) -> None:
    done = wsctl("generate", "systemd", environ=environ | {"WSCTL_PROT": "9000"})
    assert done.returncode == 0
    assert done.stderr == "wsctl: WSCTL_PROT is no setting, and has no effect: did you mean WSCTL_PORT?\n"


def test_it_is_written_to_a_file_but_not_over_one(environ: dict[str, str], tmp_path: Path) -> None:
    path = tmp_path / "wsctl.service"
    printed = wsctl("generate", "systemd", environ=environ).stdout
    assert wsctl("generate", "systemd", "--output", str(path), environ=environ).stdout == ""
    assert path.read_text() == printed
    path.write_text("mine")
    refused = wsctl("generate", "systemd", "-o", str(path), environ=environ)
    assert refused.returncode == 1
    assert refused.stderr == f"wsctl: {path} is there already: --force writes over it\n"
    assert path.read_text() == "mine"
    assert wsctl("generate", "systemd", "-o", str(path), "--force", environ=environ).returncode == 0
    assert path.read_text() == printed


@pytest.mark.parametrize("force", [(), ("--force",)], ids=["", "--force"])
def test_a_place_where_nothing_can_be_written_is_told_with_what_to_do(
    force: tuple[str, ...], environ: dict[str, str], tmp_path: Path
) -> None:
    folder, nowhere = tmp_path / "folder", tmp_path / "none" / "file"
    folder.mkdir()
    for path, why in [
        (folder, f"--output {folder} is a folder: name a file in it, as in {folder / 'FILE'}"),
        (nowhere, f"--output {nowhere}: there is no folder {nowhere.parent}: make it first"),
    ]:
        refused = wsctl("generate", "systemd", "-o", str(path), *force, environ=environ)
        assert (refused.returncode, refused.stderr) == (1, f"wsctl: {why}\n")


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("nothing",), 2, "systemd, systemd-socket"),
        (("systemd", "--port", "0"), 2, "--port 0"),
        (("systemd", "--upstream", "a:1"), 2, "it is for nginx"),
        (("nginx", "--upstream", "a b"), 2, "HOST:PORT"),
        (("nginx", "--upstream", "unix:/x;\nlisten 1"), 2, "--upstream"),
        (("nginx", "--host", "a\nb"), 2, "--host"),
        (("docker", "--forwarded-allow-ips", "a\nb"), 2, "no network"),
        (("k8s", "--program", "/x"), 2, "it is for systemd"),
        (("k8s", "--root-path", "/a\nb"), 2, "--root-path"),
        (("docker", "--root-path", "\udcff"), 2, "--root-path"),
        (("docker", "-o", "/nowhere/Dockerfile"), 1, "/nowhere/Dockerfile"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(
    words: tuple[str, ...], code: int, why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["generate", *words]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert why in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("kind", DEPLOYMENTS)
@pytest.mark.parametrize("character", ["\n", "\r", "\0", "\x1b", "\x85", "\u2028"])
def test_no_value_begins_a_line_of_its_own(kind: str, character: str) -> None:
    evil = f"/a{character}Evil=1"
    texts = [field.name for field in FLAGS if field.type in (str, str | None)]
    assert len(texts) > 8
    for name in texts:
        meant = replace(Settings(), **_needed(name), **{name: evil})
        with pytest.raises(UsageError, match="no file of settings") as told:
            generate_file(kind, meant, Place("x", "/x"))
        assert len(str(told.value).splitlines()) == 1
    for place in ({"program": evil}, {"upstreams": (evil,)}, {"made_by": evil}):
        with pytest.raises(UsageError, match="no file of settings"):
            Place(**{"made_by": "x", "program": "/x", **place})  # type: ignore[arg-type]


def _needed(name: str) -> dict[str, Any]:
    """What must be set with a setting."""
    if name.startswith("jwt_"):
        return {"auth": "jwt"} | ({} if name == "jwt_key" else {"jwt_key": "/k"})
    if name == "admin_host":
        return {"admin_port": 9000}
    if name in ("app_dir", "env_file"):
        return {"app": "main:app"}
    if name == "admin_host":
        return {"admin_port": 0}
    return {"ssl_certfile": "/c"} if name == "ssl_keyfile" else {}


@pytest.mark.parametrize("kind", ["systemd", "docker", "compose", "k8s"])
def test_an_application_and_its_policies_are_started(kind: str) -> None:
    policies = drain_policies("/events=close /ws/*=notify:1.5m")
    meant = replace(Settings(), app="main:app", app_dir="/srv/app", drain_policy=policies, admin_port=9000)
    text = generate_file(kind, meant, Place("x", "/x"))
    for word in ("main:app", "--app-dir=/srv/app", "--drain-policy=/events=close", "/ws/*=notify:90s"):
        assert word in text
    assert "--admin-port=9000" in text


def test_probes_of_an_application_need_its_admin_address(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["generate", "k8s", "main:app"]) == 2
    assert "add --admin-port 9000" in capsys.readouterr().err


@pytest.mark.parametrize("kind", DEPLOYMENTS)
def test_lines_are_short_enough_to_be_read(kind: str) -> None:
    text = generate_file(kind, Settings(), Place(f"wsctl generate {kind}", "/opt/wsctl/bin/wsctl"))
    assert [line for line in text.splitlines() if len(line.removeprefix("    ")) > 115] == []


def test_help_names_every_kind(environ: dict[str, str]) -> None:
    text = " ".join(wsctl("generate", "--help", environ=environ).stdout.split())
    assert ", ".join(RECIPES) in text


def test_the_wsctl_beside_the_interpreter_is_meant(tmp_path: Path) -> None:
    program = tmp_path / "wsctl"
    program.touch(0o755)
    assert this_program(str(tmp_path / "python")) == str(program)
    assert this_program(str(tmp_path / "elsewhere" / "python")).endswith("/wsctl")


def test_a_home_is_recognised_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "wsctl").symlink_to("/home/me/bin/wsctl")
    assert in_home("/usr/bin/wsctl", str(tmp_path / "wsctl"))
    assert in_home("/root/.venv/bin/wsctl")
    assert not in_home("/opt/home/wsctl")


def test_there_is_a_recipe_for_each_kind_and_no_other() -> None:
    assert tuple(RECIPES) == KINDS
