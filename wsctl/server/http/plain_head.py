"""Heads of requests with nothing unusual about them, read by one regular expression and no HTTP parser."""

FIELDS = rb"((?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t\x20-\x7e\x80-\xff]*+\r\n){1,100}+)\r\n"
"""The pattern of a head behind its first line, with the lines of its headers as a group. RFC 9112 section 5,
without what is obsolete. Nothing in it backtracks."""


def read_fields(lines: bytes) -> dict[str, str] | None:
    """Read the lines that `FIELDS` found: values by names in lower case. None if `Host` is missing, or a
    header comes twice: what that means is for an HTTP parser to say."""
    headers: dict[str, str] = {}
    texts = lines.decode("latin-1").split("\r\n")
    for text in texts[:-1]:
        name, _, value = text.partition(":")
        headers[name.lower()] = value.strip(" \t")
    return headers if len(headers) == len(texts) - 1 and "host" in headers else None
