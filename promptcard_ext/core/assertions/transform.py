"""What an assertion judges instead of the answer itself."""

from __future__ import annotations

import json
from typing import Any

from promptcard_ext.core import template
from promptcard_ext.core.answer import Answer
from promptcard_ext.core.errors import TemplateError
from promptcard_ext.core.identity import refuse_constant


class TransformFailed(Exception):
    """The answer has not what the transform takes from it: the answer is wrong, whatever is asserted of the rest."""


def transformed(source: str, answer: Answer) -> Answer:
    """Return the answer with the text that a transform makes of it.

    Args:
        source: A template over ``output`` (the text), ``json`` (its value, when the text is JSON) and ``vars``.

    Raises:
        TransformFailed: The text is not JSON, or lacks the part that the transform takes.
    """
    if answer.output is None:
        return answer
    values: dict[str, Any] = {"output": answer.output, "vars": dict(answer.variables)}
    parsed = template.parse(source, "the transform")
    if "json" in parsed.variables:
        values["json"] = _json(answer.output)
    try:
        return answer._replace(output=parsed.render(values))
    except TemplateError as error:
        raise TransformFailed(error.message) from None


def _json(output: str) -> Any:
    try:
        return json.loads(output, parse_constant=refuse_constant)
    except (ValueError, RecursionError) as error:
        raise TransformFailed(f"The answer is not JSON: {error!s:.200}.") from None
