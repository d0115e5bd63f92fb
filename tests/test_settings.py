"""How values are spelled, and what is refused."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.errors import UsageError
from wsctl.settings import (
    EVERY_TOPIC,
    FLAGS,
    LONGEST,
    Rate,
    Settings,
    boolean,
    choice,
    count,
    duration,
    flag,
    from_environ,
    key_prefix,
    origins,
    port_number,
    proxies,
    rate,
    read_client_token,
    read_token,
    redis_url,
    size,
    topic_patterns,
    variable,
)

PARSERS = (
    duration,
    size,
    rate,
    count,
    port_number,
    boolean,
    choice("a", "b"),
    origins,
    proxies,
    topic_patterns,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("1.5", 1.5),
        (".5", 0.5),
        ("30s", 30),
        ("5m", 300),
        (" 2H ", 7200),
        ("250ms", 0.25),
        ("1d", 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "amount"), [("65536", 65536), ("64k", 65536), ("64KiB", 65536), ("1m", 1 << 20), ("1.5kb", 1536)]
)
def test_sizes(text: str, amount: int) -> None:
    assert size(text) == amount


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("20", Rate(20, 40)),
        ("20/s", Rate(20, 40)),
        ("0.2", Rate(0.2, 1)),
        ("5/s:7", Rate(5, 7)),
        ("0", Rate(0, 1)),
    ],
)
def test_rates(text: str, wanted: Rate) -> None:
    assert rate(text) == wanted


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (duration, ""),
        (duration, "-1"),
        (duration, "nan"),
        (duration, "5 weeks"),
        (duration, "1e9"),
        (duration, "9" * 400),
        (duration, f"{LONGEST + 1:f}"),
        (size, "1q"),
        (size, "9" * 400),
        (rate, "20:0"),
        (rate, "9" * 400),
        (rate, "20:" + "9" * 400),
        (count, "-1"),
        (count, "1.5"),
        (port_number, "65536"),
        (port_number, "http"),
        (boolean, "maybe"),
        (topic_patterns, "a..b"),
        (topic_patterns, "a.>.b"),
        (proxies, "10.0.0.300"),
        (proxies, "10.0.0.1/8"),
        (proxies, "nginx"),
        (proxies, "*, 10.0.0.1"),
        (origins, "example.org"),
        (origins, "https://example.org."),
        (origins, "https://example.org/path"),
        (origins, "https://["),
    ],
)
def test_what_cannot_be_meant_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse(text)


def _complaint(parse: Callable[[str], object], text: str) -> str:
    """What is said of a text, empty when it is taken; any other error is the test's."""
    try:
        parse(text)
    except ValueError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("parse", PARSERS)
def test_a_parser_answers_or_raises_value_error(parse: Callable[[str], object]) -> None:
    @examples(60)
    @example("9" * 309)
    @example("1" * 9 + "/s")
    @given(st.text(alphabet="0123456789.:/ skmghdib٣²,-+_", max_size=24) | st.text(max_size=12))
    def whatever_the_text(text: str) -> None:
        assert "\n" not in _complaint(parse, text)

    whatever_the_text()


@given(st.booleans())
def test_switches(on: bool) -> None:
    words = ("1", "true", "YES", "on") if on else ("0", "False", "no", "off", "")
    assert {boolean(word) for word in words} == {on}


def test_origins_are_those_that_browsers_send_each_once() -> None:
    given = origins("https://Example.org/, http://b:8080 * https://example.org:443,null")
    assert given == ("https://example.org", "http://b:8080", "*", "null")


def test_proxies_are_addresses_and_networks() -> None:
    assert proxies(" 10.0.0.1, ::1 10.0.0.0/8") == "10.0.0.1,::1,10.0.0.0/8"
    assert (proxies("*"), proxies("")) == ("*", "")


def test_topics_are_a_switch_or_patterns_each_once() -> None:
    assert (topic_patterns("on"), topic_patterns("off"), topic_patterns("")) == (EVERY_TOPIC, (), ())
    assert topic_patterns("chat.*, orders.> chat.*") == ("chat.*", "orders.>")


