"""The page that describes the HTTP routes: complete, and all of it from this server."""

import os
import re
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest

from tests.conftest import StartServer
from tests.support.browser import Page
from tests.support.programs import need
from tests.support.server import DEADLINE
from wsctl.server.app import create_app
from wsctl.server.node import Node
from wsctl.server.page import headers
from wsctl.server.page.reference import written
from wsctl.settings import Settings


class Parts(HTMLParser):
    """Ids, links and elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.elements: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.elements.add(tag)
        self.ids |= {given["id"]} if "id" in given else set()
        self.links += [given[name] for name in ("href", "src", "action") if name in given]


@pytest.fixture
def described() -> Any:
    return create_app(Node(Settings(), [])).openapi()


@pytest.fixture
def html(described: Any) -> str:
    return written(described)


def articles(html: str) -> dict[str, str]:
    return dict(re.findall(r'<article id="([^"]+)">(.*?)</article>', html, re.DOTALL))


def test_each_operation_is_there_with_what_it_takes_and_answers(described: Any, html: str) -> None:
    found = articles(html)
    operations = [(m, path, op) for path, ops in described["paths"].items() for m, op in ops.items()]
    assert len(operations) > 10
    for method, path, operation in operations:
        part = found["-".join([method, *re.findall(r"\w+", path)])]
        assert f"<code>{path}</code>" in part
        named = {*operation["responses"], *(p["name"] for p in operation.get("parameters", ()))}
        if body := operation.get("requestBody"):
            named |= set(body["content"]["application/json"]["schema"]["properties"])
        assert not [name for name in named if f"<code>{name}</code>" not in part]
        assert ("For operators" in part) == ("security" in operation)
        assert "curl -fsS" in part


def test_each_schema_is_there_with_its_fields(described: Any, html: str) -> None:
    found = articles(html)
    for name, schema in described["components"]["schemas"].items():
        part = found[f"schema-{name}"]
        assert not [field for field in schema.get("properties", {}) if f"<code>{field}</code>" not in part]


def test_each_link_leads_somewhere_on_this_server(html: str) -> None:
    parts = Parts(html)
    within = {f"#{name}" for name in parts.ids}
    elsewhere = {link for link in parts.links if link not in within and not link.startswith("data:")}
    assert elsewhere == {"openapi.json", "asyncapi.json"}


def test_it_has_no_code_and_nothing_to_type_into(html: str) -> None:
    assert not Parts(html).elements & {"script", "form", "input", "textarea", "iframe", "img", "object"}
    policy = headers(html)["content-security-policy"]
    assert "script-src 'none'" in policy
    assert "form-action 'none'" in policy
    assert "unsafe" not in policy


def test_what_is_described_never_becomes_markup() -> None:
    hostile = "<script>x</script> [go](javascript:x) [out](//evil.example) `<b>` <!--routes-->"
    schema = {"type": "object", "properties": {hostile: {"description": hostile, "enum": [hostile]}}}
    operation = {
        "summary": hostile,
        "parameters": [{"name": hostile, "in": hostile, "schema": {"type": hostile, "default": hostile}}],
        "requestBody": {"content": {"application/json": {"schema": schema}}},
        "responses": {"200": {"description": hostile, "content": {hostile: {}}}},
    }
    plain = written({"info": {"title": "t", "version": "1"}, "paths": {}})
    parts = Parts(
        written(
            {
                "info": {"title": hostile, "version": "1", "description": hostile},
                "paths": {f"/{hostile}": {"get": operation}},
                "components": {"schemas": {"Odd": schema}},
            }
        )
    )
    assert parts.elements <= Parts(plain).elements | {
        "article",
        "h3",
        "h4",
        "table",
        "tr",
        "th",
        "td",
        "pre",
        "span",
        "br",
        "li",
    }
    assert not [link for link in parts.links if not re.match(r"#|data:image|\w[\w./-]*$", link)]


def test_its_examples_run(start_server: StartServer, tmp_path: Path) -> None:
    need("bash", "curl")
    token = tmp_path / "token"
    token.write_text("sesame\n")
    server = start_server(env={"WSCTL_TOKEN_FILE": str(token)})
    with urlopen(f"{server.url}/docs", timeout=DEADLINE) as answer:
        page = answer.read().decode()
        assert answer.headers["content-security-policy"] == headers(page)["content-security-policy"]
    examples = {
        name: unescape(found[1])
        for name, part in articles(page).items()
        if (found := re.search(r"<pre><code>(.*?)</code></pre>", part, re.DOTALL))
    }
    # Those that end or replace the server, or wait for that, are left out.
    for name in (
        "get-health",
        "get-health-live",
        "get-health-ready",
        "get-api-status",
        "post-api-broadcast",
        "get-metrics",
    ):
        environ = {"PATH": os.environ["PATH"], "URL": server.url, "WSCTL_TOKEN_FILE": str(token)}
        done = subprocess.run(
            ["bash", "-c", examples[name]],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE,
        )
        assert (name, done.returncode, done.stderr) == (name, 0, "")
        assert done.stdout
    assert 'curl -fsS -H @- -X DELETE "$URL/api/drain"' in examples["delete-api-drain"]
    assert "curl -fsS -H @- -X POST" in examples["post-api-upgrade"]
    assert """-d '{"timeout": 60}'""" in examples["post-api-drain"]


@pytest.mark.browser
def test_it_is_whole_without_any_other_server_and_fits_a_phone(start_server: StartServer, page: Page) -> None:
    server = start_server()
    page.resize(360, 740, mobile=True)
    page.open(f"{server.url}/docs")
    assert "wsctl" in page.text("h1")
    assert page.evaluate("getComputedStyle(document.querySelector('article')).borderRadius") == "12px"
    assert page.evaluate("[innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    colours = []
    for scheme in ("light", "dark"):
        page.prefer("prefers-color-scheme", scheme)
        colours.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(set(colours)) == 2
    assert page.errors == []
    assert [(urlsplit(url).netloc, urlsplit(url).path) for url in page.requests] == [
        (urlsplit(server.url).netloc, "/docs")
    ]
