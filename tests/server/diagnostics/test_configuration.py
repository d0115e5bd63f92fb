"""Settings that harm by themselves, and variables that have no effect."""

import ast
import re
from pathlib import Path

import pytest

from wsctl.server.diagnostics import configuration
from wsctl.server.diagnostics.configuration import (
    OF_SETTINGS,
    PROXY_TIMEOUT,
    check_drain_parts,
    check_embedded_variables,
    check_keepalive,
    check_leaving,
    check_readiness,
    check_variables,
    unknown_variables,
)
from wsctl.server.diagnostics.finding import Level
from wsctl.settings import FLAGS, Settings, variable

PACKAGE = Path(configuration.__file__).parents[2]


def told(settings: Settings | None = None, **environ: str) -> list[tuple[str, str]]:
    found = list(check_variables(settings or Settings(), environ))
    assert all(each.level == "warning" for each in found)
    return [(each.text, each.fix or "") for each in found]


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("WSCTL_SHUTDWON_TIMEOUT", "WSCTL_SHUTDOWN_TIMEOUT"),
        ("WSCTL_SHUTDOWN", "WSCTL_SHUTDOWN_TIMEOUT"),
        ("WSCTL_PORTS", "WSCTL_PORT"),
        ("WSCTL_TOKEN_FIEL", "WSCTL_TOKEN_FILE"),
        ("WSCTL_REDIS_URL", "WSCTL_REDIS"),
        ("wsctl_port", "WSCTL_PORT"),
        ("WSCTL_RUNTIMEDIR", "WSCTL_RUNTIME_DIR"),
    ],
)
def test_a_slip_is_told_with_the_name_that_was_meant(name: str, near: str) -> None:
    ((text, fix),) = told(**{name: "1"})
    assert text.startswith(f"{name} is no setting")
    assert fix == f"did you mean {near}?"


def test_a_name_that_is_like_no_other_is_told_with_where_they_are() -> None:
    ((text, fix),) = told(WSCTL_BOGUS="1")
    assert text.startswith("WSCTL_BOGUS is no setting")
    assert "wsctl serve --help" in fix


def test_a_name_is_told_in_one_line() -> None:
    ((text, _),) = told(**{"WSCTL_A\nB": "1"})
    assert "\n" not in text


def test_all_that_the_program_reads_is_known() -> None:
    spelled = {variable(field.name) for field in FLAGS}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                spelled |= set(re.findall(r"^WSCTL_[A-Z_]*[A-Z]$", node.value))
    assert {"WSCTL_TOKEN", "WSCTL_RUNTIME_DIR", "WSCTL_HANDOVER_FD", "WSCTL_URL"} <= spelled
    assert OF_SETTINGS - spelled <= {f"{name}_FILE" for name in OF_SETTINGS}
    assert list(unknown_variables(dict.fromkeys(spelled, "x"))) == []


def test_what_kubernetes_says_of_a_service_is_no_slip() -> None:
    names = (
        *("WSCTL_SERVICE_HOST", "WSCTL_SERVICE_PORT", "WSCTL_SERVICE_PORT_WS"),
        *("WSCTL_PORT_80_TCP", "WSCTL_PORT_80_TCP_ADDR", "WSCTL_REDIS_SERVICE_HOST"),
    )
    assert told(**dict.fromkeys(names, "10.0.0.1")) == []
    assert told(WSCTL_REDIS_PORT="tcp://10.0.0.1:6379") == []


@pytest.mark.parametrize(
    "name", ["WSCTL_AUTH", "WSCTL_JWT_KEY", "WSCTL_CLIENT_PUBLISH", "WSCTL_SSL_CERTFILE"]
)
def test_an_empty_variable_is_told(name: str) -> None:
    ((text, _),) = told(**{name: ""})
    assert text == f"{name} is empty, which counts as not set"


def test_an_empty_variable_beside_a_flag_is_not_told() -> None:
    assert told(Settings(auth="token", client_token="s3cret"), WSCTL_AUTH="") == []


def test_uvicorn_s_variable_for_proxies_is_not_heard() -> None:
    ((text, fix),) = told(FORWARDED_ALLOW_IPS="*")
    assert "only loopback is believed" in text
    assert "--forwarded-allow-ips" in fix
    assert told(Settings(forwarded_allow_ips="10.0.0.1"), FORWARDED_ALLOW_IPS="*") == []
    assert told(Settings(proxy_headers=False), FORWARDED_ALLOW_IPS="*") == []