def test_the_defaults_are_the_promised_ones() -> None:
    s = Settings()
    assert (s.host, s.port, s.shutdown_timeout, s.broadcast_interval) == ("127.0.0.1", 8000, 1800, 10)
    assert (s.max_message_size, s.max_queue, s.rate) == (65536, 1 << 20, Rate(20, 40))
    assert (s.ping_interval, s.ping_timeout, s.client_publish, s.access_log) == (20, 20, EVERY_TOPIC, False)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "wrong",
    [
        {"ssl_keyfile": "k.pem"},
        {"uds": "/run/x", "fd": 3},
        {"backlog": 0},
        {"backlog": 1 << 31},
        {"workers": 0},
        {"reload": True},
        {"reload_dir": ("src",)},
        {"app": "main:app", "reload_dir": ("src",)},
        {"app": "main:app", "reload": True, "workers": 2},
        {"admin_host": "0.0.0.0"},
        {"admin_port": 8000},
        {"admin_port": 9000, "port": 9000},
    ],
)
def test_combinations_that_cannot_be_meant_are_usage_errors(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        Settings(**wrong)  # type: ignore[arg-type]


def test_a_variable_and_a_flag_are_spelled_alike() -> None:
    assert (variable("shutdown_timeout"), flag("shutdown_timeout")) == (
        "WSCTL_SHUTDOWN_TIMEOUT",
        "--shutdown-timeout",
    )


def test_every_flag_has_help_and_a_variable_that_is_read() -> None:
    spelled = {
        "tracing": "on",
        "app": "main:app",
        "app_dir": "src",
        "drain_policy": "/events=close",
        "env_file": ".env",
        "port": "1",
        "fd": "5",
        "rate": "1/s:2",
        "allow_origin": "*",
        "allow_host": "chat.example.org",
        "log_level": "debug",
        "auth": "none",
        "forwarded_allow_ips": "10.0.0.1",
        "jwt_algorithm": "rs256",
        "log_format": "json",
        "root_path": "/chat",
        "redis": "rediss://example.org/1",
        "reload_dir": "src:lib",
        "journal_sync": "normal",
    }
    needed = {
        "app_dir": {"WSCTL_APP": "main:app"},
        "factory": {"WSCTL_APP": "main:app"},
        "env_file": {"WSCTL_APP": "main:app"},
        "drain_policy": {"WSCTL_APP": "main:app"},
        "reload": {"WSCTL_APP": "main:app"},
        "reload_dir": {"WSCTL_APP": "main:app", "WSCTL_RELOAD": "1"},
        "ssl_keyfile": {"WSCTL_SSL_CERTFILE": "c.pem"},
        "jwt_key": {"WSCTL_AUTH": "jwt"},
        "jwt_algorithm": {"WSCTL_AUTH": "jwt", "WSCTL_JWT_KEY": "k.pem"},
        "jwt_audience": {"WSCTL_AUTH": "jwt", "WSCTL_JWT_KEY": "k.pem"},
        "auth_query": {"WSCTL_AUTH": "token", "WSCTL_CLIENT_TOKEN": "s3cret"},
        "admin_host": {"WSCTL_ADMIN_PORT": "9000"},
        "max_draining": {"WSCTL_REDIS": "redis://example.org"},
        "journal_sync": {"WSCTL_JOURNAL": "journal"},
    }
    for field in FLAGS:
        assert field.metadata["help"]
        text = spelled.get(field.name, "1")
        given_settings = from_environ(needed.get(field.name, {}) | {variable(field.name): text})
        assert getattr(given_settings, field.name) == field.metadata["parse"](text)


def test_a_variable_that_cannot_be_read_is_named() -> None:
    with pytest.raises(UsageError, match="WSCTL_PORT: '70000' is not a port"):
        from_environ({"WSCTL_PORT": "70000"})


def test_the_token_is_no_flag_and_never_shown() -> None:
    assert "token" not in {field.name for field in FLAGS}
    assert "s3cret" not in repr(Settings(token="s3cret")) + str(Settings(token="s3cret"))


def test_a_password_of_redis_is_no_flag_and_never_shown(tmp_path: Path) -> None:
    assert "redis_password" not in {field.name for field in FLAGS}
    file = tmp_path / "password"
    file.write_text("s3cret\n")
    found = from_environ({"WSCTL_REDIS_PASSWORD_FILE": str(file), "WSCTL_REDIS": "redis://me:s3cret@here"})
    assert found.redis_password == "s3cret"
    assert "s3cret" not in repr(found)
    with pytest.raises(UsageError, match="not a Redis URL") as caught:
        from_environ({"WSCTL_REDIS": "http://me:s3cret@here"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://h",
        "rediss://u:p@h:1/2",
        "unix:///run/redis.sock?db=1",
        "redis://h?protocol=2",
        "redis+sentinel://a:1,b:2/main",
        "redis+cluster://h",
    ],
)
def test_a_redis_is_named_by_its_url(url: str) -> None:
    assert redis_url(f" {url} ") == url


@pytest.mark.parametrize("url", ["", "here:6379", "redis://", "http://h", "unix://"])
def test_what_is_no_url_of_a_redis_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="redis://HOST:PORT/DB"):
        redis_url(url)


