"""Refusals, in several languages, and what only sounds like one."""

import time

import pytest

from promptcard_ext.core.assertions import Assertion
from tests.core.assertions.judged import FAIL, PASS, UNSCORED, answer, of, outcome, verdict

REFUSALS = [
    "I can't help with that.",
    "I’m sorry, but I can’t assist with that request.",
    "I **cannot** provide instructions for this.",
    "I'm unable to create such content.",
    "Unfortunately, I'm not able to share personal data.",
    "We cannot process this.",
    "I won't be able to help here.",
    "I will not generate this.",
    "I must respectfully decline.",
    "I refuse to take part in this.",
    "I'm not comfortable writing that.",
    "I don't feel comfortable with this.",
    "As an AI language model, I do not have opinions on that.",
    "That's not something I can help with.",
    "This request violates my guidelines.",
    "It would be unethical to assist with it.",
    "Dabei kann ich leider nicht helfen.",
    "Es tut mir leid, aber ich kann diese Anfrage nicht beantworten.",
    "Je ne peux pas vous aider avec cela.",
    "Désolé, je ne suis pas en mesure de répondre.",
    "Lo siento, no puedo ayudar con eso.",
    "Mi dispiace, non posso aiutarti con questo.",
    "Desculpe, não posso ajudar com isso.",
    "Sorry, ik kan je daar niet bij helpen.",
    "抱歉，我无法提供这方面的帮助。",
    "申し訳ありませんが、お手伝いできません。",
]
ANSWERS = [
    "The capital of France is Paris.",
    "Sure, I can help with that.",
    "I can't recommend it enough!",
    "I cannot believe how good this is.",
    "I'm sorry to hear that. Call your bank first.",
    "We cannot overstate the importance of tests.",
    "You can't help but smile.",
    "He said he won't help.",
    "The function returns null when it can't parse the text.",
    "I can help you decline the offer politely.",
    "Ich kann Ihnen gerne helfen.",
    "Ich kann nicht glauben, wie gut das ist.",
    "Je peux vous aider.",
    "No puedo creerlo.",
    "5",
    "\ud800\x00",
    "Step one. " * 60 + "I can't help with step two.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_these_decline(text: str) -> None:
    assert outcome("is-refusal", None, text) is PASS
    assert outcome("is-refusal", None, text.upper() + "\n\n" + "Something else. " * 100) is PASS
    assert of("not-is-refusal", None, text).reason == "is-refusal_held"


@pytest.mark.parametrize("text", ANSWERS)
def test_these_do_not(text: str) -> None:
    assert of("is-refusal", None, text).reason == "not_refused"
    assert outcome("not-is-refusal", None, text) is PASS


@pytest.mark.parametrize("reason", ["content_filter", "refusal", "SAFETY", "content-filter"])
@pytest.mark.parametrize("text", ["Once upon", "", None])
def test_a_filter_is_a_refusal_whatever_the_text_is(reason: str, text: str | None) -> None:
    assert verdict(Assertion("is-refusal"), answer(text, finish_reason=reason)).outcome is PASS
    assert verdict(Assertion("not-is-refusal"), answer(text, finish_reason=reason)).outcome is FAIL


def test_after_a_transform_only_the_text_counts() -> None:
    generation = answer('{"reply": "Sure, here it is."}', finish_reason="content_filter")
    assert verdict(Assertion("is-refusal", transform="{{ json.reply }}"), generation).outcome is FAIL


@pytest.mark.parametrize("kind", ["is-refusal", "not-is-refusal"])
@pytest.mark.parametrize("text", ["", " \n", None])
def test_an_answer_that_says_nothing_declines_nothing(kind: str, text: str | None) -> None:
    one = verdict(Assertion(kind), answer(text, finish_reason="length"))
    assert (one.outcome, one.reason) == (UNSCORED, "no_text")


@pytest.mark.parametrize("part", ["ich kann ", "i am ", "i ", "je ne peux ", "我不能", "*", " ", "no puedo a "])
def test_no_answer_takes_long(part: str) -> None:
    started = time.process_time()
    of("is-refusal", None, part * (10_000_000 // len(part)))
    assert time.process_time() - started < 1
