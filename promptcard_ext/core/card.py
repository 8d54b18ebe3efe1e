"""Prompt cards: a named template, or a chat of them, with typed variables, tags and model settings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
from msgspec import Meta, Struct

from promptcard_ext.core import inclusion
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.core.fields import coerce_fields
from promptcard_ext.core.identity import digest
from promptcard_ext.core.messages import Example, Message, Role
from promptcard_ext.core.model_settings import ModelSettings
from promptcard_ext.core.shown import html_of
from promptcard_ext.core.template import MAX_TEMPLATE_CHARS, Template, locate, parse_all
from promptcard_ext.core.variables import Variable

if TYPE_CHECKING:
    from promptcard_ext.core.static_check import Problem

__all__ = ["Card", "Example", "Message", "ModelSettings", "Source", "Variable"]

# Of all messages and examples together.
MAX_CARD_CHARS = 500_000
NAME = re.compile(r"[a-z][a-z0-9-]{0,99}")
Title = Annotated[str, Meta(max_length=500)]
Description = Annotated[str, Meta(max_length=2000)]
Tag = Annotated[str, Meta(min_length=1, max_length=50)]
Tags = Annotated[tuple[Tag, ...], Meta(max_length=20)]
_CONTENT_KEYS = frozenset({"messages", "variables", "settings", "examples", "includes"})


class Source(NamedTuple):
    """One message of a card as it is written.

    Attributes:
        place: Where it stands: ``system``, ``template``, ``messages[2]``, ``examples[0].user``.
        role: Of the message.
        text: The template.
    """

    place: str
    role: Role
    text: str


class Card(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, dict=True):
    """A prompt card in one version.

    Args:
        name: Slug: lower-case letters, digits, hyphens.
        template: The user message, with ``{{ variables }}``.
        system: The system message, also a template.
        variables: Declared variables; when none is declared they are taken from the templates.
        version: Number given by the server when saved; 0 for a card that is only in memory.
        messages: Instead of ``template`` and ``system``: the whole chat, each message a template.
        examples: Questions with their right answers; they stand before the last user message.
        includes: Texts of the cards that the templates include, by reference; `compose` sets them.
        title, description: For people; not part of the version.
        tags: At most 20; not part of the version.
        settings: Of the model.
        note: What is new in this version.

    Raises:
        CardError: A name, variable or limit is wrong.
        TemplateError: A template does not parse; has line and column.

    Example:
        >>> Card("greet", "Say hello to {{ who }}.").render({"who": "Ada"})[0].content
        'Say hello to Ada.'
    """

    name: str
    template: Annotated[str, Meta(max_length=MAX_TEMPLATE_CHARS)] = ""
    system: Annotated[str, Meta(max_length=MAX_TEMPLATE_CHARS)] | None = None
    title: Title = ""
    description: Description = ""
    variables: Annotated[tuple[Variable, ...], Meta(max_length=100)] = ()
    tags: Tags = ()
    settings: ModelSettings = ModelSettings()
    version: int = 0
    note: Annotated[str, Meta(max_length=500)] = ""
    messages: Annotated[tuple[Message, ...], Meta(max_length=100)] = ()
    examples: Annotated[tuple[Example, ...], Meta(max_length=50)] = ()
    includes: dict[str, str] = {}

    def __post_init__(self) -> None:
        coerce_fields(self, f"card '{self.name!s:.60}'")
        if not NAME.fullmatch(self.name):
            slug = re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")
            raise CardError(
                f"'{self.name:.60}' is not a card name: use lower-case letters, digits and hyphens.",
                hint=f"For example '{slug}'." if NAME.fullmatch(slug) else "",
                code="card_name",
            )
        self._check_form()
        try:
            digest(self.content)
        except (TypeError, ValueError, RecursionError) as error:
            raise CardError(
                f"A default or a setting of card '{self.name}' is not JSON: {error}.",
                code="card_invalid",
                hint="Use text, numbers, true/false, null, lists and mappings.",
            ) from None
        self._check_variables()
        inclusion.check_carried(self)

    def _check_form(self) -> None:
        problem = ""
        if bool(self.template) == bool(self.messages):
            problem = "needs either 'template' or 'messages'"
        elif self.messages and all(message.role != "user" for message in self.messages):
            problem = "has no user message"
        elif self.messages and self.system:
            problem = "has 'messages' and 'system'; write the system message as the first of the messages"
        elif sum(len(one.text) for one in self.sources) > MAX_CARD_CHARS:
            problem = f"has messages of more than {MAX_CARD_CHARS:,} characters"
        elif any(not 0 < len(message.content) <= MAX_TEMPLATE_CHARS for message in self.messages):
            problem = f"has a message that is empty or longer than {MAX_TEMPLATE_CHARS:,} characters"
        elif self.messages and self.messages[-1].role == "system":
            problem = "ends with a system message, and so has nothing to answer"
        if problem:
            raise CardError(f"Card '{self.name}' {problem}.", code="card_messages")

    def _check_variables(self) -> None:
        used = self.used_variables
        declared = [variable.name for variable in self.variables]
        if len(set(declared)) < len(declared):
            twice = next(name for name in declared if declared.count(name) > 1)
            raise CardError(f"Card '{self.name}' declares variable '{twice}' twice.", code="variable_twice")
        if declared and (undeclared := sorted(used - set(declared))):
            raise self._undeclared(undeclared, declared)
        for variable in self.variables:
            if variable.type == "secret" and variable.name in used:
                raise self._located(
                    f"Card '{self.name}' uses the secret '{variable.name}' in a message",
                    variable.name,
                    code="secret_in_template",
                    hint="What a prompt says is stored and sent; a secret is for code of your own, not for the model.",
                )

    def _undeclared(self, names: list[str], declared: list[str]) -> TemplateError:
        close = difflib.get_close_matches(names[0], declared, 1)
        hint = f"Did you mean '{close[0]}'?" if close else "Add it to the card's variables."
        if others := [f"'{name}' ({self._place(name)[0]})" for name in names[1:11]]:
            hint += f" Also not declared: {', '.join(others)}{', …' if len(names) > 11 else ''}."
        problem = f"Card '{self.name}' uses a variable '{names[0]}' that it does not declare"
        return self._located(problem, names[0], code="unknown_variable", hint=hint)

    def _located(self, problem: str, name: str, *, code: str, hint: str) -> TemplateError:
        place, line, column = self._place(name)
        return TemplateError(f"{problem} ({place}).", line=line, column=column, code=code, hint=hint)

    def _place(self, name: str) -> tuple[str, int, int]:
        """Return in words, as line and as column where a variable is used first."""
        holder = next(one for one in self._all_templates() if name in one.own_variables)
        line, column = locate(holder.source, name)
        inside = f" of {holder.name}" if holder.name != self._where else ""
        return f"line {line}, column {column}{inside}", line, column

    def _all_templates(self) -> Iterator[Template]:
        """Yield the templates of the messages, and then those that they include."""
        yield from self.templates
        for one in self.templates:
            yield from one.all_included().values()

    @property
    def _where(self) -> str:
        return f"card '{self.name}'"

    @property
    def label(self) -> str:
        """``name@version`` for a saved card, ``name@hash`` (six digits) for one in memory."""
        return f"{self.name}@{self.version or self.content_hash[:6]}"

    @property
    def sources(self) -> tuple[Source, ...]:
        """The templates of all messages as they are written, in the order of the messages."""
        if self.messages:
            given = [Source(f"messages[{i}]", one.role, one.content) for i, one in enumerate(self.messages)]
        else:
            given = [Source("system", "system", self.system)] if self.system else []
            given.append(Source("template", "user", self.template))
        shown = []
        for index, example in enumerate(self.examples):
            shown.append(Source(f"examples[{index}].user", "user", example.user))
            shown.append(Source(f"examples[{index}].assistant", "assistant", example.assistant))
        last_user = max(index for index, one in enumerate(given) if one.role == "user")
        return (*given[:last_user], *shown, *given[last_user:])

    @cached_property
    def templates(self) -> tuple[Template, ...]:
        """The parsed templates of `sources`, in the same order."""
        return parse_all([one.text for one in self.sources], self._where, self.includes)

    @cached_property
    def _parsed(self) -> tuple[tuple[Role, Template], ...]:
        """Role and parsed template of every message."""
        return tuple((source.role, one) for source, one in zip(self.sources, self.templates, strict=True))

    @cached_property
    def used_variables(self) -> frozenset[str]:
        """Names of the variables that the templates use, those of included texts among them."""
        return frozenset().union(*(one.variables for one in self.templates))

    @cached_property
    def references(self) -> frozenset[str]:
        """What the templates include, directly or through another text: ``house-style@2``."""
        return frozenset().union(*(one.references for one in self.templates))

    def compose(self, cards: inclusion.Cards) -> Card:
        """Return the card with the texts of all cards that it includes, so that it stands for itself.

        Args:
            cards: Cards with their versions, or a function that finds one: ``find(name, version) -> Card``.

        Raises:
            CardError: There is no such card or version (``include_unknown``), or it has no such text.
            TemplateError: Texts include each other in a circle or too deep.

        Example:
            >>> style = Card("style", "Be brief.", version=2)
            >>> Card("ask", '{% include "style@2" %} {{ q }}').compose([style]).render({"q": "Why?"})[0].content
            'Be brief. Why?'
        """
        return inclusion.composed(self, cards)

    def problems(self) -> tuple[Problem, ...]:
        """Return what is wrong with the card, or probably is, without rendering it; errors first.

        Example:
            >>> [problem.code for problem in Card("c", "{% for who in who %}{{ who }}{% endfor %}").problems()]
            ['variable_shadowed']
        """
        from promptcard_ext.core.static_check import check

        return check(self)

    @property
    def content(self) -> dict[str, Any]:
        """What makes this version what it is: messages, variables, settings. Tags and titles are not in it."""
        if self.messages:
            messages = [{"role": message.role, "content": message.content} for message in self.messages]
        else:
            messages = [{"role": "system", "content": self.system}] if self.system else []
            messages.append({"role": "user", "content": self.template})
        content: dict[str, Any] = {
            "messages": messages,
            "variables": msgspec.to_builtins(self.variables),
            "settings": msgspec.to_builtins(self.settings),
        }
        # Only when there are any: what was saved before they existed keeps its hash.
        if self.examples:
            content["examples"] = msgspec.to_builtins(self.examples)
        if self.includes:
            content["includes"] = dict(self.includes)
        return content

    @classmethod
    def from_content(cls, name: str, content: Mapping[str, Any], **head: Any) -> Card:
        """Return the card that has this `content`; ``head`` are the fields that are not part of it.

        Raises:
            CardError: The content is not one that this version of the program understands (``content_unknown``).
        """
        roles = [message.get("role") for message in content["messages"]]
        if not set(roles) <= {"system", "user", "assistant"} or not content.keys() <= _CONTENT_KEYS:
            raise CardError(
                f"Card '{name}' has content that this version does not understand.",
                hint="Update promptcards.",
                code="content_unknown",
            )
        fields: dict[str, Any] = {"name": name}
        if roles in (["user"], ["system", "user"]):
            texts = {message["role"]: message["content"] for message in content["messages"]}
            fields |= {"template": texts["user"], "system": texts.get("system")}
        else:
            fields["messages"] = content["messages"]
        kept = {key: value for key, value in content.items() if key != "messages"}
        return msgspec.convert({**fields, **kept, **head}, cls)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the content; equal content is the same version."""
        return digest(self.content)

    def _repr_html_(self) -> str | None:
        return html_of(self)

    @cached_property
    def _known(self) -> dict[str, Variable | None]:
        declared: dict[str, Variable | None] = {variable.name: variable for variable in self.variables}
        return declared or dict.fromkeys(sorted(self.used_variables))

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        return {one.name: one.default for one in self.variables if one.default is not msgspec.UNSET}

    def fill(self, given: Mapping[str, Any], where: str = "the test case") -> dict[str, Any]:
        """Return ``given`` with the defaults added.

        Raises:
            CardError: A value is missing (``missing_variable``), unknown (``unknown_variable``), of the wrong type
                (``variable_type``) or out of its limits (``variable_value``).
        """
        known = self._known
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, 1)
                raise CardError(
                    f"{where[:1].upper()}{where[1:]} sets variable '{name}', which card '{self.name}' does not have.",
                    hint=f"Did you mean '{close[0]}'?" if close else f"It has: {', '.join(sorted(known))}.",
                    code="unknown_variable",
                )
        filled = self._defaults | dict(given)
        for name, variable in known.items():
            if name not in filled:
                raise CardError(
                    f"{where[:1].upper()}{where[1:]} gives no value for variable '{name}' of card '{self.name}'.",
                    hint="Add it to the case, or declare a default in the card.",
                    code="missing_variable",
                )
            if variable is not None:
                variable.check(filled[name], where)
        return filled

    def check_secrets(self, given: Mapping[str, Any], where: str = "the test case") -> None:
        """Check that what is given for a secret only refers to it, before it is kept anywhere.

        Raises:
            CardError: It is something else (``variable_type``); the message does not repeat it.
        """
        for variable in self.variables:
            if variable.type == "secret" and variable.name in given:
                variable.check(given[variable.name], where)

    def render(self, variables: Mapping[str, Any], where: str = "the test case") -> tuple[Message, ...]:
        """Return the messages for the model.

        Raises:
            CardError, TemplateError: As `fill` and `Template.render` say.
        """
        values = self.fill(variables, where)
        return tuple([Message(role, parsed.render(values)) for role, parsed in self._parsed])
