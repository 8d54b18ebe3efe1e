"""Templates as hostile input: each ends within two seconds of processor time and 256 MB, with an error that says so."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from promptcard_ext.core import static_check
from promptcard_ext.core.card import Card, Message
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.core.template import MAX_OUTPUT_CHARS, Template

from .limited import Used, explode

MAX_CPU_S = 2.0
MAX_PEAK_MB = 256

COSTLY = "template_too_costly"
LONG = "prompt_too_long"
SYNTAX = "template_syntax"
REFUSED = "template_not_allowed"
MISSING = "missing_variable"
FAILED = "template_error"

BIG = "z" * 1_000_000
PATH = "0." * 200_000 + "0"
WIDE = "\U0001f600 " * 450_000


def nested(depth: int, literal: str, inside: str) -> str:
    """Return loops that each give the next one a list of copies of its own variable."""
    opening = "".join(f"{{% for v{i + 1} in [{literal.replace('?', f'v{i}')}] %}}" for i in range(depth))
    return opening + inside.replace("?", f"v{depth}") + "{% endfor %}" * depth


def grid(columns: int, rows: int) -> list[list[int]]:
    return [[*range(columns - 1), row] for row in range(rows)]


def lists(depth: int, width: int) -> Any:
    """Return a list that is small in memory and huge once it is written down."""
    value: Any = "x"
    for _ in range(depth):
        value = [value] * width
    return value


def circle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def deep(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


_15 = nested(15, "[?, ?]", "{{ ? }}")
TEMPLATES: dict[str, tuple[str, Callable[[], dict[str, Any]], str]] = {
    # values that grow
    "json of json of json": ("{{ x" + "|tojson" * 60 + " }}", lambda: {"x": '\\"' * 1000}, COSTLY),
    "json of json of a text": ("{{ x" + "|tojson" * 140 + " }}", lambda: {"x": "\\"}, COSTLY),
    "lists of lists of lists": (nested(18, "[?, ?, ?, ?, ?, ?, ?, ?]", "{{ ? }}"), lambda: {"v0": "x"}, COSTLY),
    "tuples of tuples": (nested(18, "(?, ?, ?, ?)", "{{ ? }}"), lambda: {"v0": "x"}, COSTLY),
    "lists of a large text": (nested(4, "[?, ?, ?, ?]", "{{ ? }}"), lambda: {"v0": BIG}, COSTLY),
    "lists compared": (nested(18, "[?, ?, ?, ?]", "{% if ? == [?, ?] %}{% endif %}"), lambda: {"v0": "x"}, COSTLY),
    "lists as json": (nested(18, "[?, ?, ?, ?]", "{{ ?|tojson }}"), lambda: {"v0": "x"}, COSTLY),
    "lists searched": (nested(18, "[?, ?, ?, ?]", "{{ 'y' in ? }}"), lambda: {"v0": "x"}, COSTLY),
    "lists as keys": (nested(18, "(?, ?, ?, ?)", "{{ d[?] }}"), lambda: {"v0": "x", "d": {}}, COSTLY),
    "lists sorted": (nested(18, "[?, ?, ?, ?]", "{{ [?, ?]|sort }}"), lambda: {"v0": "x"}, COSTLY),
    "texts that double": (nested(19, "? ~ ?", "{{ ? }}"), lambda: {"v0": "x" * 100}, COSTLY),
    "texts that grow tenfold": (nested(10, "? ~ ? ~ ? ~ ? ~ ? ~ ? ~ ? ~ ? ~ ? ~ ?", ""), lambda: {"v0": "x"}, COSTLY),
    "a value that is shared a million times": ("{{ x }}", lambda: {"x": lists(20, 10)}, COSTLY),
    "a shared value as json": ("{{ x|tojson }}", lambda: {"x": lists(20, 10)}, COSTLY),
    "a shared value joined": ("{{ x|join }}", lambda: {"x": lists(20, 10)}, COSTLY),
    "a shared value that is wide": ("{{ x == y }}", lambda: {"x": lists(4, 3000), "y": lists(4, 3000)}, COSTLY),
    "a value that contains itself": ("{{ x|tojson }}", lambda: {"x": circle()}, COSTLY),
    "a deep value": ("{{ x }}", lambda: {"x": deep(200_000)}, COSTLY),
    "deep values compared": ("{{ x == y }}", lambda: {"x": deep(200_000), "y": deep(200_000)}, COSTLY),
    "replace": ("{{ x" + "|replace('a', 'aaaaaaaaaa')" * 9 + " }}", lambda: {"x": "aaaaaaaaaa"}, COSTLY),
    "replace of nothing": ("{{ x|replace('', x) }}", lambda: {"x": "a" * 5000}, COSTLY),
    "join of a large text": ("{{ x|join(y) }}", lambda: {"x": list(range(90_000)), "y": BIG}, COSTLY),
    "split to letters": ("{{ x|split('a') }}", lambda: {"x": "a" * 4_000_000}, COSTLY),
    "lines of nothing": ("{{ x|lines|length }}", lambda: {"x": "\n" * 4_000_000}, COSTLY),
    "a text sorted": ("{{ x|sort }}", lambda: {"x": WIDE}, COSTLY),
    "the words of a text": ("{{ x|title|length }}", lambda: {"x": WIDE}, COSTLY),
    "letters that become three": ("{{ x|upper }}", lambda: {"x": "ﬃ" * 1_000_000}, COSTLY),
    "escapes": ("{{ [x] }}", lambda: {"x": "\U000e0001" * 900_000}, COSTLY),
    "a text times a number": ("{{ 'x'|round(9, 'ceil') }}", dict, FAILED),
    "a list times a number": ("{{ [1]|round(8, 'floor') }}", dict, FAILED),
    "a long key, looked up again and again": (
        nested(9, "(?, ?, ?, ?)", "{% for i in x %}{% if d[?] is defined %}{% endif %}{% endfor %}"),
        lambda: {"v0": 1, "x": [0] * 90_000, "d": {}},
        COSTLY,
    ),
    "sort by a path without end": ("{{ x|sort(attribute=p) }}", lambda: {"x": ["x"] * 90_000, "p": PATH}, COSTLY),
    "join by a path without end": ("{{ x|join('', p) }}", lambda: {"x": ["x"] * 90_000, "p": PATH}, COSTLY),
    "unique by a path without end": ("{{ x|unique(attribute=p) }}", lambda: {"x": ["x"] * 90_000, "p": PATH}, COSTLY),
    "words kept in a list": ("{{ [" + "x|split," * 10_000 + "]|length }}", lambda: {"x": "ab " * 99_000}, COSTLY),
    "words kept as arguments": ("{{ x|join(" + "x|split," * 10_000 + ") }}", lambda: {"x": "ab " * 99_000}, COSTLY),
    "words within words": (
        "{{ " + "x|split|join(" * 40 + "x" + ")" * 40 + " }}",
        lambda: {"x": "\U0001f600b " * 99_000},
        COSTLY,
    ),
    "copies kept in a list": ("{{ [" + "x|trim('z')," * 8000 + "]|length }}", lambda: {"x": WIDE + "z"}, COSTLY),
    # output
    "output in a loop": ("{% for a in x %}{{ b }}{% endfor %}", lambda: {"x": [0] * 90_000, "b": BIG}, LONG),
    "output without a loop": ("{{ b }}" * 14_000, lambda: {"b": BIG}, LONG),
    "output of text": ("{% for a in x %}" + "y" * 50_000 + "{% endfor %}", lambda: {"x": [0] * 90_000}, LONG),
    # time
    "loops in loops": (
        "{% for a in x %}{% for b in x %}{% for c in x %}{% endfor %}{% endfor %}{% endfor %}",
        lambda: {"x": list(range(40_000))},
        COSTLY,
    ),
    "loops that find nothing": (
        "{% for a in x %}{% for b in x if b is none %}{% endfor %}{% endfor %}",
        lambda: {"x": list(range(40_000))},
        COSTLY,
    ),
    "conditions in a loop": (
        "{% for a in x %}{% if " + "a and " * 10_000 + "a %}{% endif %}{% endfor %}",
        lambda: {"x": [1] * 90_000},
        SYNTAX,
    ),
    "long conditions in a loop": (
        "{% for a in x %}" + "{% if a and a and a and a %}{% endif %}" * 2000 + "{% endfor %}",
        lambda: {"x": [1] * 90_000},
        COSTLY,
    ),
    "straight costly filters": (
        "{% if x|lower|upper|lower|upper == 1 %}{% endif %}" * 2000,
        lambda: {"x": BIG},
        COSTLY,
    ),
    "straight comparisons": ("{% if x == y %}{% endif %}" * 3800, lambda: {"x": BIG + "a", "y": BIG + "b"}, COSTLY),
    "straight searches": (
        "{% if y in x %}{% endif %}" * 3800,
        lambda: {"x": "ab" * 14_000, "y": "ab" * 20 + "aa" + "ab" * 20},
        COSTLY,
    ),
    "straight json": ("{% if x|tojson == 1 %}{% endif %}" * 2800, lambda: {"x": [1.5] * 200_000}, COSTLY),
    "straight sorts": ("{% if x|sort == 1 %}{% endif %}" * 2800, lambda: {"x": grid(50, 15_000)}, COSTLY),
    "sort of rows that are alike": ("{{ (x|sort)[0][0] }}", lambda: {"x": grid(450, 1000)}, "ok"),
    "unique": ("{{ x|unique|length }}", lambda: {"x": [i * (2**61 - 1) for i in range(40_000)]}, "ok"),
    "trim of many letters": (
        "{% if x|trim(y) == 1 %}{% endif %}" * 2000,
        lambda: {"x": BIG, "y": "abcz" * 250},
        COSTLY,
    ),
    "match, many states": (
        "{{ x|match('[ab]*a[ab]{900}c') }}",
        lambda: {"x": "ab" * 500_000},
        COSTLY,
    ),
    "match, many patterns": (
        "{% for a in x %}{{ y|match('(\\\\pL{5}|' ~ a ~ '){5}c')|default('') }}{% endfor %}",
        lambda: {"x": list(range(90_000)), "y": "ab"},
        COSTLY,
    ),
    "match again and again": (
        "{% for a in x %}{{ y|match('(a|b)*a(a|b){20}c')|default('') }}{% endfor %}",
        lambda: {"x": list(range(90_000)), "y": "ab" * 200_000},
        COSTLY,
    ),
    # numbers
    "a number without end": ("{{ " + "9" * 90_000 + " }}", dict, SYNTAX),
    "a large number": ("{{ 0x" + "f" * 90_000 + " }}", dict, FAILED),
    "a number from a text": ("{{ x|int(0, 16) }}", lambda: {"x": "f" * 1_000_000}, "ok"),
    "infinity": ("{{ 1e999 }}", dict, REFUSED),
    "round to a billion digits": ("{{ 1|round(999999999, 'floor') }}", dict, "ok"),
    "round a large number": ("{{ x|round(-300) }}", lambda: {"x": 1 << 4_000_000}, FAILED),
    "a large number printed": ("{{ x }}", lambda: {"x": 1 << 3_000_000}, FAILED),
    # texts that are hard to read
    "parentheses": ("{{ " + "(" * 40_000 + "x" + ")" * 40_000 + " }}", lambda: {"x": 1}, SYNTAX),
    "brackets": ("{{ " + "[" * 40_000 + "x" + "]" * 40_000 + " }}", lambda: {"x": 1}, SYNTAX),
    "a chain of not": ("{{ " + "not " * 20_000 + "x }}", lambda: {"x": 1}, SYNTAX),
    "a chain of filters": ("{{ x" + "|lower" * 15_000 + " }}", lambda: {"x": "y"}, SYNTAX),
    "blocks in blocks": ("{% if x %}" * 4000 + "{% endif %}" * 4000, lambda: {"x": 1}, SYNTAX),
    "a mistake after thousands of tags": ("{{ a }}" * 14_000 + "{{ b + }}", dict, SYNTAX),
    "something foreign after thousands of tags": ("{{ a }}" * 14_000 + "{{ b() }}", dict, REFUSED),
    "thousands of tags": ("{{ a }}" * 14_000, lambda: {"a": ""}, "ok"),
    "open tags": ("{{ " * 33_000, dict, SYNTAX),
    "one underscore after another": ("{{ " + "1_" * 49_000 + " }}", dict, SYNTAX),
    "an open text": ("{{ '" + "\\'" * 49_000, dict, SYNTAX),
    "many names": ("{{ " + " ~ ".join(f"v{i}" for i in range(12_000)) + " }}", dict, MISSING),
}
assert all(len(source) <= 100_000 for source, _, _ in TEMPLATES.values())


def render(source: str, variables: Callable[[], dict[str, Any]]) -> str:
    try:
        text = Template(source, "card 'c'").render(variables())
    except TemplateError as error:
        return error.code
    return "ok" if len(text) <= MAX_OUTPUT_CHARS else "too long"


def include_bomb(texts: dict[str, str]) -> str:
    try:
        Template('{% include "a@1" %}', "card 'c'", texts).render({})
    except TemplateError as error:
        return error.code
    return "ok"


def card_bomb(messages: int, check: bool = False) -> str:
    """Make a card whose many messages include the same large texts, and perhaps look it over."""
    texts = {f"a@{i}": "{{ a }}" * 12_000 + str(i) for i in range(1, 3)}
    body = "".join(f'{{% include "{reference}" %}}' for reference in texts)
    try:
        card = Card("c", messages=tuple(Message("user", f"{body}{i}") for i in range(messages)), includes=texts)
    except CardError as error:
        return error.code
    return f"{len(static_check.check(card) if check else ())} problems"


def large_card() -> str:
    try:
        Card("c", messages=tuple(Message("user", "{{ a }}" * 14_000 + str(i)) for i in range(100)))
    except CardError as error:
        return error.code
    return "ok"


def chain(length: int, times: int) -> dict[str, str]:
    """Return texts that each include the next one many times."""
    inside = {f"a@{i}": f'{{% include "a@{i + 1}" %}}' * times for i in range(1, length)}
    return inside | {f"a@{length}": "x" * 100}


INCLUDES: dict[str, tuple[dict[str, str], str]] = {
    "a text within itself": ({"a@1": '{% include "a@1" %}'}, "include_circle"),
    "a circle": ({"a@1": '{% include "a@2" %}', "a@2": '{% include "a@1" %}'}, "include_circle"),
    "too deep": (chain(6, 1), "include_too_deep"),
    "a thousand of a thousand": (chain(5, 1000), LONG),
    "a long chain": (chain(5000, 1), "include_too_deep"),
}
CARDS: dict[str, tuple[Callable[[], str], str]] = {
    "a hundred messages with the same texts": (partial(card_bomb, 100), "0 problems"),
    "their static check": (partial(card_bomb, 100, check=True), "0 problems"),
    "a hundred large messages": (large_card, "card_messages"),
}
BOMBS: dict[str, Callable[[], str]] = {
    **{name: partial(render, source, variables) for name, (source, variables, _) in TEMPLATES.items()},
    **{name: partial(include_bomb, texts) for name, (texts, _) in INCLUDES.items()},
    **{name: bomb for name, (bomb, _) in CARDS.items()},
}
EXPECTED = {name: code for name, (*_, code) in (TEMPLATES | INCLUDES | CARDS).items()}


@pytest.fixture(scope="module")
def used() -> dict[str, Used]:
    return explode(__name__)


def test_there_are_enough_of_them() -> None:
    assert len(BOMBS) >= 80


@pytest.mark.parametrize("name", BOMBS)
def test_every_template_ends_within_its_limits(used: dict[str, Used], name: str) -> None:
    found = used[name]
    assert found.outcome == EXPECTED[name]
    assert found.cpu_s <= MAX_CPU_S
    assert found.peak_mb <= MAX_PEAK_MB


ESCAPES = [
    "{{ x.__class__ }}", "{{ x['__class__'] }}", "{{ ''.__class__.__mro__ }}", "{{ x.__init__.__globals__ }}",
    "{{ x.mro }}", "{{ loop.__class__ }}", "{% for a in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{% for a in [1] %}{{ loop.items }}{% endfor %}", "{% for a in [1] %}{{ loop._items }}{% endfor %}",
    "{% for a in [1] %}{{ loop['items'] }}{% endfor %}", "{% for a in [1] %}{{ loop.cycle }}{% endfor %}",
    "{{ x|attr('__class__') }}", "{{ x|map(attribute='__class__') }}", "{{ [x]|join(attribute='__class__') }}",
    "{{ [x]|sort(attribute='__class__.__mro__') }}", "{{ [x]|unique(attribute='__class__') }}", "{{ x.format }}",
    "{{ '{0.__class__}'.format(x) }}", "{{ '%s' % x }}", "{{ x|format(x) }}", "{{ lipsum }}", "{{ cycler }}",
    "{{ namespace }}", "{{ range }}", "{{ dict }}", "{{ joiner }}", "{{ self }}", "{{ caller }}", "{{ varargs }}",
    "{{ config }}", "{{ request }}", "{{ _ }}", "{{ __import__ }}", "{{ open }}", "{{ x|safe }}", "{{ x|pprint }}",
    "{% include 'passwd' %}", "{% include x %}", "{% include ['a@1'] %}", "{% include 'a@1' ignore missing %}",
    "{% include '../a@1' %}", "{% import 'a@1' as a %}", "{% from 'a@1' import b %}", "{% extends 'a@1' %}",
    "{{ x|join(*[1]) }}", "{{ x|join(**x) }}", "{% for a in x recursive %}{{ loop(a) }}{% endfor %}",
    "{% for loop in x %}{{ loop }}{% endfor %}", "{% set a = x %}", "{% debug %}", "{{ x if x() }}",
    "{% for a in loop %}{% endfor %}", "{% for a, b in [1] %}{% endfor %}",
]  # fmt: skip


@pytest.mark.parametrize("source", ESCAPES)
def test_nothing_of_python_is_reached(source: str) -> None:
    with pytest.raises(TemplateError) as caught:
        Template(source, "card 'c'").render({"x": {"a": "b"}})
    assert caught.value.code in (REFUSED, SYNTAX, MISSING, FAILED)
    assert "0x" not in caught.value.message
