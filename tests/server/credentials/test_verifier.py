"""The verifier that the settings ask for."""

import re
from pathlib import Path

import pytest

from tests.support.keys import SECRET, signed, written
from wsctl.errors import CannotStart, UsageError
from wsctl.server.credentials import verifier_of
from wsctl.server.credentials.verifier import Denied, Granted
from wsctl.settings import Settings


def test_without_auth_there_is_no_verifier() -> None:
    assert verifier_of(Settings()) is None
    assert verifier_of(Settings(client_token="t0p")) is None


def test_a_shared_token_lets_anybody_in_who_has_it_for_ever() -> None:
    verifier = verifier_of(Settings(auth="token", client_token="t0p"))
    assert verifier
    assert verifier.verify_for("t0p", "bob") == verifier.verify_for("t0p", "eve") == Granted(None)
    for wrong in ("", "t0", "t0p ", "T0P", "\u00e9", "\ud800"):
        assert verifier.verify_for(wrong, "bob") == Denied("this is not the server's token")


def test_a_shared_token_there_must_be() -> None:
    with pytest.raises(UsageError, match="WSCTL_CLIENT_TOKEN_FILE"):
        verifier_of(Settings(auth="token"))


def test_tokens_are_held_to_the_audience_and_the_clock_that_are_set(tmp_path: Path) -> None:
    path = written(tmp_path, "key", SECRET)
    settings = Settings(auth="jwt", jwt_key=str(path), jwt_audience="chat")
    verifier = verifier_of(settings, lambda: 100.0)
    assert verifier
    claims = {"sub": "bob", "exp": 110, "aud": "chat"}
    assert verifier.verify_for(signed("HS256", claims), "bob") == Granted(110.0)
    assert isinstance(verifier.verify_for(signed("HS256", claims | {"aud": "x"}), "bob"), Denied)


def test_a_key_that_is_none_keeps_the_server_from_starting(tmp_path: Path) -> None:
    path = written(tmp_path, "key", b"short")
    with pytest.raises(CannotStart, match=f"^--jwt-key {re.escape(str(path))}: a secret has at least"):
        verifier_of(Settings(auth="jwt", jwt_key=str(path)))
