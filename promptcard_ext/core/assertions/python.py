"""Assertions in Python, which run in the process of whoever wrote them and nowhere else.

Code in a card is code of whoever wrote the card. A process runs it only after it has said so itself (`allow`): the
command line and `pc.run` do, for their own user; a worker, which runs the cards of others, never does, and there the
assertion is *unscored*. There is no sandbox and no time limit: it is the user's own code on the user's own machine.
What comes from a workspace, where others write, is distrusted wherever it goes in this process (`distrust`).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import python_code
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Check, Finding, register
from promptcard_ext.core.assertions.checks import PREFIX, CheckMissing
from promptcard_ext.core.assertions.python_result import NotAResult, finding_of
from promptcard_ext.core.results import Outcome

if TYPE_CHECKING:
    from promptcard_ext.core.case import Case

MAX_SOURCE_CHARS = 50_000
NOT_HERE = Finding(
    Outcome.UNSCORED, "python_not_here", "Assertions in Python run in your own process only, and this is a worker's."
)
NOT_TRUSTED = Finding(
    Outcome.UNSCORED,
    "python_not_trusted",
    "This Python came from a workspace, where others may have written it. Read it, then: cases(..., trust=True).",
)


class _Permission:
    """Whether this process runs Python from cards, and where it looks for their files."""

    base: Path | None = None
    # By source, and not by object: a copy of the case, or the case in another run, is as foreign.
    distrusted: set[str] = set()  # noqa: RUF012  one for the process


_permission = _Permission()


def allow(base: str | Path | None = None) -> None:
    """Let this process run assertions in Python, from now on.

    To be called by a program that works for the person who started it, never by one that works for others.

    Args:
        base: Folder that ``file://`` paths are relative to; by default the current one.
    """
    _permission.base = Path(base or ".").absolute()


def forbid() -> None:
    """Take back what `allow` allowed."""
    _permission.base = None


def distrust(assertions: Iterable[Assertion]) -> None:
    """Never run, in this process, the Python of assertions that others may have written."""
    _permission.distrusted |= _sources(assertions)


def distrusted_in(cases: Iterable[Case]) -> list[str]:
    """Return the distrusted Python in cases, for whoever keeps these for another process."""
    if not _permission.distrusted:
        return []
    found = set[str]().union(*(_sources(case.assertions) for case in cases))
    return sorted(found & _permission.distrusted)


def distrust_sources(sources: Iterable[str]) -> None:
    """Distrust what `distrusted_in` said in another process."""
    _permission.distrusted |= set(sources)


def trust(assertions: Iterable[Assertion]) -> None:
    """Take back what `distrust` said of these."""
    _permission.distrusted -= _sources(assertions)


def _sources(assertions: Iterable[Assertion]) -> set[str]:
    found: set[str] = set()
    for assertion in assertions:
        # A function that this program decorated is this program's, whoever names it.
        if assertion.kind == "python" and not str(assertion.value).startswith(PREFIX):
            found.add(assertion.value)
        found |= _sources(assertion.assertions)
    return found


def allowed() -> bool:
    """Tell whether this process runs assertions in Python."""
    return _permission.base is not None


@register("python", needs=("variables",), verbatim=True)
def python(assertion: Assertion) -> Check:
    """A function, an expression or a body of statements in Python says whether it holds: ``value``.

    It sees ``output`` and ``context``, and gives true or false, a score (which must reach ``threshold``, or be above
    0), or a mapping with ``pass``, ``score`` and ``reason``.
    """
    source = assertion.value
    if not isinstance(source, str) or not source.strip():
        raise assertion.invalid("'value' must be an expression, statements that return, or file://NAME.py:FUNCTION")
    if len(source) > MAX_SOURCE_CHARS:
        raise assertion.invalid(f"its Python has {len(source):,} characters; the limit is {MAX_SOURCE_CHARS:,}")
    # Parsing can take a worker down; where it does not run there is no need to.
    if allowed() and not python_code.is_reference(source):
        _parse(assertion, source)

    def check(answer: Answer) -> Finding:
        base = _permission.base
        if base is None:
            return NOT_HERE
        if source in _permission.distrusted:
            return NOT_TRUSTED
        if answer.output is None and answer.generation.tool_calls is None:
            return NO_TEXT
        return _judged(assertion, base, answer)

    return check


def _parse(assertion: Assertion, source: str) -> None:
    try:
        python_code.parsed(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f" (line {error.lineno})" if isinstance(error, SyntaxError) and error.lineno else ""
        problem = error.args[0] if error.args else type(error).__name__
        raise assertion.invalid(f"its Python cannot be read: {problem!s:.200}{line}") from None


def _judged(assertion: Assertion, base: Path, answer: Answer) -> Finding:
    try:
        function = python_code.function_of(assertion.value, base)
        said = python_code.call(function, answer.output, _context(assertion, answer))
    except CheckMissing as error:
        return Finding(Outcome.ERROR, "check_missing", str(error))
    except (Exception, SystemExit) as error:  # noqa: BLE001  Code of anybody; `exit()` in it must not end the run.
        return Finding(Outcome.ERROR, "assertion_crashed", python_code.told(error))
    try:
        return finding_of(said, assertion.threshold, assertion.uid)
    except NotAResult as error:
        return Finding(Outcome.ERROR, "python_result", str(error))


def _context(assertion: Assertion, answer: Answer) -> dict[str, Any]:
    """Return what a check may look at, under the names that promptfoo gives it: a copy, to do with as it likes."""
    generation = msgspec.to_builtins(answer.generation)
    variables = msgspec.to_builtins(dict(answer.variables))
    tokens = answer.generation.tokens
    return {
        "prompt": answer.messages[-1].content if answer.messages else None,
        "messages": [{"role": message.role, "content": message.content} for message in answer.messages],
        "vars": variables,
        "test": {"vars": variables},
        "config": msgspec.to_builtins(assertion.options),
        "provider": f"{answer.generation.provider}:{answer.generation.model}",
        "logProbs": None if answer.generation.logprobs is None else list(answer.generation.logprobs),
        "providerResponse": {
            "output": answer.generation.output,
            "toolCalls": generation.get("tool_calls"),
            "finishReason": answer.generation.finish_reason,
            "latencyMs": answer.generation.latency_ms,
            "cost": None if answer.generation.cost_usd is None else float(answer.generation.cost_usd),
            "tokenUsage": {"prompt": tokens.input, "completion": tokens.output},
        },
        "metadata": {},
        "trace": None,
    }
