"""Which names a server on loopback takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.http.host_header import AllowedHosts

LOCAL = [
    "localhost",
    "LocalHost:8000",
    "localhost.",
    "app.localhost:80",
    "127.0.0.1",
    "127.0.0.1:8000",
    "127.1",
    "0x7f000001:1",
    "[::1]:8000",
    "[::1]",
    "192.0.2.1:8000",
    "",
    " localhost ",
]

FOREIGN = [
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "localhost@evil.example",
    "xlocalhost",
    "rebind",
    "[evil]",
    "\xff",
    "a b",
]


def on_loopback(*named: str) -> AllowedHosts:
    return AllowedHosts(named, lambda: True)


@pytest.mark.parametrize("host", LOCAL)
def test_what_nobody_can_point_elsewhere_is_taken(host: str) -> None:
    assert on_loopback().allows(host)


@pytest.mark.parametrize("host", FOREIGN)
def test_any_other_name_is_not(host: str) -> None:
    assert not on_loopback().allows(host)


def test_names_of_the_settings_are_taken_with_any_port() -> None:
    hosts = on_loopback("chat.example.org", "xn--bcher-kva.example")
    for host in ("chat.example.org", "CHAT.example.org.:8443", "xn--bcher-kva.example:1"):
        assert hosts.allows(host)
    assert not hosts.allows("example.org")
    assert on_loopback("*").allows("evil.example")


@given(st.text(st.characters(codec="latin-1"), max_size=20))
def test_beyond_loopback_every_name_is_taken_and_on_it_each_has_an_answer(host: str) -> None:
    assert AllowedHosts(()).allows(host)
    assert on_loopback().allows(host) in (True, False)
