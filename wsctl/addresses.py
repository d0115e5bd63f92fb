"""Hosts and ports as text, in the one form in which they are compared and shown."""

import re
import unicodedata
from ipaddress import AddressValueError, IPv4Address, IPv6Address

_KEPT = frozenset("ß\u03c2\u200c\u200d")
"""Letters that are folded elsewhere and stay in a name: browsers map names as UTS 46 says, without its
transitional part."""

_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_IGNORED = re.compile("[\u00ad\u034f\u180b-\u180d\u200b\u2060\u2064\ufe00-\ufe0f\ufeff]")
_NO_PART_OF_A_HOST = re.compile(r"[\x00-\x20\x7f#%/:<>?@\[\\\]^|*]")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")


def host_port(host: str, port: int) -> str:
    """Return both as one text, an address of version 6 in brackets; the host alone if the port is 0."""
    if not port:
        return host
    return f"[{host}]:{port}" if ":" in host and not host.startswith("[") else f"{host}:{port}"


def browser_host(text: str) -> str:
    """Return a host as browsers write it in an origin: letters in lower case and ASCII, addresses in their
    shortest form.

    Raises:
        ValueError: there is no such host; the text says why.
    """
    if text.startswith("["):
        return _version_6(text)
    name = _ascii(text)
    if _NO_PART_OF_A_HOST.search(name):
        raise ValueError("the host has a character that no host has")
    if name.endswith("."):
        raise ValueError("leave out the dot at the end: pages have it only where it was typed")
    if not all(name.split(".")):
        raise ValueError("a part of the host is empty")
    return _version_4(name) if _NUMBER.fullmatch(name.rpartition(".")[2]) else name


def _ascii(text: str) -> str:
    """Return the host in lower case, each part with other letters as Punycode (RFC 3492)."""
    if text.isascii():
        return text.lower()
    parts = _folded(text).split(".")
    return ".".join(p if p.isascii() else f"xn--{p.encode('punycode').decode()}" for p in parts)


def _folded(text: str) -> str:
    """Map a host as UTS 46 does, but for letters so new that this Python does not know them."""
    composed = unicodedata.normalize("NFKC", _IGNORED.sub("", text).replace("\u1e9e", "ß"))
    folded = "".join(c if c in _KEPT else c.casefold() for c in composed)
    return unicodedata.normalize("NFKC", folded).translate(_DOTS)


def _version_6(text: str) -> str:
    try:
        address = IPv6Address(text.removeprefix("[").removesuffix("]"))
    except AddressValueError:
        address = None
    if address is None or address.scope_id or not text.endswith("]"):
        raise ValueError(f"{text!r} is no address of version 6")
    if address.ipv4_mapped:  # the way it is shown depends on the version of Python
        number = int(address.ipv4_mapped)
        return f"[::ffff:{number >> 16:x}:{number & 0xFFFF:x}]"
    return f"[{address.compressed}]"


def _version_4(name: str) -> str:
    """Return an address of version 4 in its usual form, from any form that browsers read: fewer parts, in
    hexadecimal or octal."""
    parts = [_value(part) for part in name.split(".")]
    *first, last = parts
    if len(parts) > 4 or any(part > 255 for part in first) or last >= 256 ** (5 - len(parts)):
        raise ValueError(f"{name!r} is no address of version 4")
    return str(IPv4Address(sum(part << 8 * (3 - n) for n, part in enumerate(first)) + last))


def _value(part: str) -> int:
    try:
        if part.startswith("0x"):
            return int(part[2:] or "0", 16)
        return int(part, 8 if part.startswith("0") else 10) if part.isdecimal() else int(part, 0)
    except ValueError:
        raise ValueError(f"{part!r} is no part of an address of version 4") from None
