"""The file for nginx. What it does is tried in tests/e2e/test_nginx.py."""

from pathlib import Path

import pytest

from tests.support.nginx import NginxProcess
from tests.support.written import ODD
from wsctl.cli.recipes import generate_file
from wsctl.cli.recipes.deployment import Place
from wsctl.cli.recipes.nginx import upstream
from wsctl.errors import UsageError
from wsctl.settings import Settings


def _made(meant: Settings, *upstreams: str) -> str:
    return generate_file("nginx", meant, Place("wsctl generate nginx", "/usr/bin/wsctl", upstreams=upstreams))


def _servers(text: str) -> list[str]:
    lines = [line.strip() for line in text.splitlines()]
    return [
        line.split()[1].strip('"') for line in lines if line.startswith("server ") and "max_fails" in line
    ]


@pytest.mark.parametrize(
    ("meant", "upstreams", "servers"),
    [
        (Settings(port=9000), (), ["127.0.0.1:9000"]),
        (Settings(host="0.0.0.0"), (), ["127.0.0.1:8000"]),
        (Settings(host="::1"), (), ["[::1]:8000"]),
        (Settings(uds="/run/wsctl/p.sock"), (), ["unix:/run/wsctl/p.sock"]),
        (Settings(port=9000), ("a:1", "b", "[::1]", "unix:/x"), ["a:1", "b:9000", "[::1]:9000", "unix:/x"]),
        (Settings(port=0), ("a:1",), ["a:1"]),
    ],
)
def test_it_leads_to_the_server_of_the_settings_or_to_those_named(
    meant: Settings, upstreams: tuple[str, ...], servers: list[str]
) -> None:
    assert _servers(_made(meant, *upstreams)) == servers


def test_a_silence_may_last_longer_than_from_ping_to_ping() -> None:
    for ping, answer, allowed in ((20.0, 20.0, "60s"), (120.0, 30.0, "160s"), (0.0, 20.0, "7d")):
        text = _made(Settings(ping_interval=ping, ping_timeout=answer))
        assert f"proxy_read_timeout {allowed};" in text
        assert f"proxy_send_timeout {allowed};" in text


@pytest.mark.parametrize("odd", ODD)
def test_nginx_takes_odd_words(odd: str, tmp_path: Path) -> None:
    text = _made(Settings(root_path=odd, uds=f"/{odd}"))
    with NginxProcess(text, tmp_path) as nginx:
        assert nginx.check() == ""


def test_an_application_has_the_path_of_health_itself() -> None:
    meant = Settings(app="main:app", admin_port=9000)
    assert "health" not in _made(meant)
    assert "9000" not in _made(meant).partition("\n\n")[2]
    assert "location = /health/ready {" in _made(Settings(admin_port=9000))


def test_no_placeholder_is_left() -> None:
    assert "@{" not in _made(Settings(), "a:1")


@pytest.mark.parametrize(
    "text", ["", "a b", "a:0", "a:99999", "a:x", "http://a:1", "a;b", "unix:x", "a:1 down"]
)
def test_what_is_no_server_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"port|not a server"):
        upstream(text)


@pytest.mark.parametrize("meant", [Settings(fd=3), Settings(port=0)])
def test_a_server_that_cannot_be_named_is_refused(meant: Settings) -> None:
    with pytest.raises(UsageError, match="nginx"):
        _made(meant)