@pytest.mark.parametrize("name", ["WSCTL_CLIENT_TOKEN", "WSCTL_CLIENT_TOKEN_FILE"])
def test_a_token_that_no_client_is_asked_for_is_told(name: str) -> None:
    ((text, fix),) = told(**{name: "s3cret"})
    assert text == f"{name} is set, but --auth is none: no client is asked for it"
    assert "--auth token" in fix
    assert told(Settings(auth="jwt", jwt_key="k"), **{name: "s3cret"})
    assert told(Settings(auth="token", client_token="s3cret"), **{name: "s3cret"}) == []


@pytest.mark.parametrize("name", ["WSCTL_REDIS_PASSWORD", "WSCTL_REDIS_PASSWORD_FILE"])
def test_a_password_of_no_redis_is_told(name: str) -> None:
    ((text, _),) = told(**{name: "s3cret"})
    assert text.startswith(f"{name} is set, but there is no --redis")
    assert told(Settings(redis="redis://h"), **{name: "s3cret"}) == []
    ((text, _),) = told(Settings(redis="redis://:tiger@h"), **{name: "s3cret"})
    assert "the password in WSCTL_REDIS is not used" in text
    assert "tiger" not in text


def test_a_file_beside_the_secret_itself_is_told() -> None:
    ((text, _),) = told(WSCTL_TOKEN="s3cret", WSCTL_TOKEN_FILE="/x")
    assert text == "WSCTL_TOKEN_FILE is not read, since WSCTL_TOKEN is set too"


def test_what_only_a_server_of_ours_hears_is_told_under_another() -> None:
    environ = {"WSCTL_SSL_CERTFILE": "c.pem", "WSCTL_SSL_KEYFILE": "k.pem", "FORWARDED_ALLOW_IPS": "*"}
    texts = [found.text for found in check_embedded_variables(Settings(), environ)]
    assert [text.partition(" ")[0] for text in texts] == ["WSCTL_SSL_CERTFILE", "WSCTL_SSL_KEYFILE"]


def test_what_is_heard_is_not_told() -> None:
    assert told(WSCTL_TOKEN="s3cret", WSCTL_PORT="1", PATH="/bin", WSCTL_RUNTIME_DIR="/x") == []


@pytest.mark.parametrize(
    ("interval", "level"),
    [
        (0, "warning"),
        (20, "ok"),
        (PROXY_TIMEOUT - 1, "ok"),
        (PROXY_TIMEOUT, "warning"),
        (PROXY_TIMEOUT + 1, "warning"),
    ],
)
def test_pings_come_before_proxies_cut(interval: float, level: str) -> None:
    assert check_keepalive(interval).level == level


def test_a_pod_needs_time_until_it_is_known_to_drain() -> None:
    without, given = check_readiness(Settings(), True), check_readiness(Settings(drain_delay=5), True)
    assert without
    assert given
    assert (without.level, given.level) == (Level.WARNING, Level.OK)
    assert check_readiness(Settings(), False) is None


def test_by_default_nobody_is_asked_to_leave_which_is_an_advice_with_the_flags() -> None:
    found = check_leaving(Settings(shutdown_timeout=600))
    assert (found.level, found.text) == (
        Level.ADVICE,
        "a drain asks nobody to leave, and closes clients by force after 600 s",
    )
    assert (found.fix or "").startswith("--drain-delay 15 --reconnect-window 60; 'wsctl docs deploy'")
    fix = check_leaving(Settings(), embedded=True).fix or ""
    assert fix.startswith("WSCTL_DRAIN_DELAY=15 WSCTL_RECONNECT_WINDOW=60;")
    assert check_leaving(Settings(reconnect_window=60)).level is Level.OK


@pytest.mark.parametrize(
    ("part", "flag"), [("drain_spread", "--drain-spread"), ("reconnect_window", "--reconnect-window")]
)
def test_what_is_longer_than_the_drain_is_warned_of(part: str, flag: str) -> None:
    (found,) = check_drain_parts(Settings(shutdown_timeout=10, **{part: 20.0}))
    assert found.level is Level.WARNING
    assert found.text == f"{flag} 20 is longer than a drain, and is cut short to 10 s"
    assert found.fix == f"--shutdown-timeout 20, or {flag} 10"


def test_what_fits_is_not_worth_a_word() -> None:
    assert not list(check_drain_parts(Settings()))
    assert not list(check_drain_parts(Settings(shutdown_timeout=10, drain_spread=10, reconnect_window=10)))


def test_an_application_under_another_server_is_told_of_variables() -> None:
    (found,) = check_drain_parts(Settings(shutdown_timeout=10, drain_spread=20), embedded=True)
    assert found.text.startswith("WSCTL_DRAIN_SPREAD=20 is longer")
    assert found.fix == "WSCTL_SHUTDOWN_TIMEOUT=20, or WSCTL_DRAIN_SPREAD=10"
