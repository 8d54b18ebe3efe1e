"""From nunjucks, the template language of promptfoo, to ours."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import NamedTuple

from promptcard_ext.core import template

_TAG = re.compile(
    r"\{%-?\s*(?:raw|verbatim)\s*-?%\}.*?\{%-?\s*(?:endraw|endverbatim)\s*-?%\}|\{#.*?#\}|\{\{.*?\}\}|\{%.*?%\}",
    re.DOTALL,
)
_STRING = re.compile(r"""("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')""", re.DOTALL)
_VERBATIM = re.compile(r"(\{%-?\s*)(end)?verbatim\b")
_BARE = re.compile(r"(\{\{-?)\s*([A-Za-z_]\w*)\s*(-?\}\})\Z")
_DEFAULT = re.compile(r"\b([A-Za-z_]\w*)(\s*\|\s*default\s*\(\s*)((?:\x00\d+\x00|[\w.]+))(\s*\))")
_REWRITES = (
    (re.compile(r"!=="), "!="),
    (re.compile(r"==="), "=="),
    (re.compile(r"\|\s*safe\b(?!\s*\()"), ""),
    (re.compile(r"\|\s*d\b"), "|default"),
    (re.compile(r"\|\s*dump\b(\s*\(\s*\))?"), "|tojson"),
    (re.compile(r"(\{%-?\s*)elseif\b"), r"\1elif"),
    (re.compile(r"\bnull\b"), "none"),
    # In JavaScript a length is a property; here a dot looks up a key.
    (re.compile(r"(?<=[\w\])])\.length\b(?!\s*\()"), "|length"),
)
_INDENTED = re.compile(r"\|\s*tojson\s*\([^()]*\)")


class Translated(NamedTuple):
    """A template in our language.

    Attributes:
        remarks: What it does otherwise than before, one sentence each.
    """

    text: str
    remarks: tuple[str, ...] = ()


def translate(
    text: str, name: str = "the prompt", *, as_json: Collection[str] = (), gaps: Collection[str] = ()
) -> Translated:
    """Return a nunjucks template in our language.

    Args:
        name: What to call it in errors.
        as_json: Variables that hold something other than text; printed by themselves they become JSON.
        gaps: Variables that some case lacks, where they are an empty text.

    Raises:
        TemplateError: It uses what our language does not have; with line and column.

    Example:
        >>> translate("{% if n === 1 %}{{ order | dump }}{% elseif n %}{{ list.length }}{% endif %}").text
        '{% if n == 1 %}{{ order |tojson }}{% elif n %}{{ list|length }}{% endif %}'
    """
    remarks: list[str] = []
    done = _TAG.sub(lambda tag: _translate_tag(tag[0], as_json, gaps, remarks), text)
    template.parse(done, name)
    return Translated(done, tuple(dict.fromkeys(remarks)))


def _translate_tag(tag: str, as_json: Collection[str], gaps: Collection[str], remarks: list[str]) -> str:
    if tag.startswith("{#"):
        return tag
    if re.match(r"\{%-?\s*(?:raw|verbatim)\b", tag):
        return _VERBATIM.sub(r"\1\2raw", tag)
    strings: list[str] = []

    def hide(found: re.Match[str]) -> str:
        strings.append(found[0])
        return f"\x00{len(strings) - 1}\x00"

    code = _STRING.sub(hide, tag)
    for pattern, replacement in _REWRITES:
        code = pattern.sub(replacement, code)
    if _INDENTED.search(code):
        code = _INDENTED.sub("|tojson", code)
        remarks.append("JSON is written without the indentation that 'dump' was asked for")
    if code.startswith("{{") and " if " in code and " else " not in code:
        code = re.sub(r"\s*(-?\}\})\Z", r' else "" \1', code)
    bare = _BARE.match(code)
    if bare and bare[2] in as_json:
        code = f"{bare[1]} {bare[2]}|tojson {bare[3]}"
    # An empty text is given, so `default` needs to be told that it counts as nothing.
    code = _DEFAULT.sub(lambda found: _default(found, gaps), code)
    return re.sub(r"\x00(\d+)\x00", lambda found: strings[int(found[1])], code)


def _default(found: re.Match[str], gaps: Collection[str]) -> str:
    more = ", true" if found[1] in gaps else ""
    return found[1] + found[2] + found[3] + more + found[4]


def uses_template(value: object) -> bool:
    """Tell whether a text, or a text inside of a value, has a tag."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    if isinstance(value, dict):
        return any(uses_template(one) for one in value.values())
    return isinstance(value, list | tuple) and any(uses_template(one) for one in value)


def back(text: str) -> str:
    """Return one of our templates in nunjucks."""
    return _TAG.sub(lambda tag: re.sub(r"\|\s*tojson\b", "|dump", tag[0]), text)


def literal(text: str) -> str:
    """Return a nunjucks template whose result is ``text``: promptfoo reads the values of variables as templates."""
    if not uses_template(text) and "{#" not in text:
        return text
    return "{% raw %}" + text + "{% endraw %}"


def plain(text: str) -> str | None:
    """Return what `literal` was given, or None when ``text`` is not of its making."""
    inner = text.removeprefix("{% raw %}").removesuffix("{% endraw %}")
    return inner if len(inner) == len(text) - len("{% raw %}{% endraw %}") and "{% endraw %}" not in inner else None
