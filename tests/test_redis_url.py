"""A Redis URL is understood whole, or refused in one line that does not repeat it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsctl.redis_url import SCHEMES, parse


def understood(url: str) -> tuple[object, ...]:
    found = parse(url)
    return found.scheme, found.way, found.hosts, found.path, found.service, found.db


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://h", ("redis", "", (("h", 6379),), "", "", 0)),
        (" REDIS://h:1/ ", ("redis", "", (("h", 1),), "", "", 0)),
        ("redis://h/15", ("redis", "", (("h", 6379),), "", "", 15)),
        ("redis://h?db=3", ("redis", "", (("h", 6379),), "", "", 3)),
        ("redis://h/3?db=3&protocol=2", ("redis", "", (("h", 6379),), "", "", 3)),
        ("redis://[::1]:7/0", ("redis", "", (("::1", 7),), "", "", 0)),
        ("redis://:7/0", ("redis", "", (("localhost", 7),), "", "", 0)),
        ("rediss://u:p@h:1/2", ("rediss", "", (("h", 1),), "", "", 2)),
        ("unix:///run/a%20b?db=1", ("unix", "", (), "/run/a b", "", 1)),
        ("unix://u:p@/run/x", ("unix", "", (), "/run/x", "", 0)),
        ("redis+sentinel://a:1,b/main", ("redis", "sentinel", (("a", 1), ("b", 26379)), "", "main", 0)),
        ("redis+sentinel://a/main/4", ("redis", "sentinel", (("a", 26379),), "", "main", 4)),
        ("rediss+cluster://h:1/0", ("rediss", "cluster", (("h", 1),), "", "", 0)),
    ],
)
def test_what_a_url_says_is_understood(url: str, wanted: tuple[object, ...]) -> None:
    assert understood(url) == wanted


@pytest.mark.parametrize(
    ("url", "user", "password"),
    [
        ("redis://h", None, None),
        ("redis://me@h", "me", None),
        ("redis://:p%40ss%3A@h", None, "p@ss:"),
        ("redis://me:p%25@h", "me", "p%"),
        ("redis://h?username=me&password=p%2520", "me", "p%20"),
        ("redis://me:p@h?username=me", "me", "p"),
    ],
)
def test_who_asks_is_understood(url: str, user: str | None, password: str | None) -> None:
    found = parse(url)
    assert (found.user, found.password) == (user, password)


def test_what_sentinels_and_certificates_want_is_in_the_options() -> None:
    found = parse("redis+sentinel://me:p@a/main?sentinel_username=s&sentinel_password=q")
    assert found.sentinel == {"username": "s", "password": "q"}
    found = parse("rediss://h?ssl_cert_reqs=none&ssl_ca_certs=/ca.pem")
    assert found.tls == {"ssl_cert_reqs": "none", "ssl_ca_certs": "/ca.pem", "ssl_check_hostname": False}
    assert parse("rediss://h?ssl_check_hostname=false").tls == {"ssl_check_hostname": False}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis://h?foo=1", "'foo' is no option"),
        ("redis://h?timeout=5", "'timeout' is no option"),
        ("redis://h?decode_responses=true", "'decode_responses' is no option"),
        ("redis://h?ssl_cert_reqs=none", "'ssl_cert_reqs' is no option"),
        ("redis://h?sentinel_password=x", "'sentinel_password' is no option"),
        ("redis+sentinel://h/main?ssl_ca_certs=x", "'ssl_ca_certs' is no option"),
        ("redis://h?protocol=3", "write 2"),
        ("rediss://h?ssl_cert_reqs=maybe", "none or optional or required"),
        ("rediss://h?ssl_check_hostname=maybe", "true or false"),
        ("redis://h?db=1&db=1", "has one value"),
        ("redis://h?password=", "has one value"),
        ("redis://h/abc", "is a number"),
        ("redis://h/0x1", "is a number"),
        ("redis://h/1/2", "is a number"),
        ("redis://h/-1", "is a number"),
        ("redis://h/%31", "is a number"),
        ("redis://h/4294967296", "is a number"),
        ("redis://h?db=one", "is a number"),
        ("redis://h/1?db=2", "the database once"),
        ("redis://me@h?username=you", "the user once"),
        ("redis+cluster://h/1", "database 0 alone"),
        ("redis+cluster://a,b", "one host"),
        ("redis://a,b", "one host"),
        ("redis+sentinel://h", "name the service"),
        ("redis+sentinel://h/main/x", "is a number"),
        ("redis://h:0", "the host is written"),
        ("redis://h:99999", "the host is written"),
        ("redis://h:port", "the host is written"),
        ("redis://[::1", "write redis://HOST:PORT/DB"),
        ("redis://h#0", "behind a #"),
        ("unix://run/x", "three slashes"),
        ("unix:/run/x", "write redis://HOST:PORT/DB"),
        ("redis://me:p/ss@h", "%2F"),
        ("redis://h\n/0", "control character"),
        ("redis://h\u202e/0", "control character"),
    ],
)
def test_what_is_not_understood_is_refused_and_told(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        parse(url)
    assert why in str(refused.value)


def complaint(url: str) -> str:
    """What is said of a URL, empty when it is understood; any other error is the test's."""
    try:
        parse(url)
    except ValueError as error:
        return str(error)
    return ""


_PIECES = st.text("abc01:/@?#[]=&%,. \n", max_size=12)


@given(st.sampled_from(SCHEMES), _PIECES)
@example("redis", "[::1]x")
@example("redis", "h?%ff=%ff")
def test_a_url_is_understood_or_refused_in_one_line(scheme: str, rest: str) -> None:
    assert "\n" not in complaint(f"{scheme}://{rest}")


@pytest.mark.parametrize("url", ["redis://me:s3cret@h/x", "redis://me:s3cret@h:p", "http://:s3cret@h"])
def test_a_refusal_shows_no_password(url: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as refused:
        parse(url)
    assert "s3cret" not in str(refused.value)
