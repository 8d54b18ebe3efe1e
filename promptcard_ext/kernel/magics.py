"""The magics: ``%%card``, ``%%case``, ``%run_card``, ``%cards``, ``%runs`` (``%load_ext promptcard_ext``)."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import msgspec
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, line_magic, magics_class, no_var_expand

from promptcard_ext.core.card import Card, ModelSettings, Variable
from promptcard_ext.core.errors import CardError, TemplateError
from promptcard_ext.interchange.yaml_document import Loader
from promptcard_ext.kernel import magic_line
from promptcard_ext.kernel.case_cell import read_case
from promptcard_ext.kernel.display import show_note, show_run
from promptcard_ext.kernel.handle import RunHandle
from promptcard_ext.kernel.listing import CardList, RunList
from promptcard_ext.kernel.magic_line import HelpWanted, MagicParser
from promptcard_ext.kernel.magic_names import Completion
from promptcard_ext.kernel.shelf import Place, Wanted

Use = TypeVar("Use", bound=Callable[..., Any])
Made = TypeVar("Made")


def _helpful(parser: Callable[[], MagicParser]) -> Callable[[Use], Use]:
    """Let ``--help`` print the help, which ``%magic?`` shows as well."""

    def decorate(use: Use) -> Use:
        @wraps(use)
        def called(*arguments: Any) -> Any:
            try:
                return use(*arguments)
            except HelpWanted as help_text:
                print(str(help_text).rstrip())  # noqa: T201  What was asked for.
                return None

        called.__doc__ = parser().format_help()
        return called  # type: ignore[return-value]

    return decorate


@magics_class
class PromptCardMagics(Magics):
    """Cards, cases and runs as magics of a notebook."""

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._place = Place()
        self.completion = Completion(self._place)

    @_helpful(magic_line.card_parser)
    @no_var_expand
    @line_cell_magic
    def card(self, line: str, body: str | None = None) -> None:
        """Save the body as the template of a card."""
        asked = magic_line.card_parser().read(line)
        card = _card(asked, _body(body, "card").rstrip("\n"))
        if asked.check:
            show_note(f"{card.name}: no mistake; not saved")
        else:
            shelf = self._place.shelf()
            card, version_id, new = shelf.save(card)
            note = f"{card.label} in {shelf.where}: {'saved' if new else 'saved before, nothing new'}"
            show_note(note, workspace_id=shelf.workspace_id, version_id=version_id, label=card.label)
            self.completion.forget()
        self._give(asked.output, card)

    @_helpful(magic_line.case_parser)
    @no_var_expand
    @line_cell_magic
    def case(self, line: str, body: str | None = None) -> None:
        """Save the body as a test case of a card."""
        asked = magic_line.case_parser().read(line)
        body = _body(body, "case")
        shelf = self._place.shelf()
        card = shelf.card(asked.card, "latest")
        case = read_case(body, card, asked.name)
        show_note(f"case '{case.name}' of {card.name} in {shelf.where}: {shelf.add_case(card.name, case)}")
        self._give(asked.output, case)

    @_helpful(magic_line.run_parser)
    @line_magic
    def run_card(self, line: str) -> RunHandle | None:
        """Run the cases of a card."""
        asked = magic_line.run_parser().read(line)
        shelf = self._place.shelf()
        name, _, which = asked.card.partition("@")
        models = asked.models or _models_before(shelf.runs(1, name), name)
        wanted = Wanted(
            models, asked.repeats, asked.concurrency, asked.budget, asked.judge, asked.embedder, asked.name, asked.again
        )
        run = shelf.run(shelf.card(name, which or "latest"), wanted)
        self.completion.forget()
        self._give(asked.output, run)
        if run.reused:
            show_note("The same was run before: this is that run. '--again' runs it anew.")
        if not asked.wait:
            return run
        show_run(run)
        run.wait()
        return None

    @_helpful(magic_line.cards_parser)
    @line_magic
    def cards(self, line: str) -> object:
        """List the cards."""
        asked = magic_line.cards_parser().read(line)
        found = CardList(one for one in self._place.shelf().cards() if one.has(asked.filter))
        return self._given(asked.output, found)

    @_helpful(magic_line.runs_parser)
    @line_magic
    def runs(self, line: str) -> object:
        """List the latest runs."""
        asked = magic_line.runs_parser().read(line)
        return self._given(asked.output, RunList(self._place.shelf().runs(max(1, asked.n))))

    def _give(self, name: str | None, value: object) -> None:
        if name is not None:
            self.shell.push({name: value})  # type: ignore[union-attr]

    def _given(self, name: str | None, value: object) -> object:
        """Return a result for the notebook to show, unless a variable takes it."""
        self._give(name, value)
        return value if name is None else None


def _body(body: str | None, magic: str) -> str:
    """Return the body of a cell; where one percent sign was typed there is none, which is right for ``--help`` only."""
    if body is None:
        raise CardError(
            f"%{magic} has no cell below it.",
            hint=f"Begin a cell with '%%{magic}', with two percent signs.",
            code="magic_usage",
        )
    return body


def _card(asked: Any, template: str) -> Card:
    try:
        return Card(
            asked.name,
            template,
            asked.system,
            asked.title,
            asked.description,
            tuple(map(_variable, asked.var)),
            tuple(asked.tag),
            _settings(asked.set),
            note=asked.note,
        )
    except TemplateError as error:
        if error.line and asked.system is None:
            error.hint = f"{error.hint} It is line {error.line + 1} of the cell.".strip()
        raise


def _variable(text: str) -> Variable:
    """Return what ``name:type=default`` declares."""
    head, equals, default = text.partition("=")
    name, _, kind = head.partition(":")
    fields: dict[str, Any] = {"name": name.strip(), "type": kind.strip() or "string"}
    if equals:
        fields["default"] = default if fields["type"] == "string" else _value(default)
    return _made(fields, Variable, f"--var {text}")


def _settings(texts: list[str]) -> ModelSettings:
    given = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise _misused(f"--set {text}", "it must be SETTING=VALUE")
        given[name.strip()] = _value(value)
    return _made(given, ModelSettings, "--set")


def _value(text: str) -> Any:
    """Return a value as YAML has it: ``0.2``, ``true``, ``[a, b]``, or a text."""
    import yaml

    try:
        return Loader(text).get_single_data()
    except yaml.YAMLError:
        return text


def _made(fields: dict[str, Any], kind: type[Made], where: str) -> Made:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise _misused(where, str(error)[:1].lower() + str(error)[1:]) from None


def _misused(where: str, problem: str) -> CardError:
    return CardError(f"%%card: {where}: {problem}.", hint="'%%card --help' says how.", code="magic_usage")


def _models_before(runs: RunList | list[Any], card: str) -> tuple[str, ...]:
    if not runs:
        raise CardError(
            f"Card '{card}' was never run, so the models must be named.",
            hint=f"For example: %run_card {card} simulated:echo",
            code="magic_usage",
        )
    found: tuple[str, ...] = runs[0].models
    return found


def load(shell: InteractiveShell) -> None:
    """Register the magics and their completion."""
    unload(shell)
    magics = PromptCardMagics(shell)
    shell.register_magics(magics)
    magics.completion.attach(shell)


def unload(shell: InteractiveShell) -> None:
    """Take the magics and their completion away."""
    for kind in ("line", "cell"):
        known = shell.magics_manager.magics[kind]
        for name in [
            name for name, use in known.items() if isinstance(getattr(use, "__self__", None), PromptCardMagics)
        ]:
            del known[name]
    Completion.detach(shell)
