"""Whether strangers are kept out."""

import subprocess
from pathlib import Path

import pytest

from tests.support.programs import need
from wsctl.server.checks.credentials import check, secret_key
from wsctl.settings import Settings


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("s" * 32)
    return str(path)


@pytest.fixture
def public(tmp_path: Path) -> str:
    need("openssl")
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for command in (
        f"genpkey -algorithm ed25519 -out {private}",
        f"pkey -in {private} -pubout -out {public}",
    ):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True)
    return str(public)


def test_a_server_that_everybody_reaches_and_that_asks_nobody_is_warned_of() -> None:
    found = check(Settings(host="0.0.0.0"))
    assert (found.level, "publish" in found.text) == ("warning", True)
    assert "--auth" in str(found.fix)
    assert "publish" not in check(Settings(host="0.0.0.0", client_publish=False)).text
    assert check(Settings()).level == "ok"


def test_a_server_that_asks_is_in_order(secret: str, public: str) -> None:
    everywhere = {"host": "0.0.0.0", "auth": "jwt"}
    for settings in (
        Settings(host="0.0.0.0", auth="token", client_token="x"),
        Settings(**everywhere, jwt_key=secret),
        Settings(**everywhere, jwt_key=public),
    ):
        assert check(settings).level == "ok"


def test_what_cannot_be_judged_with_is_an_error(tmp_path: Path) -> None:
    short = tmp_path / "short"
    short.write_text("hush")
    found = check(Settings(auth="jwt", jwt_key=str(short)))
    assert (found.level, "32 bytes" in found.text) == ("error", True)
    assert check(Settings(auth="jwt", jwt_key=str(tmp_path / "none"))).level == "error"


def test_of_keys_only_a_secret_must_be_hidden(secret: str, public: str, tmp_path: Path) -> None:
    assert secret_key(Settings(auth="jwt", jwt_key=secret)) == secret
    assert secret_key(Settings(auth="jwt", jwt_key=public)) is None
    assert secret_key(Settings(auth="jwt", jwt_key=str(tmp_path / "none"))) is None
    assert secret_key(Settings()) is None
