"""Files with keys: the reading of those that check signatures, and of those that make them.

The algorithm is the key's, and never what a token says of itself (RFC 8725 section 3.1). A file is a shared
secret only where it cannot be taken for anything else, or where `--jwt-algorithm` says so: a file that was
given by mistake must not become one. A secret is what a generator makes: one word of ASCII, base64 in lines,
or random bytes. What is public, and was only not recognised, is a key without its armour, JSON that is cut
off, or a page with an error.
"""

import base64
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key

MIN_SECRET = 32
"""Bytes of a shared secret: as many as HS256's hash has (RFC 7518 section 3.2)."""

MIN_RSA = 2048
"""Bits of an RSA key (RFC 7518 section 3.3)."""

MAX_FILE = 1 << 20
"""Bytes of a file with keys: a JWKS has a few thousand, and a larger file was given by mistake."""

HS256, RS256, EDDSA = "HS256", "RS256", "EdDSA"

_PEM = b"-----BEGIN "

MAX_SECRET = 256
"""Bytes of a secret that needs no `--jwt-algorithm`: four times of what HS256 uses. An RSA key has more."""

_LINES = re.compile(rb"[A-Za-z0-9+/_=-]+(\r?\n[A-Za-z0-9+/_=-]+)*")
_CODED = re.compile(rb"[A-Za-z0-9+/_-]{24,}")
_HEX = re.compile(rb"[0-9A-Fa-f]+")
_PEM_LINE = re.compile(rb"-{2,}\s*(begin|end)\b")
_JSON = re.compile(rb'[{\["]|.*(":|",\s*")', re.DOTALL)
_MARKUP = re.compile(rb"<|.*(</|/>)", re.DOTALL)
_READABLE = frozenset(b"\t\r\n" + bytes(range(32, 127)))

_DER = re.compile(
    rb"\x30(?:[\x10-\x7f]|\x81.|\x82..)"
    rb"(?:\x30[\x03-\x1f]\x06|\x02\x01[\x00-\x03]|\x30\x82..(?:\xa0\x03|\x02)|\x02\x82..\x00)",
    re.DOTALL,
)
"""The beginning of a key or a certificate in DER: a sequence (X.690) which begins with the name of an
algorithm (SubjectPublicKeyInfo), a version (PKCS #8, PKCS #1), a certificate or a modulus. Of random secrets
one in some hundred million begins so."""

_SSH = b"\x00\x00\x00"
_GZIP = b"\x1f\x8b\x08"


class BadKey(ValueError):
    """The error raised for a file without a usable key. The text says what is wrong with the file, and
    nothing of what is in it."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """One key. `kid` is its name, where the file names it."""

    algorithm: str
    material: Any = None
    kid: str | None = None

    def __repr__(self) -> str:
        return f"TokenKey({self.algorithm}, kid={self.kid!r})"


def verification_keys(path: Path, algorithm: str | None = None) -> list[TokenKey]:
    """Read the keys with which signatures are checked: of a public key in PEM or a JWKS, or the secret
    itself. With `algorithm` only those for that one.

    Raises:
        BadKey: the file cannot be read, or has no such key, or what it has may be no secret.
    """
    data = _read_file(path)
    if data.lstrip().startswith(_PEM):
        return _for_algorithm([_token_key(_public_pem(data))], algorithm)
    if (found := _parse_json(data)) is not None and (algorithm != HS256 or _has_keys(found)):
        usable = [key for row in _rows(found) if (key := _public_jwk(row))]
        if not usable:
            raise BadKey("no public key in it is RSA (RS256) or Ed25519 (EdDSA)")
        return _for_algorithm(usable, algorithm)
    return [_shared_secret(data, algorithm)]


def signing_key(path: Path, algorithm: str | None = None) -> TokenKey:
    """Read the key with which tokens are signed: a private key in PEM or as a JWK, or the secret itself. With
    `algorithm` it is for that one.

    Raises:
        BadKey: the file cannot be read, or has no such key, or several, or what it has may be no secret.
    """
    data = _read_file(path)
    if data.lstrip().startswith(_PEM):
        return _for_algorithm([_token_key(_private_pem(data))], algorithm)[0]
    if (found := _parse_json(data)) is not None and (algorithm != HS256 or _has_keys(found)):
        rows = [row for row in _rows(found) if "d" in row]
        if len(rows) != 1:
            raise BadKey(f"{len(rows) or 'no'} private keys are in it: one signs")
        return _for_algorithm([_jwk(rows[0])], algorithm)[0]
    return _shared_secret(data, algorithm)


def _for_algorithm(keys: list[TokenKey], algorithm: str | None) -> list[TokenKey]:
    """Return the keys for the algorithm that was asked for; raise `BadKey` when there are none."""
    wanted = [key for key in keys if algorithm in (None, key.algorithm)]
    if not wanted:
        found = " and ".join(sorted({key.algorithm for key in keys}))
        raise BadKey(f"its keys are for {found}, and --jwt-algorithm says {algorithm}")
    return wanted


def _read_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except (OSError, ValueError) as error:
        raise BadKey(getattr(error, "strerror", None) or str(error)) from None
    if len(data) > MAX_FILE:
        raise BadKey(f"it has more than {MAX_FILE} bytes, which no key needs")
    return data


def _shared_secret(data: bytes, algorithm: str | None) -> TokenKey:
    if algorithm not in (None, HS256):
        raise BadKey(f"it is no key in PEM or JSON, and --jwt-algorithm says {algorithm}")
    # Text ends with a line break that an editor or a shell has put there; of random bytes each counts.
    secret = data.rstrip(b"\r\n") if data.isascii() else data
    if algorithm is None and (other := sniff(secret)):
        advice = "mend the file, or say --jwt-algorithm HS256 if all of it is a secret"
        raise BadKey(f"it cannot be read as a key, and looks like {other}: {advice}")
    if len(secret) < MIN_SECRET:
        raise BadKey(f"a secret has at least {MIN_SECRET} bytes, and this one {len(secret)}")
    try:
        jwt.get_algorithm_by_name(HS256).prepare_key(secret)
    except jwt.InvalidKeyError:
        raise BadKey("it is a key that can be read, and no secret") from None
    return TokenKey(HS256, secret)


def _public_pem(data: bytes) -> Any:
    if b"PRIVATE KEY-----" in data:
        advice = "give the server the public one alone: openssl pkey -in FILE -pubout"
        raise BadKey(f"it is a private key; {advice}")
    try:
        return load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("it is no public key in PEM: openssl pkey -pubout makes one") from None


def _private_pem(data: bytes) -> Any:
    if b"PRIVATE KEY-----" not in data:
        raise BadKey("it is a public key, which checks tokens; to make one takes the private key")
    try:
        return load_pem_private_key(data, None)
    except TypeError:
        raise BadKey("it is encrypted: give one that is not") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("it is no private key in PEM") from None


def _token_key(material: Any, kid: str | None = None) -> TokenKey:
    match material:
        case RSAPublicKey() | RSAPrivateKey():
            if material.key_size < MIN_RSA:
                raise BadKey(f"its {material.key_size} bits are too few: an RSA key has {MIN_RSA}")
            return TokenKey(RS256, material, kid)
        case Ed25519PublicKey() | Ed25519PrivateKey():
            return TokenKey(EDDSA, material, kid)
    raise BadKey("it is neither an RSA (RS256) nor an Ed25519 (EdDSA) key")


def _parse_json(data: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _has_keys(found: dict[str, Any]) -> bool:
    return "keys" in found or "kty" in found


def _rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the keys of a JWKS, or the one that a JWK is (RFC 7517)."""
    rows = found.get("keys", [found])
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _public_jwk(row: dict[str, Any]) -> TokenKey | None:
    """Return the key of one row; None for what an issuer keeps beside: keys for encryption, and for
    algorithms that are not taken here."""
    if row.get("use", "sig") != "sig" or row.get("kty") not in ("RSA", "OKP"):
        return None
    if "d" in row:
        raise BadKey("a private key is in it: give the server the public ones alone")
    if row.get("alg", RS256) not in (RS256, EDDSA) or row.get("crv", "Ed25519") != "Ed25519":
        return None
    return _jwk(row)


