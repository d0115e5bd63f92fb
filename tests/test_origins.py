"""Origins, from what people write to what browsers send."""

import string

import idna
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsctl.addresses import browser_host
from wsctl.origins import AllowedOrigins, origin

NAMES = st.from_regex(r"[a-z][a-z0-9-]{0,8}(\.[a-z][a-z0-9-]{0,5}){0,2}", fullmatch=True)
LETTERS = string.ascii_letters + "ßẞςΣäÖÉéïçñøåАбвГДжДёЙїאבגابتकखगあいう漢字한국ＡＢＣａｂｃ①²ﬁ"


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("*", "*"),
        ("NULL", "null"),
        ("HTTPS://Example.ORG", "https://example.org"),
        ("https://example.org/", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("https://example.org:08443", "https://example.org:8443"),
        ("https://b\u00fccher.example", "https://xn--bcher-kva.example"),
        ("https://B\u00dcCHER.example", "https://xn--bcher-kva.example"),
        ("https://bu\u0308cher.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("https://fa\u00df.example", "https://xn--fa-hia.example"),
        ("https://\u65e5\u672c\u8a9e\u3002\uff2a\uff30", "https://xn--wgv71a119e.jp"),
        ("https://\u2615.example", "https://xn--53h.example"),
        ("http://[2001:DB8:0:0::1]:8080", "http://[2001:db8::1]:8080"),
        ("http://[::FFFF:1.2.3.4]:80", "http://[::ffff:102:304]"),
        ("http://127.1:81", "http://127.0.0.1:81"),
        ("http://0x7f.0.0.01", "http://127.0.0.1"),
        ("https://a_b.example", "https://a_b.example"),
        ("https://*.Example.org:443", "https://*.example.org"),
        ("https://*.b\u00fccher.example:8443", "https://*.xn--bcher-kva.example:8443"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
        ("file://", "file://"),
        ("FILE:///", "file://"),
    ],
)
def test_what_people_write_becomes_what_browsers_send(text: str, sent: str) -> None:
    assert origin(text) == sent
    assert origin(sent) == sent


@pytest.mark.parametrize(
    "text",
    [
        "example.org",
        "https://",
        "https:///",
        "https://:443",
        "https://user@x.example",
        "https://user:secret@x.example",
        "https://x.example.",
        "https://x..example",
        "https://x.example/path",
        "https://x.example//",
        "https://x.example?x",
        "https://x.example/#",
        "https://x.example:99999",
        "https://x.example:port",
        "https://x%2e.example",
        "https://[::1",
        "https://[fe80::1%eth0]",
        "https://256.1.1.1",
        "https://1.2.3.4.5",
        "https://a.5",
        "https://*",
        "https://*.",
        "https://a.*.example",
        "https://*a.example",
        "https://*.1.2.3.4",
        "https://*.[::1]",
        "*://x.example",
        "ws://x.example",
        "wss://x.example",
        "file:///home/bob/page.html",
        "data:text/html",
        "blob:https://x.example",
        "about:blank",
    ],
)
def test_what_no_page_can_have_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="origin") as refused:
        origin(text)
    assert str(refused.value).isprintable()
    assert "secret" not in str(refused.value)


@given(st.text(LETTERS, min_size=1, max_size=8).map(lambda name: f"a{name}"))
def test_names_are_mapped_as_the_library_of_idna_does(name: str) -> None:
    mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
    sent = browser_host(f"{name}.example")
    label = sent.removesuffix(".example")
    assert (
        label.removeprefix("xn--").encode().decode("punycode") if label[:4] == "xn--" else label
    ) == mapped


@given(st.text(max_size=20) | st.from_regex(r"https?://[^/]{1,12}(:[0-9]{0,6})?/?", fullmatch=True))
@example("http://\u00bd.1")
def test_whatever_is_written_has_one_form_or_none(text: str) -> None:
    sent = ""
    try:
        sent = origin(text)
    except ValueError as error:
        text = str(error)
    assert sent.isascii()
    assert origin(sent) == sent if sent else len(text.splitlines()) == 1


@given(NAMES, NAMES, st.sampled_from(["", ":8443"]))
def test_a_wildcard_is_for_every_name_below_and_for_nothing_else(below: str, name: str, port: str) -> None:
    allowed = AllowedOrigins([origin(f"https://*.{name}{port}")])
    assert f"https://{below}.{name}{port}" in allowed
    for other in (
        f"https://{name}{port}",
        f"http://{below}.{name}{port}",
        f"https://{below}.{name}{port or ':1'}9",
        f"https://{below}.{name}.9{name}{port}",
        f"https://{below}/.{name}{port}",
    ):
        assert other not in allowed
