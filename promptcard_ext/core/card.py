"""Prompt cards: a named template with typed variables, tags and model settings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from promptcard_ext.core import template
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.core.fields import coerce_fields
from promptcard_ext.core.identity import digest

NAME = re.compile(r"[a-z][a-z0-9-]{0,99}")
Identifier = Annotated[str, Meta(pattern=r"^[a-zA-Z][a-zA-Z0-9_]*$", max_length=100)]
Tag = Annotated[str, Meta(min_length=1, max_length=50)]
VariableType = Literal["string", "integer", "number", "boolean", "enum", "list", "json"]


class Message(Struct, frozen=True, forbid_unknown_fields=True):
    """One chat message as it goes to the model."""

    role: Literal["system", "user", "assistant"]
    content: str


class Variable(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A declared variable of a card.

    Attributes:
        name: Letters, digits and underscores, starting with a letter.
        type: Type that a value must have; ``enum`` needs ``values``.
        default: Used when a case gives no value; unset means that every case must.
    """

    name: Identifier
    type: VariableType = "string"
    description: Annotated[str, Meta(max_length=500)] = ""
    default: Any = msgspec.UNSET
    values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        coerce_fields(self, f"variable '{self.name!s:.60}'")
        if self.type == "enum" and not self.values:
            raise CardError(f"Variable '{self.name}' is an enum without 'values'.", code="variable_values")
        if self.default is not msgspec.UNSET:
            self.check(self.default, "the card (its default)")

    def check(self, value: Any, where: str) -> None:
        """Raise `CardError` (``variable_type``) when ``value`` does not fit; ``where`` names the case."""
        if self.type == "enum" and value not in self.values:
            raise CardError(
                f"Variable '{self.name}' of {where} is {value!r:.60}, not one of {', '.join(self.values)}.",
                code="variable_type",
            )
        if not _FITS[self.type](value):
            raise CardError(
                f"Variable '{self.name}' of {where} should be of type {self.type}, "
                f"but is {type(value).__name__} {value!r:.60}.",
                code="variable_type",
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


_FITS: dict[str, Callable[[Any], bool]] = {
    "string": lambda v: isinstance(v, str),
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": _is_number,
    "boolean": lambda v: isinstance(v, bool),
    "enum": lambda v: isinstance(v, str),
    "list": lambda v: isinstance(v, list | tuple),
    "json": lambda v: True,
}


class ModelSettings(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Sampling settings; what is not set is not sent, and the provider's default holds.

    Attributes:
        temperature: 0 to 2.
        max_tokens: Most tokens in the answer.
        seed: Seed of the first repeat; repeat *r* sends ``seed + r``.
        stream: Ask for a stream, which also measures the time to the first token.
        response_format: As the OpenAI protocol has it, for example ``{"type": "json_object"}``.
    """

    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(gt=0, le=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False
    response_format: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        coerce_fields(self, "the model settings")


class Card(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A prompt card in one version.

    Args:
        name: Slug: lower-case letters, digits, hyphens.
        template: The user message, with ``{{ variables }}``.
        system: The system message, also a template.
        variables: Declared variables; when none is declared they are taken from the templates.
        version: Number given by the server when saved; 0 for a card that is only in memory.

    Raises:
        CardError: A name, variable or limit is wrong.
        TemplateError: A template does not parse; has line and column.

    Example:
        >>> Card("greet", "Say hello to {{ who }}.").render({"who": "Ada"})[0].content
        'Say hello to Ada.'
    """

    name: str
    template: Annotated[str, Meta(min_length=1, max_length=template.MAX_TEMPLATE_CHARS)]
    system: Annotated[str, Meta(max_length=template.MAX_TEMPLATE_CHARS)] | None = None
    title: Annotated[str, Meta(max_length=500)] = ""
    description: Annotated[str, Meta(max_length=2000)] = ""
    variables: Annotated[tuple[Variable, ...], Meta(max_length=100)] = ()
    tags: Annotated[tuple[Tag, ...], Meta(max_length=20)] = ()
    settings: ModelSettings = ModelSettings()
    version: int = 0
    note: Annotated[str, Meta(max_length=500)] = ""

    def __post_init__(self) -> None:
        coerce_fields(self, f"card '{self.name!s:.60}'")
        if not NAME.fullmatch(self.name):
            slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
            raise CardError(
                f"'{self.name:.60}' is not a card name: use lower-case letters, digits and hyphens.",
                hint=f"For example '{slug}'." if NAME.fullmatch(slug) else "",
                code="card_name",
            )
        try:
            digest(self.content)
        except (TypeError, ValueError, RecursionError) as error:
            raise CardError(
                f"A default or a setting of card '{self.name}' is not JSON: {error}.",
                code="card_invalid",
                hint="Use text, numbers, true/false, null, lists and mappings.",
            ) from None
        used = self.used_variables
        if not self.variables:
            return
        declared = [variable.name for variable in self.variables]
        if len(set(declared)) < len(declared):
            twice = next(name for name in declared if declared.count(name) > 1)
            raise CardError(f"Card '{self.name}' declares variable '{twice}' twice.", code="variable_twice")
        for name in sorted(used - set(declared)):
            self._undeclared(name, declared)

    def _undeclared(self, name: str, declared: list[str]) -> None:
        source = self.template if name in template.parse(self.template, self._where).variables else self.system
        line, column = template.locate(source or "", name)
        close = difflib.get_close_matches(name, declared, 1)
        raise TemplateError(
            f"Card '{self.name}' uses variable '{name}' (line {line}, column {column}), which it does not declare.",
            line=line,
            column=column,
            code="unknown_variable",
            hint=f"Did you mean '{close[0]}'?" if close else "Add it to the card's variables.",
        )

    @property
    def _where(self) -> str:
        return f"card '{self.name}'"

    @property
    def label(self) -> str:
        """``name@version`` for a saved card, ``name@hash`` (six digits) for one in memory."""
        return f"{self.name}@{self.version or self.content_hash[:6]}"

    @property
    def used_variables(self) -> frozenset[str]:
        """Names of the variables that the templates use."""
        names = template.parse(self.template, self._where).variables
        return names | template.parse(self.system, self._where).variables if self.system else names

    @property
    def content(self) -> dict[str, Any]:
        """What makes this version what it is: messages, variables, settings. Tags and titles are not in it."""
        messages = [{"role": "system", "content": self.system}] if self.system else []
        messages.append({"role": "user", "content": self.template})
        return {
            "messages": messages,
            "variables": msgspec.to_builtins(self.variables),
            "settings": msgspec.to_builtins(self.settings),
        }

    @classmethod
    def from_content(cls, name: str, content: Mapping[str, Any], **head: Any) -> Card:
        """Return the card that has this `content`; ``head`` are the fields that are not part of it.

        Raises:
            CardError: The content is not one that this version of the program understands (``content_unknown``).
        """
        parts = {message["role"]: message["content"] for message in content["messages"]}
        if len(parts) < len(content["messages"]) or not {"user"} <= set(parts) <= {"user", "system"}:
            raise CardError(
                f"Card '{name}' has messages that this version does not understand.",
                hint="Update promptcards.",
                code="content_unknown",
            )
        fields = {"name": name, "template": parts["user"], "system": parts.get("system")}
        kept = {key: content[key] for key in ("variables", "settings")}
        return msgspec.convert({**fields, **kept, **head}, cls)

    @property
    def content_hash(self) -> str:
        """SHA-256 of the content; equal content is the same version."""
        return digest(self.content)

    def fill(self, given: Mapping[str, Any], where: str = "the test case") -> dict[str, Any]:
        """Return ``given`` with the defaults added.

        Raises:
            CardError: A value is missing (``missing_variable``), unknown (``unknown_variable``) or of the wrong type.
        """
        declared = {variable.name: variable for variable in self.variables}
        known = declared or dict.fromkeys(self.used_variables)
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                raise CardError(
                    f"{where[:1].upper()}{where[1:]} sets variable '{name}', which card '{self.name}' does not have.",
                    hint=f"Did you mean '{close[0]}'?" if close else f"It has: {', '.join(sorted(known))}.",
                    code="unknown_variable",
                )
        filled = {v.name: v.default for v in self.variables if v.default is not msgspec.UNSET} | dict(given)
        for name in known:
            if name not in filled:
                raise CardError(
                    f"{where[:1].upper()}{where[1:]} gives no value for variable '{name}' of card '{self.name}'.",
                    hint="Add it to the case, or declare a default in the card.",
                    code="missing_variable",
                )
            if name in declared:
                declared[name].check(filled[name], where)
        return filled

    def render(self, variables: Mapping[str, Any], where: str = "the test case") -> tuple[Message, ...]:
        """Return the messages for the model.

        Raises:
            CardError, TemplateError: As `fill` and `Template.render` say.
        """
        values = self.fill(variables, where)
        messages = []
        if self.system:
            messages.append(Message("system", template.parse(self.system, self._where).render(values)))
        messages.append(Message("user", template.parse(self.template, self._where).render(values)))
        return tuple(messages)
