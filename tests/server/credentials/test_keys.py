"""Which files are keys, and of which algorithm."""

import base64
import gzip
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from string import printable

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.support.keys import (
    SECRET,
    checks,
    jwk,
    jwks,
    private,
    private_pem,
    public_pem,
    signed,
    signs,
    written,
)
from tests.support.sizes import examples
from wsctl.server.credentials.keys import (
    MAX_FILE,
    MIN_SECRET,
    BadKey,
    TokenKey,
    signing_key,
    sniff,
    verification_keys,
)

Made = Callable[[], bytes]
"""A key that is made when the test runs: one of RSA takes a tenth of a second, and each worker of the tests
collects them all."""


def made(data: bytes | Made) -> bytes:
    return data if isinstance(data, bytes) else data()


@pytest.mark.parametrize("algorithm", ["HS256", "RS256", "EdDSA"])
def test_the_file_decides_the_algorithm(tmp_path: Path, algorithm: str) -> None:
    (checking,) = verification_keys(written(tmp_path, "checks", checks(algorithm)))
    private_file = SECRET if algorithm == "HS256" else private_pem(algorithm)
    signing = signing_key(written(tmp_path, "signs", private_file))
    assert (checking.algorithm, signing.algorithm) == (algorithm, algorithm)
    assert (checking.kid, signing.kid) == (None, None)


def test_a_line_break_behind_a_secret_is_none_of_it_but_of_random_bytes_each_counts(tmp_path: Path) -> None:
    assert signing_key(written(tmp_path, "text", SECRET + b"\r\n")) == TokenKey("HS256", SECRET)
    noise = bytes(range(200, 232)) + b"\n"
    assert signing_key(written(tmp_path, "noise", noise)) == TokenKey("HS256", noise)


def test_a_secret_has_as_many_bytes_as_the_hash(tmp_path: Path) -> None:
    assert verification_keys(written(tmp_path, "enough", b"x" * MIN_SECRET))
    with pytest.raises(BadKey, match=f"at least {MIN_SECRET} bytes, and this one {MIN_SECRET - 1}"):
        verification_keys(written(tmp_path, "short", b"x" * (MIN_SECRET - 1) + b"\n\n"))


def test_a_set_has_the_keys_that_sign_and_their_names(tmp_path: Path) -> None:
    rows = (
        jwk("RS256", "r", use="sig", alg="RS256"),
        jwk("EdDSA", "e"),
        jwk("EC", "other curve"),
        jwk("RS256", "encrypts", use="enc"),
        jwk("RS256", "other hash", alg="RS512"),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "shared"},
        {"kty": "OKP", "crv": "X25519", "x": "AA", "kid": "agrees"},
        "no key",
    )
    keys = verification_keys(written(tmp_path, "jwks.json", jwks(*rows)))
    assert [(key.algorithm, key.kid) for key in keys] == [("RS256", "r"), ("EdDSA", "e")]
    alone = json.dumps(jwk("EdDSA", "e")).encode()
    assert [key.kid for key in verification_keys(written(tmp_path, "jwk.json", alone))] == ["e"]


