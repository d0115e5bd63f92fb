"""`wsctl token`, and the commands that show one."""

import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from tests.conftest import StartServer
from tests.support.issuer import Issuer
from tests.support.keys import SECRET, public_pem, written
from tests.support.server import wsctl
from wsctl.server.credentials.permissions import read_permissions
from wsctl.server.credentials.tokens import MAX_TTL


@pytest.fixture
def issuer(tmp_path: Path) -> Issuer:
    return Issuer(tmp_path)


def _claims(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, SECRET, algorithms=["HS256"], options={"verify_aud": False})
    return claims


def test_a_token_is_alone_on_stdout(issuer: Issuer, environ: dict[str, str]) -> None:
    before = time.time()
    done = wsctl("token", "--id", "bob", "--ttl", "90m", "--jwt-key", str(issuer.signs), environ=environ)
    assert (done.returncode, done.stderr) == (0, "")
    claims = _claims(done.stdout.removesuffix("\n"))
    assert set(claims) == {"sub", "iat", "exp"}
    assert claims["sub"] == "bob"
    assert before + 5400 <= claims["exp"] <= time.time() + 5401


def test_key_and_audience_come_from_the_environment_too_and_json_has_the_end(
    issuer: Issuer, environ: dict[str, str]
) -> None:
    environ |= {"WSCTL_JWT_KEY": str(issuer.signs), "WSCTL_JWT_AUDIENCE": "chat"}
    done = wsctl("token", "--id", "Zoe\u0308", "--json", environ=environ)
    told = json.loads(done.stdout)
    claims = _claims(told["token"])
    assert (claims["sub"], claims["aud"], claims["exp"]) == ("Zo\u00eb", "chat", told["expires"])
    assert claims["exp"] - claims["iat"] in (3600, 3601)


@pytest.mark.parametrize(
    ("flags", "claim"),
    [
        ((), None),
        (("--subscribe", "chat.*,news"), {"subscribe": ["chat.*", "news"]}),
        (("--publish", "off", "--direct"), {"publish": [], "direct": True}),
        (("--publish", "on", "--no-direct"), {"publish": [">"], "direct": False}),
    ],
)
def test_a_token_says_what_its_client_may(
    issuer: Issuer, environ: dict[str, str], flags: tuple[str, ...], claim: dict[str, Any] | None
) -> None:
    done = wsctl("token", "--id", "bob", *flags, "--jwt-key", str(issuer.signs), environ=environ)
    claims = _claims(done.stdout.strip())
    assert claims.get("wsctl") == claim
    if claim is not None:
        assert read_permissions(claims["wsctl"]).claim() == {
            name: tuple(value) if isinstance(value, list) else value for name, value in claim.items()
        }


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (("--id", "bob"), "--jwt-key FILE"),
        (("--id", "two words", "--jwt-key", "KEY"), "--id: a client id has"),
        (("--id", "bob", "--ttl", "0", "--jwt-key", "KEY"), "is out of range: write 1s to 366d"),
        (
            ("--id", "bob", "--ttl", f"{MAX_TTL + 1:.0f}", "--jwt-key", "KEY"),
            "is out of range: write 1s to 366d",
        ),
        (("--id", "bob", "--ttl", "soon", "--jwt-key", "KEY"), "not a duration"),
        (("--id", "bob", "--subscribe", "a..b", "--jwt-key", "KEY"), "a topic has segments of letters"),
        (("--id", "bob", "--jwt-key", "nowhere"), "nowhere: No such file"),
        (("--id", "bob", "--jwt-key", "PUBLIC"), "it is a public key, which checks tokens"),
    ],
)
def test_what_cannot_be_made_is_one_line(
    issuer: Issuer, environ: dict[str, str], tmp_path: Path, flags: tuple[str, ...], why: str
) -> None:
    files = {"KEY": issuer.signs, "PUBLIC": written(tmp_path, "public", public_pem("EdDSA"))}
    done = wsctl("token", *[str(files.get(flag, flag)) for flag in flags], environ=environ)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert why in done.stderr


def test_a_client_without_the_right_token_is_refused_in_one_line(
    start_server: StartServer, issuer: Issuer, environ: dict[str, str]
) -> None:
    server = start_server(*issuer.flags)
    for token in (None, issuer.token("eve"), "n0ne"):
        shown = {} if token is None else {"WSCTL_CLIENT_TOKEN": token}
        for command in (("client", "--id", "bob"), ("stress", "--clients", "1", "--duration", "1")):
            done = wsctl(*command, "--url", server.url, environ=environ | shown)
            assert (done.returncode, done.stderr.count("\n")) == (6, 1), done.stderr
            assert "WSCTL_CLIENT_TOKEN_FILE" in done.stderr
            assert token is None or token not in done.stderr


def test_a_token_file_that_cannot_be_read_is_one_line(environ: dict[str, str], tmp_path: Path) -> None:
    environ["WSCTL_CLIENT_TOKEN_FILE"] = str(tmp_path / "none")
    done = wsctl("client", "--id", "bob", "--url", "http://127.0.0.1:9", environ=environ)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "WSCTL_CLIENT_TOKEN_FILE" in done.stderr


def test_a_crowd_makes_its_own_tokens(
    start_server: StartServer, issuer: Issuer, environ: dict[str, str]
) -> None:
    server = start_server(*issuer.flags, "--jwt-audience", "chat")
    signing = ("--jwt-key", str(issuer.signs), "--jwt-audience", "chat")
    load = ("--clients", "3", "--duration", "1", "--url", server.url, "--json")
    done = wsctl("stress", *load, *signing, environ=environ)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert (told["connected"], told["refused"], told["missed"]) == (3, {}, 0)
