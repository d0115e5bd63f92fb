"""The forms of a request's target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.target import BadTarget, origin_form


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