def _jwk(row: dict[str, Any]) -> TokenKey:
    kid = row.get("kid")
    if kid is not None and not isinstance(kid, str):
        raise BadKey("the kid of a key is no text")
    try:
        return _token_key(jwt.PyJWK(row).key, kid)
    except (jwt.PyJWTError, KeyError, TypeError) as error:
        raise BadKey(f"a key in it is damaged ({type(error).__name__})") from None


def sniff(data: bytes) -> str | None:
    """Return what these bytes look like, other than a secret; None when they look like one."""
    if found := _filler(data) or _file_format(data):
        return found
    if any(_file_format(raw) or _is_text(raw) for raw in _decoded(data)):
        return "a key, JSON or text in base64 or hex"
    if b"://" in data:
        return "an address"
    if _is_text(data) and not (_is_word(data) or _LINES.fullmatch(data)):
        return "text"
    return f"no secret: it has more than {MAX_SECRET} bytes" if len(data) > MAX_SECRET else None


def _filler(data: bytes) -> str | None:
    """Name bytes that nobody would have to guess: a disk leaves zeros behind a crash, an editor blanks."""
    if data.count(0) > len(data) / 3:
        return "text in UTF-16, or zeros"
    return "blanks" if data and not data.strip() else None


def _file_format(data: bytes) -> str | None:
    if data.startswith(_GZIP):
        return "a compressed file"
    if _DER.match(data.lstrip()) or (data.startswith(_SSH) and data[4:7] in (b"ssh", b"ecd")):
        return "a key in DER"
    if not _is_text(data):
        return None
    text = data.strip().lower()
    if _PEM_LINE.search(text):
        return "a key in PEM"
    if _JSON.match(text):
        return "JSON"
    return "markup" if _MARKUP.match(text) else None


def _is_word(data: bytes) -> bool:
    return data.isascii() and len(data.split()) <= 1


def _is_text(data: bytes) -> bool:
    """Tell whether nearly all bytes can be read: in ASCII, in UTF-8 or in UTF-16."""
    if sum(byte in _READABLE for byte in data) >= 0.9 * len(data):
        return True
    try:
        return "".join(data.decode().split()).isprintable()
    except UnicodeDecodeError:
        return data.count(0) > len(data) / 3


def _decoded(data: bytes) -> list[bytes]:
    """Decode the parts that are in base64 or hex, as far as they are either; the rest of a part that is cut
    off is dropped."""
    decoded = []
    for found in _CODED.findall(b"".join(data.split())):
        coded = found.translate(bytes.maketrans(b"-_", b"+/"))
        decoded.append(base64.b64decode(coded[: len(coded) // 4 * 4]))
        if _HEX.fullmatch(coded):
            decoded.append(bytes.fromhex(coded[: len(coded) // 2 * 2].decode()))
    return decoded
