"""Test cases: input variables and what must hold of the answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import force_setattr

from promptcard_ext.core.assertions import Assertion
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.fields import coerce_fields
from promptcard_ext.core.identity import canonical_json, digest
from promptcard_ext.core.shown import html_of

CaseName = Annotated[str, Meta(max_length=255)]
Priority = Annotated[str, Meta(max_length=20)]
Threshold = Annotated[float, Meta(ge=0, le=1)]


class Case(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One test case.

    Args:
        variables: Values for the card's variables: text, numbers, booleans, lists, mappings.
        assertions: What must hold; a case without any is recorded as unscored.
        name: What to call it; defaults to the first 8 digits of its identity.
        threshold: Least weighted mean of the assertions' scores (0 to 1) that passes; None wants all of them to hold.
        metadata: Anything worth filtering and grouping by; not part of the identity.
        expected_output: The answer that was expected; kept for people.
        priority: A word of your own, such as ``high``; kept for people.

    Raises:
        CardError: A value is not JSON (``case_invalid``).

    Example:
        >>> Case({"who": "Ada"}, [Assertion("contains", "Ada")]).uid[:8]
        'a6640520'
    """

    variables: dict[str, Any]
    assertions: tuple[Assertion, ...] = ()
    name: CaseName = ""
    expected_output: str | None = None
    priority: Priority = "medium"
    threshold: Threshold | None = None
    metadata: dict[str, Any] = {}

    def __post_init__(self) -> None:
        try:
            uid = self.uid
            if self.metadata:
                canonical_json(self.metadata)
        except (TypeError, ValueError, RecursionError) as error:
            raise CardError(
                f"The variables or metadata of case '{self.name or '(no name)'}' are not JSON: {error}.",
                code="case_invalid",
                hint="Use text, numbers, true/false, null, lists and mappings.",
            ) from None
        if not self.name:
            force_setattr(self, "name", uid[:8])
        coerce_fields(self, f"case '{self.name!s:.60}'")

    @property
    def uid(self) -> str:
        """Identity of the case: SHA-256 of its input variables. Runs are joined on it."""
        return digest(self.variables)

    def _repr_html_(self) -> str | None:
        return html_of(self)


def as_cases(cases: Iterable[Case | Mapping[str, Any]]) -> tuple[Case, ...]:
    """Return cases from cases or from plain mappings of variables.

    Raises:
        CardError: Two cases have the same variables (``case_twice``), or one is neither a case nor a mapping.
    """
    result: list[Case] = []
    seen: dict[str, str] = {}
    for case in cases:
        if isinstance(case, Mapping):
            case = Case(dict(case))
        if not isinstance(case, Case):
            raise CardError(f"{case!r:.60} is neither a Case nor a mapping of variables.", code="case_invalid")
        if case.uid in seen:
            raise CardError(
                f"Cases '{seen[case.uid]}' and '{case.name}' have the same variables.",
                code="case_twice",
                hint="Put the assertions of both into one case; use repeats to ask the same thing several times.",
            )
        seen[case.uid] = case.name
        result.append(case)
    return tuple(result)
