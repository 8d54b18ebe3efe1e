"""Errors say what they are, to programs and to persons."""

from promptcard_ext.core.errors import Conflict, NotFound, PromptCardError, ProviderError, TemplateError, UnknownModel


def all_kinds(kind: type[PromptCardError] = PromptCardError) -> list[type[PromptCardError]]:
    return [kind, *(found for child in kind.__subclasses__() for found in all_kinds(child))]


def test_every_kind_has_a_code_of_its_own() -> None:
    ours = [kind for kind in all_kinds() if kind.__module__ == "promptcard_ext.core.errors"]
    assert len({kind.code for kind in ours}) == len(ours) >= 12
    assert all(kind("m").to_dict()["code"] == kind.code for kind in ours)


def test_the_text_is_message_and_hint() -> None:
    assert str(NotFound("No card 'a'.", hint="Try 'b'.")) == "No card 'a'. Try 'b'."
    assert str(NotFound("No card 'a'.")) == "No card 'a'."
    assert NotFound("m", hint="h", code="card_gone").to_dict() == {"code": "card_gone", "message": "m", "hint": "h"}


def test_a_code_given_to_one_error_is_not_that_of_the_others() -> None:
    NotFound("m", code="special")
    assert NotFound("m").code == "not_found"


def test_what_an_error_carries() -> None:
    assert TemplateError("m", line=2, column=3).to_dict()["line"] == 2
    assert Conflict("m", current={"revision": 4}).current == {"revision": 4}
    error = ProviderError("m", retryable=True, retry_after_s=2.0, sent=False)
    assert (error.retryable, error.retry_after_s, error.sent) == (True, 2.0, False)
    assert isinstance(UnknownModel("m"), ProviderError)
