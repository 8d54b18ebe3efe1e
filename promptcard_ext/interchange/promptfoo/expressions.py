"""The JavaScript of transforms: what takes a part out of an answer becomes a template, all else is left alone."""

from __future__ import annotations

import re

_STEP = re.compile(
    r"\s*(?:\?)?\.\s*(?P<call>trim|toLowerCase|toUpperCase)\s*\(\s*\)"
    r"|\s*\??\.\s*(?P<key>[A-Za-z_$][\w$]*)(?!\s*[\w$]*\s*\()"
    r"|\s*(?:\?\.)?\[\s*(?P<index>\d+)\s*\]"
    r"|\s*(?:\?\.)?\[\s*(?:'(?P<single>[^'\\{}\"]*)'|\"(?P<double>[^'\\{}\"]*)\")\s*\]"
)
_PATH = re.compile(r"(?P<start>output|JSON\.parse\(\s*output\s*\)|context\.vars)(?P<path>(?:\??\.[A-Za-z_]\w*)*)")
_FILTERS = {"trim": "trim", "toLowerCase": "lower", "toUpperCase": "upper"}
_TEMPLATE = re.compile(
    r"\{\{ (?P<start>output|json)(?P<path>(?:\.[A-Za-z_]\w*|\[[^\[\]]*\])*)(?P<filters>(?:\|(?:trim|lower|upper))*)"
    r"(?: if .*)? \}\}"
)
_PARSED = re.compile(r"JSON\.parse\(\s*output\s*(?:\.trim\(\)\s*)?\)")


def transform_template(expression: str) -> str | None:
    """Return the template that does what a JavaScript expression does, or None when there is none.

    Understood are ``output`` and ``JSON.parse(output)``, properties and indexes of them, and ``trim``,
    ``toLowerCase``, ``toUpperCase`` at the end.

    Example:
        >>> transform_template("output.trim().toLowerCase()")
        '{{ output|trim|lower }}'
        >>> transform_template("JSON.parse(output).items[0].name")
        '{{ json.items[0].name if json.items[0].name is string else json.items[0].name|tojson }}'
        >>> transform_template("output.split(',')[0]") is None
        True
    """
    code = expression.strip().removeprefix("return ").rstrip(";").strip()
    parsed = _PARSED.match(code)
    position = parsed.end() if parsed else len("output") if re.match(r"output\b", code) else 0
    if not position:
        return None
    path, filters = "", ""
    while position < len(code):
        step = _STEP.match(code, position)
        # `output[0]` is the first character of a text, or the first element of a list: not for us to guess.
        unclear = step is not None and step["index"] is not None and not path and parsed is None
        if step is None or unclear or (filters and not step["call"]):
            return None
        if step["call"]:
            filters += "|" + _FILTERS[step["call"]]
        else:
            path += _part(step)
        position = step.end()
    return _template(path, filters, parsed is not None)


def transform_expression(text: str) -> str | None:
    """Return the JavaScript that `transform_template` makes ``text`` of, or None when it makes it of nothing.

    Example:
        >>> transform_expression("{{ output|trim|lower }}"), transform_expression("{{ json.a['b']|trim }}")
        ('output.trim().toLowerCase()', "JSON.parse(output).a['b'].trim()")
    """
    found = _TEMPLATE.fullmatch(text)
    if found is None:
        return None
    calls = {short: f".{name}()" for name, short in _FILTERS.items()}
    start = "output" if found["start"] == "output" else "JSON.parse(output)"
    expression = start + found["path"] + "".join(calls[name] for name in found["filters"].split("|")[1:])
    return expression if transform_template(expression) == text else None


def answer_path(expression: str) -> str | None:
    """Return where in an answer, or in the variables, a JavaScript expression looks: ``json.context``, ``vars.text``.

    Example:
        >>> answer_path("output.context"), answer_path("context.vars.text"), answer_path("output.map(f)")
        ('json.context', 'vars.text', None)
    """
    code = expression.strip().removeprefix("return ").rstrip(";").strip()
    found = _PATH.fullmatch(code)
    if found is None:
        return None
    start = "vars" if found["start"].startswith("context") else "json"
    return "output" if found["start"] == "output" and not found["path"] else start + found["path"].replace("?", "")


def _part(step: re.Match[str]) -> str:
    if step["index"] is not None:
        return f"[{step['index']}]"
    if step["key"] is not None and "$" not in step["key"]:
        return f".{step['key']}"
    return f"['{step['key'] or step['single'] or step['double'] or ''}']"


def _template(path: str, filters: str, parsed: bool) -> str | None:
    if path == ".length" or path.endswith(".length"):
        return None
    if not path and not parsed:
        return f"{{{{ output{filters} }}}}"
    if filters:
        return f"{{{{ json{path}{filters} }}}}"
    # A text is taken as it is, anything else stays JSON.
    return f"{{{{ json{path} if json{path} is string else json{path}|tojson }}}}"