def test_a_private_jwk_signs_and_names_itself(tmp_path: Path) -> None:
    rows = (jwk("EdDSA", "mine", secret=True), jwk("RS256", "theirs"))
    key = signing_key(written(tmp_path, "jwks.json", jwks(*rows)))
    assert (key.algorithm, key.kid) == ("EdDSA", "mine")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "at least 32 bytes"),
        (b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "no public key in PEM"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "no public key in PEM"),
        (public_pem("EC"), "neither an RSA"),
        (lambda: public_pem("RSA-1024"), "1024 bits are too few"),
        (private_pem("EdDSA"), "it is a private key; give the server the public one alone: openssl"),
        (private_pem("EdDSA", password=b"pw"), "it is a private key"),
        (jwks(), "no public key in it"),
        (jwks(jwk("EC", "e")), "no public key in it"),
        (lambda: jwks(jwk("RSA-1024", "r")), "1024 bits are too few"),
        (jwks(jwk("EdDSA", "e", secret=True)), "a private key is in it"),
        (jwks({"kty": "RSA", "n": "AQAB"}), "a key in it is damaged"),
        (jwks(jwk("EdDSA") | {"kid": 5}), "the kid of a key is no text"),
        (b'{"keys": {"kty": "RSA"}, "more": "and enough bytes for a secret"}', "no public key in it"),
        (b"ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 me@here", "looks like text"),
        (b"x" * (MAX_FILE + 1), f"more than {MAX_FILE} bytes"),
    ],
)
def test_what_checks_no_signature_is_told(tmp_path: Path, data: bytes | Made, why: str) -> None:
    with pytest.raises(BadKey, match=why) as caught:
        verification_keys(written(tmp_path, "key", made(data)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (public_pem("EdDSA"), "it is a public key, which checks tokens"),
        (private_pem("EdDSA", password=b"pw"), "it is encrypted"),
        (private_pem("EC"), "neither an RSA"),
        (lambda: private_pem("RSA-1024"), "1024 bits are too few"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in PEM"),
        (jwks(jwk("EdDSA", "e")), "no private keys are in it"),
        (jwks(*[jwk("EdDSA", str(n), secret=True) for n in range(2)]), "2 private keys are in it"),
        (b"short", "at least 32 bytes"),
    ],
)
def test_what_signs_nothing_is_told(tmp_path: Path, data: bytes | Made, why: str) -> None:
    with pytest.raises(BadKey, match=why):
        signing_key(written(tmp_path, "key", made(data)))


def unarmoured(pem: bytes) -> bytes:
    return b"\n".join(line for line in pem.splitlines() if not line.startswith(b"-")) + b"\n"


def der(pem: bytes) -> bytes:
    return base64.b64decode(unarmoured(pem))


def key_set() -> bytes:
    return jwks(jwk("RS256", "r"), jwk("EdDSA", "e"))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (lambda: key_set()[:-1] + b",}", "JSON"),
        (lambda: key_set()[:-40], "JSON"),
        (lambda: key_set()[20:], "JSON"),
        (json.dumps(["no", "set"] * 9).encode(), "JSON"),
        (b"<!DOCTYPE html><html><title>502 Bad Gateway</title></html>", "markup"),
        (b"\n<?xml version='1.0'?><error>down for a moment</error>", "markup"),
        (lambda: public_pem("RS256").lower(), "PEM"),
        (public_pem("EdDSA")[1:], "PEM"),
        (b"keys of the issuer\n" + public_pem("EdDSA"), "PEM"),
        (lambda: unarmoured(public_pem("RS256")), "base64"),
        (unarmoured(public_pem("EdDSA")), "base64"),
        (lambda: unarmoured(public_pem("RS256"))[:90], "base64"),
        (unarmoured(private_pem("EdDSA")), "base64"),
        (lambda: der(public_pem("RS256")), "DER"),
        (der(public_pem("EdDSA")), "DER"),
        (lambda: der(public_pem("RS256")).hex().encode(), "hex"),
        (lambda: base64.b64encode(public_pem("RS256")), "base64"),
        (lambda: base64.urlsafe_b64encode(key_set()), "base64"),
        (base64.b64encode(b"<html>nothing is here, come back later</html>"), "base64"),
        (b"AAAAB3NzaC1yc2EAAAADAQABAAABAQC7VJTUt9Us8cKjMzEfYyji", "base64"),
        (signed("HS256", {"sub": "bob"}).encode(), "base64"),
        (b"https://issuer.example/.well-known/jwks.json", "address"),
        (b"the quick brown fox jumps over the lazy dog", "text"),
        ("съешь ещё этих мягких французских булок".encode(), "text"),
        ("this is what some editors make of it".encode("utf-16"), "text"),
        (b"upstream connect error or disconnect/reset before headers\xe9", "text"),
        (bytes(range(255, -1, -1)) * 2, "more than 256 bytes"),
        (bytes(64), "zeros"),
        (b" \n" * 20, "blanks"),
        (lambda: key_set()[:-2].decode().encode("utf-16-be"), "UTF-16"),
        (public_pem("EdDSA").decode().encode("utf-16-le"), "UTF-16"),
        (lambda: gzip.compress(key_set()[:120]), "compressed"),
        (lambda: base64.b64encode(gzip.compress(key_set()[:120])), "base64"),
        (b"\n" + der(public_pem("EdDSA")), "DER"),
        (b"key=" + base64.b64encode(der(public_pem("EdDSA"))), "base64"),
        (b"'" + base64.b64encode(der(public_pem("EdDSA"))) + b"'", "base64"),
    ],
    ids=count(),  # keys are made anew by each worker of the tests, which must name them alike
)
def test_what_is_unmistakably_no_secret_is_refused_in_one_line(
    tmp_path: Path, data: bytes | Made, what: str
) -> None:
    path = written(tmp_path, "key", made(data))
    for read in (verification_keys, signing_key):
        with pytest.raises(BadKey, match=what) as caught:
            read(path)
        assert "--jwt-algorithm HS256" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        *[base64.b64encode(bytes([n]) + b"\x82\x01" + bytes(range(45))) for n in (0x2F, 0x31, 0x7B, 0x3C)],
        base64.encodebytes(bytes(range(128, 256))),
        bytes(range(32)).hex().encode(),
        b"correct-horse-battery-staple-and-some-more",
        b"5tr0ng!$%^&*()_+|~=:;'?,./words#and@more",
    ],
)
def test_what_a_generator_makes_is_a_secret(tmp_path: Path, data: bytes) -> None:
    assert verification_keys(written(tmp_path, "key", data)) == [TokenKey("HS256", data.rstrip(b"\n"))]


