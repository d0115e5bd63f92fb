"""Tokens that are verified: whom they let in, and until when; and tokens that are made."""

import base64
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.keys import (
    ALGORITHMS,
    SECRET,
    checks,
    jwk,
    jwks,
    private,
    private_pem,
    public_pem,
    signed,
    written,
)
from wsctl.server.credentials.keys import TokenKey, verification_keys
from wsctl.server.credentials.permissions import Claimed
from wsctl.server.credentials.tokens import LEEWAY, MAX_TOKEN, TokenSigner, TokenVerifier
from wsctl.server.credentials.verifier import Denied, Granted

NOW = 1_800_000_000.0

MADE_AT = NOW + 0.25

CLAIMS = {"sub": "bob", "exp": NOW + 60}


def _verifier(*keys: TokenKey, audience: str | None = None) -> TokenVerifier:
    return TokenVerifier(keys or [TokenKey("HS256", SECRET)], audience, lambda: NOW)


def _why(token: str, verifier: TokenVerifier | None = None, client_id: str = "bob") -> str:
    verdict = (verifier or _verifier()).verify_for(token, client_id)
    return verdict.why if isinstance(verdict, Denied) else "granted"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_token_of_the_right_key_is_good_until_its_end(tmp_path: Path, algorithm: str) -> None:
    verifier = _verifier(*verification_keys(written(tmp_path, "key", checks(algorithm))))
    assert verifier.verify_for(signed(algorithm, CLAIMS), "bob") == Granted(NOW + 60)
    other = {"HS256": SECRET[::-1]}.get(algorithm) or private(algorithm, which=1)
    assert _why(signed(algorithm, CLAIMS, other), verifier) == "no key of this server has signed the token"


def test_a_token_says_what_its_client_may() -> None:
    verdict = _verifier().verify_for(signed("HS256", CLAIMS | {"wsctl": {"publish": ["a.*"]}}), "bob")
    assert verdict == Granted(NOW + 60, permissions=Claimed(publish=("a.*",)))
    assert _why(signed("HS256", CLAIMS | {"wsctl": {"publish": "a.*"}})) == (
        "the token is malformed: publish in its claim wsctl is no list of topics"
    )


@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({}, "granted"),
        ({"exp": NOW + 0.5}, "granted"),
        ({"exp": NOW}, "has expired"),
        ({"exp": NOW - LEEWAY / 2}, "has expired"),
        ({"exp": 0}, "has expired"),
        ({"exp": None}, "has no exp"),
        ({"exp": "2030-01-01"}, "no valid"),
        ({"exp": str(NOW + 60)}, "no valid"),
        ({"exp": True}, "no valid"),
        ({"exp": [NOW + 60]}, "no valid"),
        ({"exp": float("inf")}, "no valid"),
        ({"exp": float("nan")}, "no valid"),
        ({"exp": 10**400}, "no valid"),
        ({"nbf": NOW + LEEWAY - 1}, "granted"),
        ({"nbf": NOW + LEEWAY + 1}, "not valid yet"),
        ({"nbf": "soon"}, "no valid"),
        ({"iat": NOW + LEEWAY - 1}, "granted"),
        ({"iat": NOW + LEEWAY + 1}, "not valid yet"),
        ({"sub": "eve"}, "for another client id"),
        ({"sub": "Bob"}, "for another client id"),
        ({"sub": ""}, "for another client id"),
        ({"sub": None}, "has no sub"),
        ({"sub": 5}, "no valid"),
        ({"aud": "chat"}, "for another audience"),
        ({"aud": ["chat"]}, "for another audience"),
    ],
)
def test_what_a_token_says_is_held_to(claims: dict[str, Any], why: str) -> None:
    token = jwt.api_jws.encode(json.dumps(CLAIMS | claims).encode(), SECRET, "HS256")
    assert why in _why(token)


@pytest.mark.parametrize(
    ("aud", "why"),
    [
        ("chat", "granted"),
        (["x", "chat"], "granted"),
        (None, "has no aud"),
        ("", "has no aud"),
        ("chatter", "for another audience"),
        (["x"], "for another audience"),
        ({"chat": 1}, "for another audience"),
    ],
)
def test_an_audience_that_is_set_must_be_named(aud: Any, why: str) -> None:
    token = jwt.api_jws.encode(json.dumps(CLAIMS | {"aud": aud}).encode(), SECRET, "HS256")
    assert why in _why(token, _verifier(audience="chat"))


def test_an_id_is_compared_in_the_form_that_ids_have() -> None:
    assert _why(signed("HS256", CLAIMS | {"sub": "Zoe\u0308"}), client_id="Zo\u00eb") == "granted"


def test_the_algorithm_is_the_keys_whatever_the_token_says() -> None:
    ours = "no key of this server"
    # With the public key as if it were a secret, which everybody can.
    header, claims = (json.dumps(part).encode() for part in ({"alg": "HS256", "typ": "JWT"}, CLAIMS))
    text = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    hmac = jwt.get_algorithm_by_name("HS256")
    forged = text + b"." + base64.urlsafe_b64encode(hmac.sign(text, public_pem("RS256"))).rstrip(b"=")
    assert ours in _why(forged.decode(), _verifier(TokenKey("RS256", private("RS256").public_key())))
    assert ours in _why(jwt.encode(CLAIMS, None, "none"))
    assert ours in _why(jwt.encode(CLAIMS, SECRET * 2, "HS512"), _verifier(TokenKey("HS256", SECRET * 2)))
    assert ours in _why(signed("EdDSA", CLAIMS))


