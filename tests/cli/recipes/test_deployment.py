"""Settings as flags and variables, and what follows from them."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.command_tree import TREE
from tests.support.written import any_settings
from wsctl.cli.options import settings_from
from wsctl.cli.recipes.deployment import (
    environment,
    flags,
    idle_timeout,
    open_files,
    redis_without_password,
    secret_names,
    stop_time,
)
from wsctl.errors import UsageError
from wsctl.server.diagnostics.stop_time import check_platform, longest_drain, recommended_stop_time
from wsctl.server.listening.limits import capacity
from wsctl.settings import Rate, Settings

SERVE: Any = TREE.commands["serve"]


@given(any_settings())
@example(Settings(broadcast_interval=1e-05, history_bytes=0, rate=Rate(0.000001, 1), log_level="debug"))
def test_serve_understands_the_flags_as_they_were_meant(meant: Settings) -> None:
    given = SERVE.make_context("serve", flags(meant)).params
    assert settings_from(given, {}) == meant


def test_only_what_differs_is_said() -> None:
    assert flags(Settings()) == []
    assert flags(Settings(port=9000, shutdown_timeout=600.0, client_publish=())) == [
        "--port=9000",
        "--shutdown-timeout=600",
        "--client-publish=off",
    ]
    assert flags(Settings(rate=Rate(2.5, 5), allow_origin=("https://a.example", "https://b.example"))) == [
        "--rate=2.5/s:5",
        "--allow-origin=https://a.example",
        "--allow-origin=https://b.example",
    ]


def test_a_flag_that_cannot_be_written_is_named() -> None:
    with pytest.raises(UsageError, match="--root-path"):
        flags(Settings(root_path="/a\nb"))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:1/0", "redis://h:1/0"),
        ("redis://me:s3cret@h:1/0", "redis://me@h:1/0"),
        ("redis://:s3cret@h:1/0?a=b", "redis://h:1/0?a=b"),
        ("redis://h:1/0?password=s3cret&db=2", "redis://h:1/0?db=2"),
        ("unix://:s3cret@/run/redis?db=0", "unix:///run/redis?db=0"),
        ("redis+sentinel://me:s3cret@a:1,b:2/main", "redis+sentinel://me@a:1,b:2/main"),
    ],
)
def test_a_password_in_a_url_is_a_secret_of_its_own(url: str, shown: str) -> None:
    meant = Settings(redis=url)
    assert redis_without_password(meant) == shown
    assert environment(meant) == {"WSCTL_REDIS": shown}
    assert secret_names(meant) == (["redis_password"] if "s3cret" in url else [])
    assert flags(meant) == []


def test_a_password_that_goes_nowhere_else_is_refused_without_being_shown() -> None:
    with pytest.raises(UsageError, match="sentinel_password") as refused:
        redis_without_password(Settings(redis="redis+sentinel://a:1/main?sentinel_password=s3cret"))
    assert "s3cret" not in str(refused.value)


def test_secrets_are_named() -> None:
    assert secret_names(Settings()) == []
    assert secret_names(Settings(token="s3cret", redis_password="s3cret")) == ["token", "redis_password"]


@given(any_settings())
def test_nobody_drains_any_more_when_a_platform_kills(meant: Settings) -> None:
    assert longest_drain(meant) < stop_time(meant) <= longest_drain(meant) + 21


@given(any_settings(), st.integers(1, 4))
def test_generated_files_say_what_check_advises(meant: Settings, workers: int) -> None:
    assert stop_time(replace(meant, workers=workers)) == recommended_stop_time(
        replace(meant, workers=workers)
    )
    found = check_platform(replace(meant, stop_timeout=float(stop_time(meant))), None)
    assert found.level == "ok"


@given(st.integers(1, 10**6))
def test_there_are_descriptors_for_every_client(clients: int) -> None:
    assert capacity(clients, open_files(Settings(max_connections=clients))) == clients
    assert capacity(0, open_files(Settings(max_connections=0))) == 0


@given(any_settings())
def test_a_proxy_waits_for_a_ping_and_its_answer(meant: Settings) -> None:
    silence = idle_timeout(meant)
    if meant.ping_interval:
        assert silence is not None
        assert silence > meant.ping_interval + meant.ping_timeout
        assert silence >= 60
    else:
        assert silence is None
