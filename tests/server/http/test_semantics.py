"""Rules of HTTP: the target of a request, and what a client prefers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.http.semantics import BadTarget, Preference, origin_form, preference


@pytest.mark.parametrize(
    ("method", "target", "path", "host"),
    [
        ("GET", "/a?b=http://c", "/a?b=http://c", None),
        ("GET", "//a/b", "//a/b", None),
        ("GET", "http://a", "/", "a"),
        ("GET", "HTTPS://A:1/b/c?d=e/f?g", "/b/c?d=e/f?g", "A:1"),
        ("GET", "http://[::1]:8000?a", "/?a", "[::1]:8000"),
        ("OPTIONS", "*", "*", None),
        ("OPTIONS", "http://a", "*", "a"),
        ("OPTIONS", "http://a/", "/", "a"),
        ("CONNECT", "a:80", "a:80", None),
        ("GET", "ftp://a/b", "ftp://a/b", None),
    ],
)
def test_what_is_asked_for_is_a_path_and_perhaps_a_host(
    method: str, target: str, path: str, host: str | None
) -> None:
    assert origin_form(method, target) == (path, host)


@pytest.mark.parametrize(
    "target", ["http:", "http://", "http:///a", "http:/a", "https://a@b/", "http://a/#b"]
)
def test_an_address_without_a_host_or_with_more_than_that_is_none(target: str) -> None:
    with pytest.raises(BadTarget):
        origin_form("GET", target)


@given(st.from_regex(r"/[!-\"$-~]*", fullmatch=True), st.from_regex(r"[a-z0-9.:\[\]-]+", fullmatch=True))
def test_an_absolute_target_means_its_path_at_its_host(path: str, host: str) -> None:
    assert origin_form("GET", f"http://{host}{path}") == (path, host)


@pytest.mark.parametrize(
    ("accept", "weight", "named"),
    [
        ("", 1, False),
        ("text/plain", 1, True),
        ("text/plain;q=0.5", 0.5, True),
        ("text/plain;version=0.0.4;q=0.5", 0.5, True),
        ("TEXT/PLAIN ; Q = 0.25", 0.25, True),
        ("text/plain;q=0, */*", 0, True),
        ("*/*;q=0.3, text/*;q=0.2", 0.2, False),
        ("*/*;q=0.3, image/*", 0.3, False),
        ("image/png", 0, False),
        ("text/plain;q=0.1, text/plain;version=1;q=0.7", 0.7, True),
        ("text/plain;q=2, */*;q=0.1", 0.1, False),
        ("text/plain;q=nan", 0, False),
    ],
)
def test_the_closest_range_tells_how_much_a_kind_is_wanted(accept: str, weight: float, named: bool) -> None:
    assert preference(accept, "text/plain") == Preference(weight, named)


@given(st.text(st.sampled_from("aq/*=;., 019-\t\x00\xff"), max_size=30))
def test_any_header_is_read(accept: str) -> None:
    assert 0 <= preference(accept, "a/a").weight <= 1
