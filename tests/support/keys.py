"""Keys that sign tokens, and the files that say so."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

SECRET = b"thirty-two+bytes+of+a+secret+or+more"

ALGORITHMS = ("HS256", "RS256", "EdDSA")


def private(kind: str, which: int = 0) -> Any:
    """A private key of a kind, always the same; `which` tells several apart."""
    return _made(kind, which)


@cache
def _made(kind: str, which: int) -> Any:
    match kind:
        case "RS256":
            return rsa.generate_private_key(65537, 2048)
        case "RSA-1024":
            return rsa.generate_private_key(65537, 1024)
        case "EC":
            return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def private_pem(kind: str, which: int = 0, password: bytes | None = None) -> bytes:
    cipher = BestAvailableEncryption(password) if password else NoEncryption()
    pem: bytes = private(kind, which).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, cipher)
    return pem


def public_pem(kind: str, which: int = 0) -> bytes:
    pem: bytes = (
        private(kind, which).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    return pem


def jwk(kind: str, kid: str | None = None, which: int = 0, *, secret: bool = False, **more: object) -> Any:
    """A key as JSON has it: the public one, or the private one too."""
    key = private(kind, which)
    algorithm = jwt.get_algorithm_by_name(
        kind if kind in ALGORITHMS else "ES256" if kind == "EC" else "RS256"
    )
    row = json.loads(algorithm.to_jwk(key if secret else key.public_key()))
    row.pop("key_ops", None)
    return row | ({"kid": kid} if kid is not None else {}) | more


def jwks(*rows: object) -> bytes:
    return json.dumps({"keys": rows}).encode()


def signs(algorithm: str) -> Any:
    """What signs with an algorithm."""
    return SECRET if algorithm == "HS256" else private(algorithm)


def checks(algorithm: str) -> bytes:
    """What a server checks with, as its file has it."""
    return SECRET if algorithm == "HS256" else public_pem(algorithm)


def signed(algorithm: str, claims: dict[str, Any], key: Any = None, **headers: Any) -> str:
    """A token."""
    return jwt.encode(claims, signs(algorithm) if key is None else key, algorithm, headers or None)


def written(folder: Path, name: str, data: bytes) -> Path:
    """A file with a key in it."""
    path = folder / name
    path.write_bytes(data)
    return path
