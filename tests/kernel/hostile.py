"""What a model may write that would like to be more than text, and how to see whether it is."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, Tag

# Each leaves its mark as text: whoever shows it must show `marked`.
PAYLOADS = (
    "<script>window.pwned=1</script>marked",
    "</script><script>window.pwned=1</script>marked",
    "<img src=x onerror='window.pwned=1'>marked",
    "<svg/onload=window.pwned=1>marked",
    "</td></tr></table></details></div><iframe srcdoc='<script>parent.pwned=1</script>'></iframe>marked",
    "<a href='javascript:window.pwned=1'>marked</a>",
    "<style>*{display:none}</style>marked",
    "<div style='position:fixed;inset:0;background:url(https://evil.example/x)'>marked</div>",
    "<form action='https://evil.example'><button autofocus onfocus='window.pwned=1'>marked</button></form>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.pwned=1&gt;'>marked",
    "<!--<img src='--><img src=x onerror=window.pwned=1//'>marked",
    "&lt;script&gt;window.pwned=1&lt;/script&gt;marked",
    "\x1b[2J\x1b[31mmarked\x1b]8;;https://evil.example\x07link\x1b]8;;\x07",
    "marked\u202etxt.exe\u2066\u2069 \x00 \ud800",
    "=HYPERLINK(\"https://evil.example\",\"marked\")",
    "+cmd|' /C calc'!A0 marked",
    "-1+1 marked",
    "@SUM(1) marked",
    "\t=1+1 marked",
    "\uff1d1+1 marked",
    "'=1+1 marked",
)  # fmt: skip

_ALLOWED = {
    "style", "div", "h4", "p", "i", "b", "br", "small", "span", "table", "thead", "tbody", "tr", "th", "td", "details",
    "summary", "ul", "li", "code",
}  # fmt: skip
_ATTRIBUTES = {"class", "style", "title"}
_OWN_STYLE = re.compile(r"width:[\d.]+%\Z")
_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def assert_inert(html: str) -> str:
    """Check that HTML of ours is made of nothing but our own elements, and return its text."""
    assert not _STEERING.search(html)
    page = BeautifulSoup(html, "html.parser")
    for element in page.find_all(True):
        assert isinstance(element, Tag)
        assert element.name in _ALLOWED, element
        assert set(element.attrs) <= _ATTRIBUTES, element
        if "style" in element.attrs:
            assert _OWN_STYLE.match(str(element["style"])), element
    styles = page.find_all("style")
    assert len(styles) <= 1
    for style in styles:
        assert "url(" not in style.text
        assert "@import" not in style.text
        style.decompose()
    return " ".join(page.get_text(" ").split())


def assert_plain(text: str) -> None:
    """Check that a text steers nothing that shows it."""
    assert not _STEERING.search(text)