def test_of_several_keys_the_token_names_one(tmp_path: Path) -> None:
    rows = jwks(jwk("EdDSA", "a"), jwk("EdDSA", "b", which=1), jwk("RS256", "c"))
    verifier = _verifier(*verification_keys(written(tmp_path, "jwks.json", rows)))
    assert _why(signed("EdDSA", CLAIMS, kid="a"), verifier) == "granted"
    assert _why(signed("EdDSA", CLAIMS, private("EdDSA", 1), kid="b"), verifier) == "granted"
    assert _why(signed("RS256", CLAIMS, kid="c"), verifier) == "granted"
    assert "no key of this server" in _why(signed("EdDSA", CLAIMS, kid="b"), verifier)
    assert "no key of this server" in _why(signed("EdDSA", CLAIMS, kid="d"), verifier)
    assert "which key" in _why(signed("EdDSA", CLAIMS), verifier)


def test_one_key_needs_no_name_and_one_without_takes_any(tmp_path: Path) -> None:
    named = _verifier(*verification_keys(written(tmp_path, "jwks.json", jwks(jwk("EdDSA", "a")))))
    assert _why(signed("EdDSA", CLAIMS), named) == "granted"
    assert "no key of this server" in _why(signed("EdDSA", CLAIMS, kid="b"), named)
    unnamed = _verifier(*verification_keys(written(tmp_path, "pem", public_pem("EdDSA"))))
    assert _why(signed("EdDSA", CLAIMS, kid="whatever"), unnamed) == "granted"


def test_a_token_has_a_length() -> None:
    longest = signed("HS256", CLAIMS)
    room = signed("HS256", CLAIMS | {"x": "y" * (MAX_TOKEN * 3 // 4 - len(longest))})
    assert len(room) <= MAX_TOKEN
    assert _why(room) == "granted"
    assert (
        _why(signed("HS256", CLAIMS | {"x": "y" * MAX_TOKEN}))
        == f"a token has at most {MAX_TOKEN} characters"
    )


def _with_header(header: bytes) -> str:
    return base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.AA"


@pytest.mark.parametrize(
    "token",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "\ud800",
        "\u00e9.\u00e9.\u00e9",
        _with_header(b"[" * 3000),
        _with_header(b"[]"),
        _with_header(b'{"alg": "HS256", "kid": 5}'),
        _with_header(b'{"alg": ["HS256"]}'),
        _with_header(b'{"alg": "HS256", "crit": ["x"]}'),
        _with_header(b'{"alg": "HS256", "b64": false, "crit": ["b64"]}'),
        _with_header(b"{}"),
    ],
)
def test_what_is_no_token_is_told(token: str) -> None:
    assert "no valid" in _why(token) or "no key of this server" in _why(token)


@pytest.mark.parametrize("claims", [b"[]", b"5", b"null", b"no JSON", b"\xff", b"[" * 3000])
def test_what_is_signed_and_no_object_is_told(claims: bytes) -> None:
    assert "no valid" in _why(jwt.api_jws.encode(claims, SECRET, "HS256"))


@given(st.text(max_size=60))
def test_whatever_comes_there_is_a_verdict(text: str) -> None:
    good = signed("HS256", CLAIMS)
    for token in (text, f"{text}.{good}", good[:-1] + text, good.replace(".", text)):
        assert isinstance(_verifier().verify_for(token, "bob"), Granted | Denied)


@given(st.integers(0, len(signed("HS256", CLAIMS)) - 1), st.sampled_from("Ab0_-.~"))
def test_no_letter_of_a_token_can_be_another(at: int, letter: str) -> None:
    good = signed("HS256", CLAIMS)
    changed = good[:at] + letter + good[at + 1 :]
    assert (_why(changed) == "granted") == (changed == good)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("audience", [None, "chat"])
def test_a_server_with_the_other_half_of_the_key_takes_tokens_that_were_made(
    tmp_path: Path, algorithm: str, audience: str | None
) -> None:
    signing = SECRET if algorithm == "HS256" else private_pem(algorithm)
    made = TokenSigner(written(tmp_path, "signs", signing), audience, lambda: MADE_AT).sign("bob", 60)
    keys = verification_keys(written(tmp_path, "checks", checks(algorithm)))
    assert TokenVerifier(keys, audience, lambda: MADE_AT).verify_for(made.token, "bob") == Granted(
        made.expires
    )


def test_a_token_says_for_whom_it_is_since_when_and_until_when(tmp_path: Path) -> None:
    made = TokenSigner(written(tmp_path, "key", SECRET), None, lambda: MADE_AT).sign("bob", 60)
    claims = jwt.decode(made.token, options={"verify_signature": False})
    assert claims == {"sub": "bob", "iat": 1_800_000_000, "exp": 1_800_000_061}
    assert made.expires == claims["exp"]
    assert "kid" not in jwt.get_unverified_header(made.token)


def test_a_key_with_a_name_is_named(tmp_path: Path) -> None:
    row = jwk("EdDSA", "mine", secret=True)
    made = TokenSigner(written(tmp_path, "key", jwks(row)), None, lambda: MADE_AT).sign("bob", 60)
    assert jwt.get_unverified_header(made.token) == {"alg": "EdDSA", "typ": "JWT", "kid": "mine"}
