"""The target of a request, in each of its forms (RFC 9112 section 3.2)."""

import re

_ABSOLUTE = re.compile(r"https?://([^/?#@]+)(/[^?#]*)?(\?[^#]*)?", re.IGNORECASE)
_BEGINS_ABSOLUTE = re.compile(r"https?:", re.IGNORECASE)


class BadTarget(ValueError):
    """The error that a target is an address without a host, or with what no address of a server has."""


def origin_form(method: str, target: str) -> tuple[str, str | None]:
    """Return path and query, and the host that takes the place of the one in the header, if the target names
    one.

    Every server must accept an absolute address, as for a proxy (section 3.2.2). Other forms are left as they
    are.

    Raises:
        BadTarget: the target is an address that cannot be read.
    """
    if target.startswith("/") or not _BEGINS_ABSOLUTE.match(target):
        return target, None
    found = _ABSOLUTE.fullmatch(target)
    if not found:
        raise BadTarget(target)
    host, path, query = found.groups(default="")
    if method == "OPTIONS" and not path and not query:
        return "*", host  # the server as such (section 3.2.4)
    return (path or "/") + query, host
