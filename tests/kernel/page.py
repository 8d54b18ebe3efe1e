"""HTML as a browser reads it, and text that would like to be more than text."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = "</td></table><script>alert(1)</script><img src=x onerror=alert(1)>\x00\x1b[31m\u202e\ud800"


class Page(HTMLParser):
    """The elements of a page, and its text after the style."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.feed(html.partition("</style>")[2])
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert not any(name.startswith("on") for name, _ in attrs)
        self.tags.append(tag)
        if tag not in ("br", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).replace("\u00a0", " ").split())


def assert_nothing_is_obeyed(html: str) -> None:
    """Check a page that was made of `HOSTILE`."""
    page = Page(html)
    assert page.open == []
    assert {"script", "img"}.isdisjoint(page.tags)
    assert "alert(1)" in page.text
    assert not any(char in html for char in "\x00\x1b\u202e\ud800")
