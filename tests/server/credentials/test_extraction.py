"""How a credential travels with a handshake."""

import base64
from contextlib import suppress
from urllib.parse import quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsctl.server.credentials.extraction import (
    TokenSources,
    UnreadableToken,
    chosen_subprotocol,
    extract_token,
)

TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40)


def _in_protocol(token: str) -> str:
    return "bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


def _found(
    authorization: str | None = None, protocols: str | None = None, query: str = "", *, in_query: bool = True
) -> str | None:
    return extract_token(TokenSources(authorization, protocols, query), in_query=in_query)


@given(TOKENS)
def test_each_road_carries_any_token_of_visible_ascii(token: str) -> None:
    assert _found(f"Bearer {token}") == token
    assert _found(protocols=f"wsctl, {_in_protocol(token)}") == token
    assert _found(query=f"since=1-0&access_token={quote_plus(token)}&x=1") == token


@pytest.mark.parametrize("header", ["bearer t", "BEARER t", " Bearer  t ", "Bearer\x20t"])
def test_the_scheme_is_compared_without_case(header: str) -> None:
    assert _found(header) == "t"


@pytest.mark.parametrize("header", ["", "Basic dTpw", "Bearert", "t", "Digest Bearer t"])
def test_a_header_of_another_scheme_is_none_of_ours(header: str) -> None:
    assert _found(header) is None
    assert _found(header, f"wsctl,{_in_protocol('t')}") == "t"


def test_a_header_comes_before_a_subprotocol_and_that_before_the_address() -> None:
    assert _found("Bearer a", _in_protocol("b"), "access_token=c") == "a"
    assert _found(None, _in_protocol("b"), "access_token=c") == "b"


def test_an_empty_token_is_one_and_not_missing() -> None:
    assert _found("Bearer") == _found("Bearer ") == _found(query="access_token=") == ""


@pytest.mark.parametrize("name", ["ACCESS_TOKEN", "access%5Ftoken", "token", "xaccess_token"])
def test_in_an_address_it_has_one_name(name: str) -> None:
    assert _found(query=f"{name}=t") is None


def test_an_address_is_not_believed_unless_it_is_switched_on_and_what_to_do_is_said() -> None:
    with pytest.raises(UnreadableToken, match=r"Authorization: Bearer TOKEN") as caught:
        _found(query="access_token=s3cret", in_query=False)
    assert "s3cret" not in str(caught.value)
    assert _found("Bearer t", query="access_token=s3cret", in_query=False) == "t"


@pytest.mark.parametrize("text", ["", "a", "====", "a+b/", "YQ==", "_w", "\u00e9", "a b"])
def test_a_damaged_subprotocol_is_told_without_it(text: str) -> None:
    with pytest.raises(UnreadableToken, match="no base64url of a token"):
        _found(protocols=f"wsctl, bearer.{text}")


@given(st.text(max_size=40))
def test_whatever_is_offered_there_is_an_answer(text: str) -> None:
    for offered in (text, f"bearer.{text}", f"wsctl, bearer.{text}"):
        with suppress(UnreadableToken):
            assert isinstance(_found(text, offered, text), str | None)


@pytest.mark.parametrize(
    ("offered", "answer"),
    [
        (None, None),
        ("", None),
        ("chat", None),
        ("wsctl", "wsctl"),
        ("chat,\twsctl ,bearer.dA", "wsctl"),
        ("bearer.dA", None),
        ("wsctl2, WSCTL", None),
        ("wsctl.2", "wsctl.2"),
        ("wsctl, bearer.x, wsctl.2", "wsctl.2"),
        ("wsctl.22, wsctl", "wsctl"),
    ],
)
def test_only_our_own_subprotocols_are_ever_chosen(offered: str | None, answer: str | None) -> None:
    assert chosen_subprotocol(offered) == answer
