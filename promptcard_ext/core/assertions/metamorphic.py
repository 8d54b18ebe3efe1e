"""The metamorphic assertion: a change of the prompt that should not matter does not change the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import judging
from promptcard_ext.core.assertions.base import NO_TEXT, Assertion, Finding, Graded, register
from promptcard_ext.core.assertions.limits import refuse_options, share
from promptcard_ext.core.assertions.sets import explain
from promptcard_ext.core.assertions.transform import TransformFailed, transformed
from promptcard_ext.core.assertions.variants import Plan, Variant, plan_of
from promptcard_ext.core.card import Message
from promptcard_ext.core.composition import combine
from promptcard_ext.core.errors import PromptCardError, ProviderError
from promptcard_ext.core.identity import digest
from promptcard_ext.core.metamorphic import TRANSFORMS
from promptcard_ext.core.ports import Asker
from promptcard_ext.core.relations import Relation
from promptcard_ext.core.results import Generation, Outcome, Verdict

NO_VARIANT = Finding(
    Outcome.UNSCORED, "no_variant", "The prompt of this answer is not known any more, so it cannot be changed."
)
NOTHING_TO_CHANGE = Finding(
    Outcome.UNSCORED, "nothing_to_change", "No transform changes this prompt in a way that its variables allow."
)


class _Changed(NamedTuple):
    variant: Variant
    messages: tuple[Message, ...]


@register("metamorphic")
def metamorphic(assertion: Assertion) -> Graded:
    """The answer stays the same, in the sense of ``relation``, for prompts changed by ``transforms``.

    ``value`` has ``transforms`` (all), ``relation`` (``same_label``), ``labels``, ``variables`` (all with text or
    lists) and ``runs`` (1): changes by each random transform. The score is the share of changed prompts whose answer
    held; it must reach ``threshold`` (1).
    """
    plan = plan_of(assertion)
    threshold = share(assertion, 1.0)
    refuse_options(assertion)

    async def grade(answer: Answer, asker: Asker) -> Finding:
        if answer.output is None:
            return NO_TEXT
        if answer.variant is None:
            return NO_VARIANT
        if missing := [name for name in plan.variables or () if name not in answer.variables]:
            message = f"The card has no variable {missing[0]!r:.60}."
            return Finding(Outcome.ERROR, "no_such_variable", message)
        original = plan.relation.read(answer.output)
        if original is None:
            message = f"The answer cannot be compared: it is not {plan.relation.missing}."
            return Finding(Outcome.UNSCORED, "not_comparable", message)
        changed = list(_changed_prompts(plan, answer))
        if not changed:
            return NOTHING_TO_CHANGE
        parts = await asyncio.gather(
            *(_part(assertion, plan.relation, one, original, answer, asker) for one in changed)
        )
        return _sum_up(parts, threshold)

    return Graded(grade)


def _changed_prompts(plan: Plan, answer: Answer) -> Iterator[_Changed]:
    """Yield the changed prompts, each only once."""
    seed = digest(dict(answer.variables))
    seen = {answer.messages}
    for variant in plan.variants:
        messages = _messages(answer, _changed_values(plan, variant, answer.variables, seed))
        if messages is not None and messages not in seen:
            seen.add(messages)
            yield _Changed(variant, messages)


def _changed_values(plan: Plan, variant: Variant, variables: Mapping[str, Any], seed: str) -> dict[str, Any]:
    change = TRANSFORMS[variant.transform].change
    changed = {}
    for name in variables if plan.variables is None else plan.variables:
        # Each variable has its own dice: one more does not change the others.
        chance = Random(f"{seed}:{variant.transform}:{variant.number}:{name}")  # noqa: S311  not for secrets
        value = change(variables[name], chance, variant.parameters)
        if value != variables[name]:
            changed[name] = value
    return changed


def _messages(answer: Answer, changed: Mapping[str, Any]) -> tuple[Message, ...] | None:
    """Return the changed prompt, with those of the changes that the card's variables allow; None without any."""
    rendered = _rendered(answer, changed)
    if rendered is None and len(changed) > 1:
        # An enum cannot be misspelt, a text may be at its limit: such a variable stays as it is.
        allowed = {name: value for name, value in changed.items() if _rendered(answer, {name: value}) is not None}
        rendered = _rendered(answer, allowed)
    return rendered


def _rendered(answer: Answer, changed: Mapping[str, Any]) -> tuple[Message, ...] | None:
    if not changed:
        return None
    try:
        return tuple(answer.variant(changed))
    except PromptCardError:
        return None


async def _part(
    assertion: Assertion, relation: Relation, changed: _Changed, original: Any, answer: Answer, asker: Asker
) -> Verdict:
    variant = changed.variant
    uid = digest([assertion.uid, variant.transform, dict(variant.parameters), variant.number])
    try:
        generation = await asker.ask(asker.model, changed.messages, answer.settings, purpose="variant")
        found = _compared(assertion, relation, original, answer, generation)
    except ProviderError as error:
        found = judging.outage(error)
    return Verdict(uid, f"metamorphic:{variant.transform}", found.outcome, found.reason, found.message)


def _compared(
    assertion: Assertion, relation: Relation, original: Any, answer: Answer, generation: Generation
) -> Finding:
    other = answer._replace(output=generation.output, generation=generation)
    if assertion.transform is not None:
        try:
            other = transformed(assertion.transform, other)
        except TransformFailed as error:
            return Finding(Outcome.FAIL, "transform_failed", str(error))
    if other.output is None:
        return NO_TEXT
    if relation.holds(original, relation.read(other.output)):
        return Finding(Outcome.PASS)
    return Finding(Outcome.FAIL, "answer_changed", f"It became {other.output.strip()!r:.200}.")


def _sum_up(parts: Sequence[Verdict], threshold: float) -> Finding:
    outcome, _ = combine(parts, threshold)
    judged = [part.outcome is Outcome.PASS for part in parts if part.points is not None]
    # Not known while one is undecided: a set around it must not take the share of the others for its score.
    score = sum(judged) / len(judged) if len(judged) == len(parts) else None
    if outcome is Outcome.PASS:
        return Finding(outcome, score=score, parts=tuple(parts))
    reason, message = explain(outcome, parts)
    if outcome is Outcome.FAIL:
        reason = "not_invariant"
        blame = next(part for part in parts if part.outcome is Outcome.FAIL)
        message = f"By {blame.type.partition(':')[2]}: {blame.message}"
    held = f"The answer held for {sum(judged)} of {len(judged)} changed prompts"
    undecided = f", {len(parts) - len(judged)} undecided" if len(judged) < len(parts) else ""
    return Finding(outcome, reason, f"{held}{undecided}. {message}", score, tuple(parts))
