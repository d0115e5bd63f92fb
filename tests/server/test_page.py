"""The page as a file, and the headers it is served with."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.request import urlopen

import pytest

import wsctl.server.page
from tests.conftest import StartServer
from tests.support.server import DEADLINE
from wsctl.server.page import headers

HTML, DASHBOARD = (
    Path(wsctl.server.page.__file__).with_name(name).read_text(encoding="utf-8")
    for name in ("index.html", "dashboard.html")
)

both_pages = pytest.mark.parametrize("html", [HTML, DASHBOARD], ids=["client", "dashboard"])


class Elements(HTMLParser):
    """The page as a browser's parser takes it apart."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.blocks: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str]] = []
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in {"script", "style"}:
            self.blocks.append((self._inside, data))


def directives(policy: str) -> dict[str, str]:
    """A content security policy: the sources of each directive."""
    pairs = (directive.partition(" ") for directive in policy.split("; "))
    return {name: sources for name, _, sources in pairs}


def test_the_policy_allows_exactly_the_inline_blocks_and_the_servers_own_modules() -> None:
    also = {"script": " 'self'", "style": ""}
    allowed = directives(headers(HTML)["content-security-policy"])
    blocks = Elements(HTML).blocks
    assert sorted(kind for kind, _ in blocks) == ["script", "style"]
    for kind, text in blocks:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[f"{kind}-src"] == f"'sha256-{digest}'{also[kind]}"


def test_the_policy_of_the_dashboard_allows_its_inline_blocks_alone() -> None:
    allowed = directives(headers(DASHBOARD, imports=False)["content-security-policy"])
    assert {kind for kind, _ in Elements(DASHBOARD).blocks} == {"script", "style"}
    for kind, text in Elements(DASHBOARD).blocks:
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert allowed[f"{kind}-src"] == f"'sha256-{digest}'"


def test_a_changed_script_gets_another_hash() -> None:
    changed = HTML.replace("</script>", "// changed\n</script>")
    before, after = (directives(headers(h)["content-security-policy"]) for h in (HTML, changed))
    assert before["script-src"] != after["script-src"]
    assert before["style-src"] == after["style-src"]


def test_a_page_without_code_may_run_none() -> None:
    allowed = directives(headers("<p>hello</p>")["content-security-policy"])
    assert allowed["script-src"] == allowed["style-src"] == "'none'"


@both_pages
def test_the_policy_is_strict(html: str) -> None:
    policy = headers(html)["content-security-policy"]
    allowed = directives(policy)
    assert "unsafe" not in policy
    assert "*" not in policy
    assert allowed["default-src"] == allowed["base-uri"] == allowed["frame-ancestors"] == "'none'"
    assert allowed["connect-src"] == "'self'"
    assert allowed["require-trusted-types-for"] == "'script'"


@both_pages
def test_the_file_names_no_other_place(html: str) -> None:
    assert not re.search(r"(https?|wss?):?//", html)
    addresses = [value for name, value in Elements(html).attributes if name in {"src", "href", "action"}]
    assert addresses
    assert all(value.startswith("data:") for value in addresses)


def test_the_code_imports_its_module_and_nothing_else() -> None:
    assert re.findall(r"\bimport\b.*", HTML) == ['import { Client } from "./wsctl.js";']


@both_pages
def test_markup_carries_no_code_and_no_style(html: str) -> None:
    names = {name for name, _ in Elements(html).attributes}
    assert "style" not in names
    assert not {name for name in names if name.startswith("on")}
    assert "innerHTML" not in html


def test_the_server_sends_the_page_with_its_policy(start_server: StartServer) -> None:
    server = start_server()
    with urlopen(server.url, timeout=DEADLINE) as answer:
        assert answer.headers.get_content_type() == "text/html"
        assert answer.headers["content-security-policy"] == headers(HTML)["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.read().decode() == HTML
