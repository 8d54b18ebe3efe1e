"""Assertions on what the provider says of the answer: finish-reason."""

from __future__ import annotations

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions.base import PASSED, Assertion, Check, Finding, register
from promptcard_ext.core.results import Outcome

STOP, LENGTH, FILTER, TOOLS = "stop", "length", "content_filter", "tool_calls"
# What providers call the four: OpenAI (chat and responses), Anthropic, Google, Mistral, Cohere, Ollama, Hugging Face.
_SPELLINGS = {
    STOP: "end_turn stop_sequence eos eos_token end complete completed finished done",
    LENGTH: "max_tokens max_output_tokens max_length model_length token_limit model_context_window_exceeded",
    FILTER: "refusal safety recitation blocklist prohibited_content spii image_safety error_toxic guardrail_intervened",
    TOOLS: "tool_call tool_use function_call",
}
_STANDARD = {spelling: name for name, spellings in _SPELLINGS.items() for spelling in spellings.split()}
_NO_REASON = Finding(Outcome.UNSCORED, "no_finish_reason", "The provider did not say why the answer ended.")


def standard_reason(reason: str) -> str:
    """Return a finish reason under its common name; one that is not known in lower case.

    Example:
        >>> standard_reason("MAX_TOKENS"), standard_reason("tool-calls"), standard_reason("Weird")
        ('length', 'tool_calls', 'weird')
    """
    plain = reason.strip().lower().replace("-", "_").replace(" ", "_")
    return _STANDARD.get(plain, plain)


@register("finish-reason")
def finish_reason(assertion: Assertion) -> Check:
    """The answer ended for the reason ``value``: stop, length, content_filter, tool_calls or another.

    Spellings of providers are equal: ``end_turn`` is ``stop``. What the provider did not say is unscored.
    """
    if not isinstance(assertion.value, str) or not assertion.value.strip():
        raise assertion.invalid("'value' must be a finish reason such as stop or length")
    wanted = standard_reason(assertion.value)

    def check(answer: Answer) -> Finding:
        given = answer.generation.finish_reason
        if not given:
            return _NO_REASON
        if standard_reason(given) == wanted:
            return PASSED
        return Finding(Outcome.FAIL, "other_finish_reason", f"It ended for {given!r:.60}, not for {wanted!r:.60}.")

    return check
