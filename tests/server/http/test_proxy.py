"""Who the client is behind a proxy: an address, or whoever connected."""

from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsctl.server.http.proxy import (
    LOOPBACK,
    MOST_HOPS,
    ProxyHeadersMiddleware,
    TrustedProxies,
    canonical_ip,
    trusted_proxies,
)
from wsctl.settings import Settings

AT = ("127.0.0.1", 5)


@pytest.mark.parametrize(
    ("host", "form"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:1.2.3.4", "1.2.3.4"),
        ("fe80::1%eth0", "fe80::1"),
        ("1.2.3", None),
        ("01.2.3.4", None),
        ("localhost", None),
        ("", None),
        ("1" * 1000, None),
    ],
)
def test_an_address_has_one_form(host: str, form: str | None) -> None:
    assert canonical_ip(host) == form


@pytest.mark.parametrize(
    ("trusted", "chain", "client"),
    [
        (LOOPBACK, None, AT),
        (LOOPBACK, "6.6.6.6", ("6.6.6.6", 0)),
        (LOOPBACK, "9.9.9.9, 6.6.6.6:77", ("6.6.6.6", 77)),
        (LOOPBACK, "9.9.9.9,[2001:DB8::1]:8, 127.0.0.1", ("2001:db8::1", 8)),
        (LOOPBACK, "::ffff:6.6.6.6", ("6.6.6.6", 0)),
        (LOOPBACK, "[2001:db8::1]", ("2001:db8::1", 0)),
        (LOOPBACK, "127.0.0.1, ::1", ("127.0.0.1", 0)),
        (LOOPBACK, "6.6.6.6:port", ("6.6.6.6", 0)),
        (LOOPBACK, "6.6.6.6:65536", ("6.6.6.6", 0)),
        # What is no address is nobody's, and what stands before it is not believed.
        (LOOPBACK, "9.9.9.9, unknown", AT),
        (LOOPBACK, "9.9.9.9, fe80::1%\x1b[31m", AT),
        (LOOPBACK, "9.9.9.9, " + "1" * 5000, AT),
        (LOOPBACK, "", AT),
        (LOOPBACK, ",", AT),
        ("10.0.0.0/8,127.0.0.1", "9.9.9.9, 6.6.6.6, 10.1.2.3", ("6.6.6.6", 0)),
        ("10.0.0.1", "6.6.6.6", AT),
        ("", "6.6.6.6", AT),
        (None, "6.6.6.6", AT),
        ("*", "9.9.9.9, 6.6.6.6", ("9.9.9.9", 0)),
        ("*", "<b>, 6.6.6.6", AT),
    ],
)
def test_the_newest_entry_that_is_no_proxy_is_the_client(
    trusted: str | None, chain: str | None, client: tuple[str, int]
) -> None:
    assert TrustedProxies(trusted).resolve(AT, chain) == client


def test_what_a_socket_of_both_families_calls_a_proxy_is_believed() -> None:
    assert TrustedProxies(LOOPBACK).resolve(("::ffff:127.0.0.1", 5), "6.6.6.6") == ("6.6.6.6", 0)
    assert TrustedProxies(LOOPBACK).resolve(("::ffff:10.0.0.1", 5), "6.6.6.6") == ("10.0.0.1", 5)


def test_nobody_on_a_unix_socket_is_believed_unless_all_are() -> None:
    assert TrustedProxies(LOOPBACK).resolve(("", 0), "6.6.6.6") == ("", 0)
    assert TrustedProxies("*").resolve(("", 0), "6.6.6.6") == ("6.6.6.6", 0)


def test_a_long_chain_of_proxies_is_read_from_its_end_alone() -> None:
    chain = ", ".join(["6.6.6.6", *["127.0.0.1"] * (MOST_HOPS + 1)])
    assert TrustedProxies(LOOPBACK).resolve(AT, chain) == ("127.0.0.1", 0)


@given(st.text() | st.lists(st.ip_addresses().map(str) | st.text(max_size=9)).map(",".join))
@example("1.2.3.4:99999")
@example("[::1")
def test_whatever_is_said_the_client_is_an_address(chain: str) -> None:
    for trusted in (LOOPBACK, "*", "0.0.0.0/0,::/0"):
        host, port = TrustedProxies(trusted).resolve(AT, chain)
        assert str(ip_address(host)) == host
        assert 0 <= port < 100_000


def test_the_rules_are_those_of_the_settings() -> None:
    assert trusted_proxies(Settings()).trusts("::1")
    assert not trusted_proxies(Settings(proxy_headers=False)).trusts("::1")
    assert not trusted_proxies(Settings(forwarded_allow_ips="")).trusts("127.0.0.1")
    assert trusted_proxies(Settings(forwarded_allow_ips="*")).trusts("10.0.0.1")


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("at", "headers", "client", "scheme"),
    [
        (AT, [(b"x-forwarded-for", b"6.6.6.6"), (b"x-forwarded-proto", b"https")], ("6.6.6.6", 0), "https"),
        (AT, [(b"x-forwarded-for", b"9.9.9.9"), (b"x-forwarded-for", b"6.6.6.6")], ("6.6.6.6", 0), "http"),
        (AT, [(b"x-forwarded-for", b"<script>")], AT, "http"),
        (AT, [(b"x-forwarded-proto", b"gopher")], AT, "http"),
        (("10.0.0.1", 5), [(b"x-forwarded-proto", b"https")], ("10.0.0.1", 5), "http"),
        (None, [(b"x-forwarded-for", b"6.6.6.6")], ("", 0), "http"),
        (None, [], None, "http"),
    ],
)
async def test_an_application_is_told_the_same(
    at: Any, headers: list[tuple[bytes, bytes]], client: Any, scheme: str
) -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        seen.append(scope)

    scope = {"type": "http", "client": at, "scheme": "http", "headers": headers}
    await ProxyHeadersMiddleware(app, TrustedProxies(LOOPBACK))(scope, None, None)
    assert (seen[0]["client"], seen[0]["scheme"]) == (client, scheme)
