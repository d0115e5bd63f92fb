"""The completion scripts, each tried in its shell; `wsctl completions`, which prints them."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.shells import PROMPT, TAB, on_terminal
from tests.support.command_tree import TREE
from tests.support.programs import need
from tests.support.server import DEADLINE, wsctl
from wsctl.cli.completions import FILES, SHELLS, Shell, script

FOLDER = Path(__file__).parents[2] / "completions"

Complete = Callable[[str], dict[str, str]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where TAB is pressed: one file is there."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "chain of trust.pem").touch()
    return folder


@pytest.fixture
def shell_environ(
    environ: dict[str, str], tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    of_all = {"TERM": "xterm", "DUMP": str(tmp_path_factory.getbasetemp() / "zcompdump")}
    return environ | of_all | {"HOME": str(tmp_path), "SCRIPT": str(tmp_path / "script")}


@pytest.fixture(params=TAB)
def complete(request: pytest.FixtureRequest, folder: Path, shell_environ: dict[str, str]) -> Complete:
    """What each shell offers for a line: words, with their help where it shows it."""
    need(request.param)
    Path(shell_environ["SCRIPT"]).write_text(script(request.param, TREE))

    def press_tab(line: str) -> dict[str, str]:
        rows = TAB[request.param](shell_environ | {"LINE": line}, folder).splitlines()
        return {word: text for word, _, text in (row.partition("\t") for row in rows) if word}

    return press_tab


def test_every_command_is_offered(complete: Complete) -> None:
    assert set(complete("wsctl ")) == set(TREE.commands)


def test_a_command_is_completed_with_its_help(complete: Complete, request: pytest.FixtureRequest) -> None:
    offered = complete("wsctl se")
    assert list(offered) == ["serve"]
    if "bash" not in request.node.callspec.params["complete"]:
        assert "Run a server" in offered["serve"]


def test_global_options_stand_before_the_command(complete: Complete) -> None:
    assert set(complete("wsctl --")) >= {"--version", "--no-color", "--help"}
    assert list(complete("wsctl --no-color se")) == ["serve"]


def test_an_option_of_a_command_is_completed_from_its_start(complete: Complete) -> None:
    assert list(complete("wsctl serve --shut")) == ["--shutdown-timeout"]


def test_both_forms_of_a_switch_are_offered(complete: Complete) -> None:
    assert list(complete("wsctl serve --access")) == ["--access-log"]
    assert list(complete("wsctl serve --no-access")) == ["--no-access-log"]


def test_options_of_other_commands_are_not_offered(complete: Complete) -> None:
    assert not complete("wsctl completions --shut")


def test_fixed_words_are_offered(complete: Complete) -> None:
    assert set(complete("wsctl serve --log-level ")) == {"debug", "info", "warning", "error"}
    assert list(complete("wsctl serve --port 80 --log-format j")) == ["json"]


def test_files_are_offered_where_a_file_is_meant(complete: Complete) -> None:
    (offered,) = complete("wsctl serve --ssl-certfile ")
    assert offered.replace("\\", "") == "chain of trust.pem"


@pytest.mark.parametrize(
    "line",
    [
        "wsctl serve --port ",
        "wsctl serve --shutdown-timeout ",
        "wsctl status --port ",
        "wsctl broadcast --to ",
    ],
)
def test_nothing_is_offered_where_nobody_can_guess(complete: Complete, line: str) -> None:
    assert not complete(line)


def test_shells_are_offered_to_completions_once(complete: Complete) -> None:
    assert set(complete("wsctl completions ")) == set(SHELLS)
    assert not set(SHELLS) & set(complete("wsctl completions bash "))


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("wsctl serve --log-level = w", ["warning"]),
        ("wsctl serve --log-format =", ["auto", "text", "json"]),
        ("wsctl serve --log-level=w", ["--log-level=warning"]),
        ("wsctl serve --rate 20/s : 40 --log-f", ["--log-format"]),
        ("wsctl serve --rate 20/s : ", []),
    ],
    ids=["after =", "at =", "= not split", "behind :", "after :"],
)
def test_bash_joins_what_readline_split(
    line: str, offered: list[str], folder: Path, shell_environ: dict[str, str]
) -> None:
    need("bash")
    Path(shell_environ["SCRIPT"]).write_text(script("bash", TREE))
    assert TAB["bash"](shell_environ | {"LINE": line}, folder).split() == offered


def test_bash_on_a_terminal_quotes_a_file_name(folder: Path, shell_environ: dict[str, str]) -> None:
    need("bash")
    Path(shell_environ["SCRIPT"]).write_text(script("bash", TREE))
    rc = folder.parent / "bashrc"
    rc.write_text(f"source {shell_environ['SCRIPT']}; PS1='{PROMPT.decode()}'")
    typed = "wsctl serve --ssl-certfile ch\t\x15exit\n"
    shown = on_terminal(["bash", "--rcfile", str(rc), "-i"], shell_environ, folder, typed)
    assert r"chain\ of\ trust.pem" in shown


@pytest.mark.parametrize("shell", SHELLS)
def test_the_file_in_completions_is_fresh(shell: Shell) -> None:
    if (FOLDER / FILES[shell]).read_text(encoding="utf-8") != script(shell, TREE):
        pytest.fail(f"{FILES[shell]} is stale: run python -m wsctl.cli.completions completions")


def test_the_files_are_written_into_a_folder(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "wsctl.cli.completions"]
    subprocess.run([*command, str(tmp_path)], check=True, timeout=DEADLINE)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        FILES[shell]: script(shell, TREE) for shell in SHELLS
    }


@pytest.mark.parametrize("shell", SHELLS)
def test_completions_prints_the_script(shell: Shell, environ: dict[str, str]) -> None:
    done = wsctl("completions", shell, environ=environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, script(shell, TREE), "")


def test_an_unknown_shell_is_a_usage_error_that_names_the_known(environ: dict[str, str]) -> None:
    done = wsctl("completions", "tcsh", environ=environ)
    assert done.returncode == 2
    assert not done.stdout
    assert len(done.stderr.splitlines()) == 1
    assert "bash, zsh, fish" in done.stderr


def test_help_says_how_to_install_for_each_shell(environ: dict[str, str]) -> None:
    lines = wsctl("completions", "--help", environ=environ).stdout.splitlines()
    assert [shell for shell in SHELLS if any(f"wsctl completions {shell} >" in line for line in lines)] == [
        *SHELLS
    ]


def test_a_missing_shell_fails_only_where_tests_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="not installed: no-such-shell"):
        need("no-such-shell")
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception, match="not installed: no-such-shell"):
        need("no-such-shell")
