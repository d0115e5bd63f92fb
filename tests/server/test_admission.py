"""Who may connect."""

from http import HTTPStatus
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wsctl.server.admission import RETRY_AFTER, Admission, Admitted, Handshake, Refused, TurnedAway, Verdict
from wsctl.settings import Settings


def _admit(
    name: str = "bob",
    query: str = "",
    origin: str | None = None,
    host: str = "localhost:8000",
    *,
    allowed: tuple[str, ...] = (),
    capacity: int = 10,
    connected: int = 0,
    accepting: bool = True,
) -> Verdict:
    admission = Admission(Settings(allow_origin=allowed), capacity, lambda: connected, lambda: accepting)
    return admission.admit(Handshake(name, query, origin, host))


def _refusal(verdict: Verdict) -> tuple[int, str]:
    assert isinstance(verdict, Refused), verdict
    return verdict.status.value, verdict.code


@pytest.mark.parametrize("name", ["bob", "a.b_c@d:e+f~g-h", "Ελένη", "हिन्दी", "محمد", "7+7"])
def test_an_id_comes_percent_encoded_or_plain(name: str) -> None:
    assert _admit(quote(name)) == Admitted(name, None)


def test_a_plus_is_a_plus_and_the_id_is_normalized() -> None:
    assert _admit("a+b%2Bc") == Admitted("a+b+c", None)
    assert _admit("Zoe%CC%88") == Admitted("Zo\u00eb", None)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "a%20b",
        "a%2Fb",
        "%00",
        "a%0A",
        "a%0D%0Ax",
        "%1B[2J",
        "%FF",
        "%C3",
        "%ED%A0%80",
        "a%",
        "-a",
        "a" * 129,
    ],
)
def test_what_is_no_id_is_a_400(name: str) -> None:
    verdict = _admit(name)
    assert _refusal(verdict) == (400, "bad_client_id")
    assert isinstance(verdict, Refused)
    assert verdict.message.isprintable()


@settings(max_examples=200)
@given(st.text(max_size=12), st.text(max_size=12), st.none() | st.text(max_size=20), st.text(max_size=12))
def test_whatever_is_asked_there_is_a_verdict(name: str, query: str, origin: str | None, host: str) -> None:
    verdict = _admit(name, query, origin, host)
    assert isinstance(verdict, Admitted | Refused)
    if isinstance(verdict, Refused):
        assert verdict.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)


def test_since_is_an_id_and_the_last_one_counts() -> None:
    assert _admit(query="since=1-0&x=1&since=1700000000000-5") == Admitted("bob", "1700000000000-5")
    assert _admit(query="other=1") == Admitted("bob", None)


@pytest.mark.parametrize("since", ["", "-", "a%20b", "1_0", "%C3%A9", "1" * 65, "%00", "*", "$"])
def test_a_since_that_is_no_id_is_a_400(since: str) -> None:
    assert _refusal(_admit(query=f"since={since}")) == (400, "bad_since")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        (None, "localhost"),
        ("http://localhost:8000", "localhost:8000"),
        ("HTTP://LocalHost:8000", "localhost:8000"),
        ("https://example.org", "example.org"),
        ("https://example.org", "example.org:443"),
        ("http://example.org:80", "Example.org"),
        ("http://[::1]:8000", "[::1]:8000"),
    ],
)
def test_programs_and_pages_of_the_same_host_pass(origin: str | None, host: str) -> None:
    assert _admit(origin=origin, host=host) == Admitted("bob", None)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "localhost"),
        ("", "localhost"),
        ("", ""),
        ("null", ""),
        ("http://", ""),
        ("file://", ""),
        ("https://evil.example", "example.org"),
        ("https://example.org.evil.example", "example.org"),
        ("https://evil-example.org", "example.org"),
        ("https://example.org@evil.example", "example.org"),
        ("https://evil@example.org", "example.org"),
        ("http://example.org:8001", "example.org:8000"),
        ("http://example.org:443", "example.org"),
        ("http://[", "["),
    ],
)
def test_pages_from_elsewhere_are_a_403(origin: str, host: str) -> None:
    assert _refusal(_admit(origin=origin, host=host)) == (403, "origin_not_allowed")


def test_allowed_origins_are_added_to_the_same_host() -> None:
    allowed = ("https://app.example",)
    assert isinstance(_admit(origin="https://App.example", allowed=allowed), Admitted)
    assert isinstance(_admit(origin="http://localhost:8000", allowed=allowed), Admitted)
    for origin in ("http://app.example", "https://app.example:444", "null"):
        assert _refusal(_admit(origin=origin, allowed=allowed))[0] == 403
    assert isinstance(_admit(origin="null", allowed=("*",)), Admitted)


def test_a_full_server_says_when_to_try_again() -> None:
    assert isinstance(_admit(capacity=3, connected=2), Admitted)
    verdict = _admit(capacity=3, connected=3)
    assert _refusal(verdict) == (503, "full")
    assert isinstance(verdict, Refused)
    assert verdict.headers == (("retry-after", str(RETRY_AFTER)),)
    assert isinstance(_admit(capacity=0, connected=10**6), Admitted)


def test_while_draining_the_valid_are_turned_away_even_when_it_is_full() -> None:
    assert _admit(accepting=False) == TurnedAway("bob")
    assert _admit(accepting=False, capacity=1, connected=1) == TurnedAway("bob")
    assert _refusal(_admit("a b", accepting=False))[0] == 400
    assert _refusal(_admit(origin="null", accepting=False))[0] == 403
