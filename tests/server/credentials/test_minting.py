"""The tokens we make."""

from pathlib import Path

import jwt
import pytest

from tests.support.keys import ALGORITHMS, SECRET, checks, jwk, jwks, private_pem, written
from wsctl.server.credentials.judge import Granted
from wsctl.server.credentials.keys import checking_keys
from wsctl.server.credentials.minting import Mint
from wsctl.server.credentials.signed import SignedTokens

NOW = 1_800_000_000.25


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("audience", [None, "chat"])
def test_a_server_with_the_other_half_of_the_key_takes_them(
    tmp_path: Path, algorithm: str, audience: str | None
) -> None:
    private = SECRET if algorithm == "HS256" else private_pem(algorithm)
    minted = Mint(written(tmp_path, "signs", private), audience, lambda: NOW).token("bob", 60)
    keys = checking_keys(written(tmp_path, "checks", checks(algorithm)))
    assert SignedTokens(keys, audience, lambda: NOW).judge(minted.token, "bob") == Granted(minted.expires)


def test_a_token_says_for_whom_it_is_since_when_and_until_when(tmp_path: Path) -> None:
    minted = Mint(written(tmp_path, "key", SECRET), None, lambda: NOW).token("bob", 60)
    claims = jwt.decode(minted.token, options={"verify_signature": False})
    assert claims == {"sub": "bob", "iat": 1_800_000_000, "exp": 1_800_000_061}
    assert minted.expires == claims["exp"]
    assert "kid" not in jwt.get_unverified_header(minted.token)


def test_a_key_with_a_name_is_named(tmp_path: Path) -> None:
    row = jwk("EdDSA", "mine", secret=True)
    minted = Mint(written(tmp_path, "key", jwks(row)), None, lambda: NOW).token("bob", 60)
    assert jwt.get_unverified_header(minted.token) == {"alg": "EdDSA", "typ": "JWT", "kid": "mine"}
