"""The browser client's page and its module, and the headers they are served with."""

import base64
import hashlib
import re

MODULE_HEADERS = {
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
    # Browsers fetch a module for a page of another origin with CORS. It is public code, the same for
    # everyone; whether that page may connect is for the server's --allow-origin.
    "access-control-allow-origin": "*",
}

_INLINE = re.compile(r"<(script|style)[^>]*>(.*?)</\1>", re.DOTALL)


def headers(html: str, *, imports: bool = True) -> dict[str, str]:
    """Return headers that let the page run its own inline code, what that `imports` from its own server, and
    its own style, talk to that server, and no more."""
    none = "'none'"
    sources: dict[str, list[str]] = {"script": [], "style": []}
    for kind, text in _INLINE.findall(html):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        sources[kind].append(f"'sha256-{digest}'")
    if sources["script"] and imports:
        # For an import. It can be named no closer: a hash covers inline code alone, and a path needs the host
        # that the browser sees, which a proxy in front may have changed.
        sources["script"].append("'self'")
    policy = [
        "default-src 'none'",
        f"script-src {' '.join(sources['script']) or none}",
        f"style-src {' '.join(sources['style']) or none}",
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
