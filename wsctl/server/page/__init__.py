"""The browser client's page, and the headers it is served with."""

import base64
import hashlib
import re

_INLINE = re.compile(r"<(script|style)[^>]*>(.*?)</\1>", re.DOTALL)


def headers(html: str) -> dict[str, str]:
    """Headers that let the page run its own inline code and style, talk to its own server, and no more."""
    none = "'none'"
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    policy = [
        "default-src 'none'",
        f"script-src {' '.join(hashes['script']) or none}",
        f"style-src {' '.join(hashes['style']) or none}",
        "connect-src 'self'",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # The page never makes markup from text; with this the browser refuses to.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    return {
        "content-security-policy": "; ".join(policy),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-cache",
    }
