"""Certificates of any life, as files."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID


def certificate(
    folder: Path,
    since: timedelta,
    until: timedelta,
    names: Sequence[str] = ("a.example", "b.example"),
    password: bytes | None = None,
) -> tuple[str, str]:
    """The paths of a certificate and its key. `since` and `until` count from now; somebody else vouches for
    it, who is not there."""
    key, issuer = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name("server"))
        .issuer_name(_name("authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + since)
        .not_valid_after(now + until)
    )
    if names:
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
        made = made.add_extension(alternatives, critical=False)
    cert_path, key_path = folder / "made.pem", folder / "made.key"
    cert_path.write_bytes(made.sign(issuer, hashes.SHA256()).public_bytes(Encoding.PEM))
    secret: KeySerializationEncryption = BestAvailableEncryption(password) if password else NoEncryption()
    key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    return str(cert_path), str(key_path)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
