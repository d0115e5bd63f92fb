"""Who may connect."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sizes import examples
from wsctl.client_ids import MAX_CLIENT_ID
from wsctl.server.credentials.permissions import Claimed
from wsctl.server.credentials.verifier import Denied, Granted, Verifier, for_client
from wsctl.server.http.semantics import HttpRefusal
from wsctl.server.websocket.admission import (
    MOST_REPLACED,
    RETRY_AFTER,
    Admission,
    Admitted,
    DrainRejected,
    HandshakeRequest,
    Verdict,
)
from wsctl.settings import Settings, origins
from wsctl.topics import topic_pattern


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
    authorization: str | None = None,
    protocols: str | None = None,
    verifier: Verifier | None = None,
    in_query: bool = False,
    **others: Any,
) -> Verdict:
    auth = "token" if verifier else "none"
    settings = Settings(allow_origin=allowed, auth=auth, auth_query=in_query, **others)
    admission = Admission(settings, capacity, lambda: connected, lambda: accepting, verifier)
    return admission.admit(HandshakeRequest(name, query, origin, host, authorization, protocols))


def _refusal(verdict: Verdict) -> tuple[int, str]:
    assert isinstance(verdict, HttpRefusal), verdict
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
    assert isinstance(verdict, HttpRefusal)
    assert verdict.message.isprintable()


@examples(200)
@given(st.text(max_size=12), st.text(max_size=12), st.none() | st.text(max_size=20), st.text(max_size=12))
def test_whatever_is_asked_there_is_a_verdict(name: str, query: str, origin: str | None, host: str) -> None:
    verdict = _admit(name, query, origin, host)
    assert isinstance(verdict, Admitted | HttpRefusal)
    if isinstance(verdict, HttpRefusal):
        assert verdict.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN)


def test_since_is_an_id_and_the_last_one_counts() -> None:
    assert _admit(query="since=1-0&x=1&since=1700000000000-5") == Admitted("bob", "1700000000000-5")
    assert _admit(query="other=1") == Admitted("bob", None)


@pytest.mark.parametrize(
    ("query", "seconds"),
    [
        ("", 0),
        ("keepalive=0", 0),
        ("keepalive=1", 1),
        ("keepalive=300", 300),
        ("keepalive=2&keepalive=15", 15),
    ],
)
def test_a_keepalive_is_taken_between_its_bounds(query: str, seconds: int) -> None:
    assert _admit(query=query) == Admitted("bob", None, None, seconds)


@pytest.mark.parametrize(
    "seconds", ["", "-1", "301", "1.5", "01", "1e1", "%2B5", "nan", "%D9%A1", "9" * 5000]
)
def test_a_keepalive_that_is_out_of_bounds_is_a_400_with_the_bounds(seconds: str) -> None:
    verdict = _admit(query=f"keepalive={seconds}")
    assert isinstance(verdict, HttpRefusal)
    assert (verdict.status, verdict.code) == (HTTPStatus.BAD_REQUEST, "bad_keepalive")
    assert "from 1 to 300" in verdict.message


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


@pytest.mark.parametrize(
    ("allowed", "origin", "is_let_in"),
    [
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example", True),
        ("http://other.example:80", "http://other.example", True),
        ("http://[2001:DB8:0:0::1]:8080", "http://[2001:db8::1]:8080", True),
        ("file://", "file://", True),
        ("null", "null", True),
        ("null", "file://", False),
        ("file://", "null", False),
        ("https://*.example.org", "https://app.example.org", True),
        ("https://*.example.org", "https://a.b.example.org", True),
        ("https://*.example.org", "https://example.org", False),
        ("https://*.example.org", "https://app.example.org:8443", False),
        ("https://*.example.org", "http://app.example.org", False),
        ("https://*.example.org", "https://appexample.org", False),
        ("https://*.example.org", "https://app.example.org.evil.example", False),
        ("https://*.example.org", "https://evil.example/.example.org", False),
        ("https://*.example.org", "https://evil.example:1.example.org", False),
        ("https://*.example.org", "https://.example.org", False),
        ("https://*.example.org:8443", "https://app.example.org:8443", True),
        ("https://a.example", "https://axexample", False),
    ],
)
def test_an_origin_is_compared_in_the_form_in_which_browsers_send_it(
    allowed: str, origin: str, is_let_in: bool
) -> None:
    verdict = _admit(origin=origin, allowed=origins(allowed))
    assert isinstance(verdict, Admitted) == is_let_in


def test_a_full_server_says_when_to_try_again() -> None:
    assert isinstance(_admit(capacity=3, connected=2), Admitted)
    verdict = _admit(capacity=3, connected=3)
    assert _refusal(verdict) == (503, "full")
    assert isinstance(verdict, HttpRefusal)
    assert verdict.headers == (("retry-after", str(RETRY_AFTER)),)
    assert isinstance(_admit(capacity=0, connected=10**6), Admitted)


def test_while_draining_the_valid_are_turned_away_even_when_it_is_full() -> None:
    assert _admit(accepting=False) == DrainRejected("bob")
    assert _admit(accepting=False, capacity=1, connected=1) == DrainRejected("bob")
    assert _refusal(_admit("a b", accepting=False))[0] == 400
    assert _refusal(_admit(origin="null", accepting=False))[0] == 403


class Doorman:
    """Knows `good`, which lets in bob until the second 99."""

    def verify(self, token: str) -> Granted | Denied:
        return Granted(99.0, "bob") if token == "good" else Denied("the token is stale")

    def verify_for(self, token: str, client_id: str) -> Granted | Denied:
        return for_client(self.verify(token), client_id)


def _challenge(verdict: Verdict) -> tuple[int, str, str]:
    assert isinstance(verdict, HttpRefusal), verdict
    ((name, value),) = verdict.headers
    assert name == "www-authenticate"
    return (*_refusal(verdict), value)


def test_who_shows_the_right_thing_comes_in_until_it_ends() -> None:
    for road in (
        {"authorization": "Bearer good"},
        {"protocols": "wsctl, bearer.Z29vZA"},
        {"query": "access_token=good", "in_query": True},
    ):
        assert _admit(verifier=Doorman(), **road) == Admitted("bob", None, 99.0)  # type: ignore[arg-type]


def test_who_shows_nothing_or_the_wrong_thing_is_a_401_and_told_what_to_do() -> None:
    nothing = _admit(verifier=Doorman())
    assert _challenge(nothing) == (401, "bad_credentials", "Bearer")
    assert isinstance(nothing, HttpRefusal)
    assert "Authorization: Bearer TOKEN" in nothing.message
    for road in (
        {"authorization": "Bearer s3cret"},
        {"protocols": "wsctl, bearer.czNjcmV0"},
        {"protocols": "bearer.?"},
        {"query": "access_token=good"},
        {"name": "eve", "authorization": "Bearer good"},
    ):
        wrong = _admit(verifier=Doorman(), **road)  # type: ignore[arg-type]
        assert _challenge(wrong) == (401, "bad_credentials", 'Bearer error="invalid_token"')
        assert isinstance(wrong, HttpRefusal)
        assert "s3cret" not in wrong.message
        assert "good" not in wrong.message


def test_credentials_are_asked_for_behind_the_origin_and_before_the_drain() -> None:
    doorman = Doorman()
    assert _refusal(_admit(verifier=doorman, origin="null"))[0] == 403
    assert _refusal(_admit(verifier=doorman, query="since=*"))[0] == 400
    assert _refusal(_admit(verifier=doorman, accepting=False))[0] == 401
    assert _refusal(_admit(verifier=doorman, capacity=1, connected=1))[0] == 401
    good = "Bearer good"
    assert _admit(verifier=doorman, authorization=good, accepting=False) == DrainRejected("bob")
    assert _refusal(_admit(verifier=doorman, authorization=good, capacity=1, connected=1)) == (503, "full")


@pytest.mark.parametrize("name", ["-x", "server", "%CC%80", quote("a" + "\u0300\u0316" * 100)])
def test_an_id_is_brought_into_its_form_for_whoever_may_ask_alone(name: str) -> None:
    assert _refusal(_admit(name, verifier=Doorman())) == (401, "bad_credentials")
    assert _refusal(_admit(name, verifier=Doorman(), authorization="Bearer no")) == (401, "bad_credentials")
    assert _refusal(_admit(name, verifier=Doorman(), authorization="Bearer good")) == (400, "bad_client_id")


def test_what_can_become_no_id_is_refused_before_anything_is_asked() -> None:
    name = quote("a" + "\u0300" * 4 * MAX_CLIENT_ID)
    assert _refusal(_admit(name, verifier=Doorman())) == (400, "bad_client_id")
    assert _refusal(_admit(name, origin="null")) == (400, "bad_client_id")


def test_a_full_server_takes_back_whoever_is_there() -> None:
    def admit(connected: int, name: str = "bob") -> Verdict:
        admission = Admission(
            Settings(), 3, lambda: connected, lambda: True, replaces_older=lambda i: i == "bob"
        )
        return admission.admit(HandshakeRequest(name, "", None, "localhost"))

    assert admit(2) == Admitted("bob", None)
    assert admit(3) == Admitted("bob", None, in_place=True)
    assert _refusal(admit(3, "eve")) == (503, "full")
    # Those that are replaced and still closing are bounded, too.
    assert admit(3 + MOST_REPLACED - 1) == Admitted("bob", None, in_place=True)
    assert _refusal(admit(3 + MOST_REPLACED)) == (503, "full")


def test_where_nobody_is_asked_what_is_shown_does_not_matter() -> None:
    assert _admit(authorization="Bearer x", protocols="bearer.?", query="access_token=x") == Admitted(
        "bob", None
    )


def test_topics_are_named_in_the_query_each_once() -> None:
    verdict = _admit(query="topic=a.b&since=1-0&topic=c.%3E&topic=a.b")
    assert verdict == Admitted("bob", "1-0", topics=("a.b", "c.>"))


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("topic=", 400, "bad_topic"),
        ("topic=a..b", 400, "bad_topic"),
        ("topic=a&topic=b+c", 400, "bad_topic"),
        ("topic=a&topic=b&topic=c", 400, "too_many_subscriptions"),
        ("topic=a&topic=b&topic=a", 200, ""),
        ("topic=c", 403, "topic_not_allowed"),
        ("topic=%3E", 403, "topic_not_allowed"),
    ],
)
def test_topics_that_cannot_be_subscribed_to_refuse_the_handshake(query: str, status: int, code: str) -> None:
    verdict = _admit(query=query, max_subscriptions=2, client_subscribe=("a", "b"))
    if isinstance(verdict, Admitted):
        assert (status, verdict.topics) == (200, ("a", "b"))
    else:
        assert _refusal(verdict) == (status, code)


def test_any_number_of_topics_is_taken_where_the_limit_is_lifted() -> None:
    topics = tuple(f"t{n}" for n in range(500))
    verdict = _admit(query="&".join(f"topic={topic}" for topic in topics), max_subscriptions=0)
    assert verdict == Admitted("bob", None, topics=topics)


def test_a_token_s_permissions_count_before_the_settings() -> None:
    class Granting:
        keys = None

        def verify(self, token: str) -> Granted | Denied:
            return Granted(None, "bob", Claimed(subscribe=("a.*",)))

        def verify_for(self, token: str, client_id: str) -> Granted | Denied:
            return for_client(self.verify(token), client_id)

    asked = {"verifier": Granting(), "authorization": "Bearer x", "client_subscribe": ("b",)}
    verdict = _admit(query="topic=a.b", **asked)
    assert verdict == Admitted("bob", None, topics=("a.b",), permissions=Claimed(subscribe=("a.*",)))
    assert _refusal(_admit(query="topic=b", **asked)) == (403, "topic_not_allowed")


@examples(200)
@given(st.text("topic=&%3E.*> a+", max_size=40))
def test_whatever_the_query_the_topics_are_patterns(query: str) -> None:
    verdict = _admit(query=query)
    if isinstance(verdict, Admitted):
        assert [topic_pattern(topic) for topic in verdict.topics] == list(verdict.topics)
