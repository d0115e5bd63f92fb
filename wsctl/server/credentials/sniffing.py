"""A test of bytes that are to be a secret: a file that was given by mistake must not become one.

A secret is what a generator makes: one word of ASCII, base64 in lines, or random bytes. What is public, and
was only not recognised, is a key without its armour, JSON that is cut off, or a page with an error.
"""

import base64
import re

MAX_SECRET = 256
"""Bytes of a secret that needs no `--jwt-algorithm`: four times of what HS256 uses. An RSA key has more."""

_LINES = re.compile(rb"[A-Za-z0-9+/_=-]+(\r?\n[A-Za-z0-9+/_=-]+)*")
_CODED = re.compile(rb"[A-Za-z0-9+/_-]{24,}")
_HEX = re.compile(rb"[0-9A-Fa-f]+")
_PEM = re.compile(rb"-{2,}\s*(begin|end)\b")
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


def sniff(data: bytes) -> str | None:
    """Return what these bytes look like, other than a secret; None when they look like one."""
    if found := _filler(data) or _format(data):
        return found
    if any(_format(raw) or _is_text(raw) for raw in _decoded(data)):
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


def _format(data: bytes) -> str | None:
    if data.startswith(_GZIP):
        return "a compressed file"
    if _DER.match(data.lstrip()) or (data.startswith(_SSH) and data[4:7] in (b"ssh", b"ecd")):
        return "a key in DER"
    if not _is_text(data):
        return None
    text = data.strip().lower()
    if _PEM.search(text):
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