@examples(200)
@given(st.binary(min_size=32, max_size=64))
def test_random_bytes_are_a_secret_however_they_are_written(noise: bytes) -> None:
    assume(sum(byte in printable.encode() for byte in noise) < 0.8 * len(noise))
    assume(noise.count(0) < len(noise) / 4 and not noise.startswith(b"\x30"))
    try:
        noise.decode()
    except UnicodeDecodeError:
        assert sniff(noise) is None
    assert sniff(base64.b64encode(noise)) is None
    assert sniff(noise.hex().encode()) is None


def test_an_algorithm_that_is_named_settles_it(tmp_path: Path) -> None:
    words = written(tmp_path, "words", b"the quick brown fox jumps over the lazy dog\n")
    assert verification_keys(words, "HS256") == [TokenKey("HS256", words.read_bytes().rstrip())]
    rows = written(tmp_path, "jwks", key_set())
    assert [key.algorithm for key in verification_keys(rows, "EdDSA")] == ["EdDSA"]
    for path, algorithm in ((words, "RS256"), (rows, "HS256"), (written(tmp_path, "s", SECRET), "EdDSA")):
        with pytest.raises(BadKey, match=f"--jwt-algorithm says {algorithm}"):
            verification_keys(path, algorithm)
    pem = written(tmp_path, "pem", public_pem("EdDSA"))
    with pytest.raises(BadKey, match="for EdDSA, and --jwt-algorithm says HS256"):
        verification_keys(pem, "HS256")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing", Path("nu\0l")):
        with pytest.raises(BadKey, match=r"\w"):
            verification_keys(path)


def test_a_key_does_not_show_itself() -> None:
    assert SECRET.decode() not in repr(TokenKey("HS256", SECRET))
    assert str(private("EdDSA")) not in repr(TokenKey("EdDSA", signs("EdDSA"), "kid"))