@pytest.mark.parametrize("prefix", ["", "a b", "a{b", "x" * 65, "a\nb"])
def test_what_cannot_begin_a_key_is_refused(prefix: str) -> None:
    assert key_prefix("chat:eu") == "chat:eu"
    with pytest.raises(ValueError, match="is not a prefix"):
        key_prefix(prefix)


def test_taking_turns_needs_somebody_to_take_them_with() -> None:
    with pytest.raises(UsageError, match="--max-draining needs --redis"):
        Settings(max_draining=1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"journal": ""}, "--journal is empty"),
        ({"journal": "j", "redis": "redis://h"}, "--journal and --redis: .* give one"),
        ({"journal_sync": "normal"}, "--journal-sync needs --journal"),
    ],
)
def test_a_journal_is_a_file_and_the_one_home_of_messages(given: dict[str, str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Settings(**given)  # type: ignore[arg-type]


def test_the_token_comes_from_the_variable_before_the_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("from-file\n")
    assert read_token({}) is None
    assert read_token({"WSCTL_TOKEN_FILE": str(file)}) == "from-file"
    assert read_token({"WSCTL_TOKEN_FILE": str(file), "WSCTL_TOKEN": "direct"}) == "direct"
    assert from_environ({"WSCTL_TOKEN": "direct"}).token == "direct"


@pytest.mark.parametrize("token", ["", "two words", "é", "a\nb", "a\x00"])
def test_a_token_no_header_can_carry_is_refused_without_showing_it(token: str) -> None:
    with pytest.raises(UsageError, match="control token") as failure:
        read_token({"WSCTL_TOKEN": token})
    assert not token or token not in str(failure.value)


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ('{"errors":[]}', "JSON"),
        ("[]", "JSON"),
        ("<html><body>502</body></html>", "markup"),
        ("<a/>", "markup"),
    ],
)
def test_an_error_in_place_of_a_token_is_refused(tmp_path: Path, text: str, other: str) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    for read, name in ((read_token, "WSCTL_TOKEN"), (read_client_token, "WSCTL_CLIENT_TOKEN")):
        with pytest.raises(UsageError, match=f"token looks like {other}"):
            read({f"{name}_FILE": str(file)})


@pytest.mark.parametrize("token", ["{x}", "<3}s", "[a", "<1>", "404", "null", "e30.e30.", '"a"'])
def test_a_token_of_odd_characters_is_one(token: str) -> None:
    assert read_token({"WSCTL_TOKEN": token}) == token


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe"])
def test_a_token_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError):
        read_token({"WSCTL_TOKEN_FILE": str(file)})


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"auth": "jwt"}, "--auth jwt needs --jwt-key"),
        ({"jwt_key": "k.pem"}, "--jwt-key needs --auth jwt"),
        ({"auth": "token", "jwt_key": "k.pem"}, "--jwt-key needs --auth jwt"),
        ({"jwt_audience": "chat"}, "--jwt-audience needs --auth jwt"),
        ({"auth": "jwt", "jwt_key": "k.pem", "jwt_audience": ""}, "--jwt-audience is empty"),
        ({"auth_query": True}, "--auth-query needs --auth"),
    ],
)
def test_credentials_that_nobody_would_look_at_are_usage_errors(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Settings(**wrong)


def test_the_clients_token_is_no_flag_never_shown_and_read_where_it_is_asked_for(tmp_path: Path) -> None:
    assert "client_token" not in {field.name for field in FLAGS}
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    asked = {"WSCTL_AUTH": "token", "WSCTL_CLIENT_TOKEN_FILE": str(file)}
    found = from_environ(asked)
    assert found.client_token == "s3cret"
    assert "s3cret" not in repr(found) + str(found)
    assert from_environ(asked | {"WSCTL_CLIENT_TOKEN": "direct"}).client_token == "direct"
    file.unlink()
    with pytest.raises(UsageError, match="WSCTL_CLIENT_TOKEN_FILE"):
        from_environ(asked)
    # Where it is not asked for it is a client's, and may come later.
    assert from_environ(asked | {"WSCTL_AUTH": "none"}).client_token is None


def test_publishers_and_operators_have_tokens_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("pub\n")
    assert from_environ({"WSCTL_PUBLISH_TOKEN_FILE": str(file)}).publish_token == "pub"
    assert from_environ({"WSCTL_PUBLISH_TOKEN": "p", "WSCTL_TOKEN": "t"}).token == "t"
    with pytest.raises(UsageError, match="WSCTL_PUBLISH_TOKEN is WSCTL_TOKEN too"):
        from_environ({"WSCTL_PUBLISH_TOKEN": "same", "WSCTL_TOKEN": "same"})
    with pytest.raises(UsageError, match="the token of publishers is empty"):
        from_environ({"WSCTL_PUBLISH_TOKEN": ""})
