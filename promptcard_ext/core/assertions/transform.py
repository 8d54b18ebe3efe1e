"""What an assertion judges instead of the answer itself."""

from __future__ import annotations

import re
from typing import Any

from promptcard_ext.core import template
from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import Finding
from promptcard_ext.core.assertions.json_text import Unread, read_json
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.core.results import Outcome

NAMES = frozenset(("output", "json", "vars"))
_BEYOND_LIMITS = frozenset(("prompt_too_long", "template_too_costly"))
_CASE_VARIABLE = re.compile(r"""\bvars\s*(?:\.\s*(\w+)|\[\s*["'](\w+)["']\s*\])""")


class TransformFailed(Exception):
    """There is nothing to judge; has what is found instead, under a negation too.

    A fail when the answer lacks what the transform takes from it: it is wrong, whatever is asserted of the rest.
    Unscored when it is too long or too deep to say, and an error when the transform itself cannot work.
    """

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.message)
        self.finding = finding


def parsed_transform(source: str) -> template.Template:
    """Return the template of a transform.

    Raises:
        TemplateError: It does not parse.
        CardError: It uses another name than output, json and vars (``assertion_invalid``).
    """
    parsed = template.parse(source, "the transform")
    if unknown := parsed.variables - NAMES:
        raise CardError(
            f"A transform has no '{min(unknown)}'; it has output, json and vars.",
            hint=f"A variable of the case is {{{{ vars.{min(unknown)} }}}}.",
            code="assertion_invalid",
        )
    return parsed


def transformed(source: str, answer: Answer) -> Answer:
    """Return the answer with the text that a transform makes of it.

    Args:
        source: A template over ``output`` (the text), ``json`` (its value, when the text is JSON) and ``vars``.

    Raises:
        TransformFailed: The text is not JSON, lacks the part that the transform takes, or is beyond the limits.
        CardError: The transform cannot be used.
    """
    if answer.output is None:
        return answer
    parsed = parsed_transform(source)
    values: dict[str, Any] = {"output": answer.output, "vars": dict(answer.variables)}
    if "json" in parsed.variables:
        values["json"] = _json(answer.output)
    try:
        return answer._replace(output=parsed.render(values))
    except TemplateError as error:
        raise TransformFailed(_finding(error, source, answer)) from None


def _json(output: str) -> Any:
    try:
        return read_json(output)
    except Unread as unread:
        finding = unread.finding
        failed = finding.outcome is Outcome.FAIL
        raise TransformFailed(finding._replace(reason="transform_failed") if failed else finding) from None


def _finding(error: TemplateError, source: str, answer: Answer) -> Finding:
    if error.code in _BEYOND_LIMITS:
        return Finding(Outcome.UNSCORED, "answer_too_complex", error.message)
    used = {dotted or quoted for dotted, quoted in _CASE_VARIABLE.findall(source)}
    if missing := used - answer.variables.keys():
        message = f"The transform uses variable '{min(missing)}', which the case does not have."
        return Finding(Outcome.ERROR, "missing_variable", message)
    return Finding(Outcome.FAIL, "transform_failed", error.message)
