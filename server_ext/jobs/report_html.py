"""Makes one offline page of an executed notebook.

Neither the notebook nor what a model wrote into it is trusted: whatever gets into the page unescaped has passed
`_clean`, which keeps the few tags our own pieces are made of.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

import bleach
import mistune
from bleach.css_sanitizer import CSSSanitizer
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from mistune.renderers.html import HTMLRenderer
from msgspec import Struct

from promptcard_ext._version import __version__
from promptcard_ext.interchange.starters import shipped

MAX_STREAM_CHARS = 10_000
MAX_IMAGE_CHARS = 10_000_000

_TAGS = frozenset(
    [
        "a",
        "b",
        "blockquote",
        "br",
        "code",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "li",
        "ol",
        "p",
        "pre",
        "small",
        "span",
        "strong",
        "sub",
        "summary",
        "sup",
        "table",
        "tbody",
        "td",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
_PLAIN_ATTRIBUTES = {
    "alt": re.compile(r".*", re.DOTALL),
    "class": re.compile(r"pc-[a-z-]+( pc-[a-z-]+)*|"),
    "colspan": re.compile(r"\d{1,3}"),
    "href": re.compile(r"(https?://|mailto:|#).*"),
    "id": re.compile(r"section-\d{1,4}"),
    "open": re.compile(r"open|"),
    "scope": re.compile(r"col|row"),
    "src": re.compile(r"data:image/(svg\+xml|png);base64,[A-Za-z0-9+/=]+"),
    "style": re.compile(r"width:[\d.]{1,8}%;?"),
    "title": re.compile(r".*", re.DOTALL),
}
_ON = {"alt": "img", "colspan": "td", "href": "a", "open": "details", "src": "img"}
# What these hold is no text for a reader; the tags themselves would be taken out in any case.
_NOT_TEXT = re.compile(
    r"<(style|script|template|noscript|iframe|object|svg|math)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE
)
_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CONTROLS = {code: chr(0x2400 + code) for code in range(0x20) if code not in (0x09, 0x0A)}


class Output(Struct, frozen=True):
    """What a cell gave: ``html``, ``text`` or ``error``."""

    kind: str
    content: str | Markup
    title: str = ""


class Block(Struct, frozen=True):
    """One cell: prose, or code with its outputs."""

    prose: Markup = Markup("")
    code: str = ""
    outputs: tuple[Output, ...] = ()


class Heading(Struct, frozen=True):
    """An entry of the table of contents."""

    anchor: str
    text: str


def render(notebook: Any, title: str) -> str:
    """Return a page with everything in it: no script, nothing loaded from elsewhere.

    Args:
        notebook: An executed notebook (format 4).
        title: What the page is called.
    """
    prose = _Prose()
    blocks = _joined_code([block for cell in notebook.cells if (block := _block(cell, prose))])
    page: str = _template().render(
        title=_visible(title),
        eyebrow=prose.first or "Report",
        blocks=blocks,
        contents=prose.contents,
        version=__version__,
        created=datetime.now(UTC),
    )
    return page.encode("utf-8", "replace").decode()


def _joined_code(blocks: list[Block]) -> list[Block]:
    """Put code that shows nothing (imports, parameters) in front of the code that follows it."""
    joined: list[Block] = []
    for block in blocks:
        last = joined[-1] if joined else None
        if last is not None and last.code and block.code and not last.outputs:
            joined[-1] = Block(code=f"{last.code}\n\n{block.code}", outputs=block.outputs)
        else:
            joined.append(block)
    return joined


@cache
def _template() -> Any:
    environment = Environment(
        loader=FileSystemLoader(shipped("templates/reports")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("run_report.html.j2")


def _block(cell: Any, prose: _Prose) -> Block | None:
    tags = cell.get("metadata", {}).get("tags", ())
    if "papermill-error-cell-tag" in tags or "remove-cell" in tags:
        return None
    if cell.cell_type == "markdown":
        html = prose.render(_visible(cell.source))
        return Block(prose=_clean(html)) if html.strip() else None
    if cell.cell_type == "code":
        outputs = tuple(shown for output in cell.outputs if (shown := _output(output)))
        return Block(code=_visible(cell.source), outputs=outputs) if outputs or cell.source.strip() else None
    return None


class _Prose:
    """Markdown to HTML: raw HTML stays text, and every heading of the second level gets into the table of contents."""

    def __init__(self) -> None:
        self.first = ""
        self.contents: list[Heading] = []
        prose = self

        class Renderer(HTMLRenderer):
            def heading(self, text: str, level: int, **_: Any) -> str:
                return prose.heading(text, level)

            def image(self, text: str, url: str, title: str | None = None) -> str:
                # An address in a picture is called when the page is opened.
                return f"<i>[{text}]</i>" if not url.startswith("data:image/") else super().image(text, url, title)

        self._markdown = mistune.create_markdown(escape=True, renderer=Renderer(), plugins=["table", "strikethrough"])

    def render(self, source: str) -> str:
        return str(self._markdown(source))

    def heading(self, text: str, level: int) -> str:
        if level == 1 and not self.first and not self.contents:
            # The page has its own title; what the notebook calls itself stands above it.
            self.first = _words(text)
            return ""
        if level > 2:
            return f"<h{level}>{text}</h{level}>\n"
        anchor = f"section-{len(self.contents) + 1}"
        self.contents.append(Heading(anchor, _words(text)))
        return f'<h2 id="{anchor}">{text}</h2>\n'


def _words(html: str) -> str:
    return Markup(html).striptags()  # noqa: S704  only to read the text out of it


def _output(output: Any) -> Output | None:
    if output.output_type == "error":
        return Output(
            "error", _visible(_ANSI.sub("", str(output.get("evalue", "")))), _visible(str(output.get("ename", "")))
        )
    if output.output_type == "stream":
        text = _ANSI.sub("", _joined(output.text))
        return Output("text", _visible(text[:MAX_STREAM_CHARS])) if text.strip() else None
    data = output.get("data", {})
    if html := data.get("text/html"):
        return Output("html", _clean(_joined(html)))
    for kind in ("image/svg+xml", "image/png"):
        if image := data.get(kind):
            return _image(kind, _joined(image), _joined(data.get("text/plain", "")))
    if text := data.get("text/plain"):
        return Output("text", _visible(_joined(text)[:MAX_STREAM_CHARS]))
    return None


def _image(kind: str, data: str, text: str) -> Output | None:
    encoded = (
        base64.b64encode(data.encode("utf-8", "replace")).decode() if kind == "image/svg+xml" else "".join(data.split())
    )
    if len(encoded) > MAX_IMAGE_CHARS or not re.fullmatch(r"[A-Za-z0-9+/]+=*", encoded):
        return None
    html = Markup('<figure class="pc-figure"><img src="data:{};base64,{}" alt="{}"></figure>').format(
        kind, encoded, _visible(text)
    )
    return Output("html", html)


def _joined(text: Any) -> str:
    return text if isinstance(text, str) else "".join(map(str, text))


def _visible(text: str) -> str:
    return text.replace("\r\n", "\n").translate(_CONTROLS)


def _clean(html: str) -> Markup:
    return Markup(_cleaner().clean(_NOT_TEXT.sub("", _visible(html))))  # noqa: S704  the cleaner's output is what we trust


@cache
def _cleaner() -> bleach.Cleaner:
    return bleach.Cleaner(
        tags=_TAGS,
        attributes=_allowed,
        protocols={"data", "http", "https", "mailto"},
        strip=True,
        css_sanitizer=CSSSanitizer(allowed_css_properties=["width"]),
    )


def _allowed(tag: str, attribute: str, value: str) -> bool:
    pattern = _PLAIN_ATTRIBUTES.get(attribute)
    return pattern is not None and _ON.get(attribute, tag) == tag and pattern.fullmatch(value.strip()) is not None
