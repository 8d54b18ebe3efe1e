"""Reading a promptfoo configuration: what can run here is taken over, and everything else is reported."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from promptcard_ext.core.card import Card, ModelSettings
from promptcard_ext.core.errors import CardError, FileError
from promptcard_ext.core.identity import digest
from promptcard_ext.interchange.notices import Notices
from promptcard_ext.interchange.promptfoo.assertions import Surroundings
from promptcard_ext.interchange.promptfoo.cards import (
    PREFIX,
    SUFFIX,
    Naming,
    known_variables,
    make_card,
    with_settings,
)
from promptcard_ext.interchange.promptfoo.cases import Suite, make_cases
from promptcard_ext.interchange.promptfoo.imported import Batch, Endpoint, Imported
from promptcard_ext.interchange.promptfoo.models import KNOWN, Model, read_models
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.promptfoo.options import RunOptions, read_options
from promptcard_ext.interchange.promptfoo.prompts import Prompt, read_prompts
from promptcard_ext.interchange.promptfoo.source import Source
from promptcard_ext.interchange.promptfoo.tests import Test, empty_test, read_scenarios, read_test, read_tests
from promptcard_ext.interchange.yaml_document import YamlDocument
from promptcard_ext.stats.derived import DerivedMetric

_SECTIONS = frozenset(
    {"description", "prompts", "providers", "targets", "tests", "scenarios", "defaultTest", "assertionTemplates",
     "derivedMetrics", "evaluateOptions", "commandLineOptions", "env"}
)  # fmt: skip
# They say where results go, or how they are shown: that is asked for elsewhere.
_NOT_NEEDED = frozenset({"outputPath", "sharing", "writeLatestResults", "$schema", "author"})
_MANY = "several addresses"
_LABELS = frozenset({"tags", "metadata"})
_FORMULA = re.compile(r"\s*(?:async\s+)?(?:function\b|\(?[\w\s,{}=]*\)?\s*=>)")


def read_promptfoo(
    path: str | Path,
    *,
    known_providers: Collection[str] = KNOWN,
    environment: Mapping[str, str] | None = None,
    allow_outside: bool = False,
) -> Imported:
    """Read a promptfoo configuration (YAML or JSON).

    Nothing of it is run: JavaScript, Python and other programs are reported, not executed, and nothing is fetched.

    Args:
        known_providers: Names of the installed providers; models of others are reported.
        environment: For ``{{ env.NAME }}``; default: that of the process. Names that look like a secret's stay out.
        allow_outside: Whether files outside of the configuration's folder may be read.

    Raises:
        FileError: The file itself cannot be read, is not YAML, or is no configuration (``promptfoo_invalid``).
    """
    path, notices = Path(path), Notices()
    if path.suffix.lower() in (".js", ".ts", ".mjs", ".cjs", ".py"):
        raise FileError(
            f"{path} is a program, and an import runs none.",
            code="promptfoo_invalid",
            hint="Let promptfoo write the configuration as YAML, and import that.",
        )
    source = Source(path, notices, os.environ if environment is None else environment, allow_outside)
    document = YamlDocument(source.text(path), str(path))
    if not isinstance(document.value, dict) or not _SECTIONS & set(document.value):
        raise FileError(
            f"{path} is no promptfoo configuration: it has neither prompts nor providers nor tests.",
            code="promptfoo_invalid",
        )
    source.use_environment(document.value.get("env"))
    root = source.filled(Node(document.value, document.name, notices, document))
    return _Reader(root, source, known_providers).read()


class _Graders(NamedTuple):
    judges: tuple[str, ...] = ()
    embedder: str | None = None


class _Reader:
    """One configuration on its way."""

    def __init__(self, root: Node, source: Source, known_providers: Collection[str]) -> None:
        self.root, self.source, self.known_providers = root, source, known_providers
        # By provider: where its models are called (None is the usual place), and what its judges need for that.
        self.addresses: dict[str, str | None] = {}
        self.endpoints: dict[str, Endpoint] = {}

    def read(self) -> Imported:
        """Return everything that can be taken over."""
        root = self.root
        self._report_sections()
        models = read_models(self._first("providers", "targets"), self.source, self.known_providers)
        for model in models:
            # Models at several addresses are several runs, and a judge can be at only one of them.
            other = self.addresses.setdefault(model.provider, _base_url(model)) != _base_url(model)
            self.addresses[model.provider] = _MANY if other else _base_url(model)
        default = self._default()
        options = read_options(root)
        graders = self._graders(default, options)
        tests = [*read_tests(root.child("tests"), self.source), *read_scenarios(root.child("scenarios"), self.source)]
        around = Surroundings(root, self.source, self._judge)
        suite = Suite(around, default, self._transform(models), options.affixes)
        cases = make_cases(tests or [empty_test(root)], suite, root)
        known = known_variables(cases)
        affixes = [name for name in (PREFIX, SUFFIX) if name in known.names]
        prompts = read_prompts(self._prompts(), self.source)
        naming = Naming()
        cards = [(prompt, make_card(prompt, known, self.source, naming, affixes)) for prompt in prompts]
        made = [(prompt, card) for prompt, card in cards if card is not None]
        description = root.value.get("description")
        return Imported(
            str(self.source.config),
            "" if description is None else str(description),
            tuple(_batches(made, models, self.endpoints)),
            cases,
            graders.judges,
            graders.embedder or next((model.reference for model in models if model.embeds), None),
            self._derived(),
            self._repeats(options.repeats, default, tests),
            options.concurrency,
            options.timeout_s,
            options.deadline_s,
            options.mode,
            tuple(root.notices),
        )

    def _report_sections(self) -> None:
        for key in self.root.value:
            if key in _LABELS and self.root.has(key):
                self.root.child(key).info("labels_left", f"'{key}' of the configuration are not kept")
            elif key not in _SECTIONS | _LABELS and key not in _NOT_NEEDED:
                self.root.child(key).lost("option_unsupported", f"the section '{key!s:.60}' does not exist here")

    def _first(self, *keys: str) -> Node:
        return self.root.child(next((key for key in keys if self.root.has(key)), keys[0]))

    def _prompts(self) -> Node:
        # Without prompts, promptfoo sends the variable `prompt` as it is.
        return self.root.child("prompts") if self.root.has("prompts") else self.root.child("prompts", ["{{ prompt }}"])

    def _default(self) -> Test:
        node = self.root.child("defaultTest")
        if isinstance(node.value, str):
            found = list(read_tests(node, self.source))
            return found[0] if found else empty_test(node)
        return read_test(node, self.source) if node.value is not None else empty_test(node)

    def _transform(self, models: Sequence[Model]) -> Node | None:
        written = {str(model.transform.value) if model.transform else "" for model in models}
        first = next((model.transform for model in models if model.transform), None)
        if len(written) > 1 and first is not None:
            first.lost("option_unsupported", "only some models have a transform; it was left out")
            return None
        return first

    def _judge(self, node: Node) -> str | tuple[str, ...] | None:
        graders = self._read_graders(node)
        if graders.judges:
            return graders.judges[0] if len(graders.judges) == 1 else graders.judges
        return graders.embedder

    def _read_graders(self, node: Node) -> _Graders:
        if isinstance(node.value, dict) and {"text", "embedding"} & set(node.value):
            for key in set(node.value) - {"text", "embedding"}:
                node.child(key).lost("option_unsupported", f"models of the kind '{key!s:.60}' are not asked here")
            text, vectors = (self._callable(node.child(key)) for key in ("text", "embedding"))
            return _Graders(tuple(one.reference for one in text), vectors[0].reference if vectors else None)
        found = self._callable(node)
        judges = tuple(model.reference for model in found if not model.embeds)
        return _Graders(judges, next((model.reference for model in found if model.embeds), None))

    def _callable(self, node: Node) -> list[Model]:
        """Return the judges that this names; one that the run would call at another address is reported."""
        found = []
        for model in read_models(node, self.source, self.known_providers):
            # The judges of a run are called where its models are.
            taken = self.addresses.setdefault(model.provider, _base_url(model))
            if taken != _base_url(model):
                model.node.lost(
                    "judge_address",
                    f"'{model.label:.100}' has another address than the models of the configuration, and a run calls "
                    f"'{model.provider}' at one address",
                    "Name a judge of another provider (--judge, --embedder).",
                )
                continue
            if model.endpoint is not None and model.provider not in self.endpoints:
                self.endpoints[model.provider] = model.endpoint
            if model.settings != ModelSettings():
                model.node.changed("judge_settings", "the settings of a judge are not kept; judges are asked as usual")
            found.append(model)
        return found

    def _graders(self, default: Test, options: RunOptions) -> _Graders:
        node = default.options.get("provider") or options.grader
        return self._read_graders(node) if node is not None else _Graders()

    def _derived(self) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in self.root.child("derivedMetrics"):
            written = one.value if isinstance(one.value, dict) else {}
            name, formula = written.get("name"), str(written.get("value"))
            if _FORMULA.match(formula) or formula.startswith("file://"):
                one.lost("metric_unsupported", f"the metric '{name!s:.60}' is a program", "Write it as a formula.")
                continue
            try:
                metric = DerivedMetric(str(name), formula)
                found[metric.name] = metric.value
            except CardError as error:
                one.lost(error.code, error.message.rstrip("."), error.hint)
        return found

    def _repeats(self, repeats: int, default: Test, tests: Sequence[Test]) -> int:
        wanted = {str(_repeat(test, default, repeats)) for test in tests} or {str(_repeat(default, default, repeats))}
        if len(wanted) == 1 and (number := wanted.pop()).isdigit() and number != "0":
            return int(number)
        for test in (default, *tests):
            if "repeat" in test.options:
                test.options["repeat"].lost(
                    "option_unsupported", "repeats are for all cases, and some tests have their own"
                )
        return repeats


def _repeat(test: Test, default: Test, repeats: int) -> Any:
    option = test.options.get("repeat") or default.options.get("repeat")
    return repeats if option is None else option.value


def _batches(
    cards: Sequence[tuple[Prompt, Card]], models: Sequence[Model], judges: Mapping[str, Endpoint]
) -> list[Batch]:
    """Put together what can run as a full product: the same prompts, settings and addresses.

    Args:
        judges: Where the judges of a provider are, when no model of it is called.
    """
    groups: dict[Any, list[Model]] = {}
    for model in models:
        if not model.embeds:
            chosen = tuple(index for index, (prompt, _) in enumerate(cards) if _answers(model, prompt))
            settings = digest(msgspec.to_builtins(model.settings))
            groups.setdefault((chosen, settings, _address(model)), []).append(model)
    batches = []
    for (chosen, _, _), members in groups.items():
        if chosen:
            own = {model.provider: model.endpoint for model in members if model.endpoint is not None}
            others = {model.provider for model in members} - own.keys()
            endpoints = {name: one for name, one in judges.items() if name not in others} | own
            references = tuple(dict.fromkeys(model.reference for model in members))
            made = tuple(with_settings(cards[index][1], members[0].settings) for index in chosen)
            batches.append(Batch(made, references, endpoints))
    return batches or ([Batch(tuple(card for _, card in cards), (), dict(judges))] if cards else [])


def _base_url(model: Model) -> str | None:
    return model.endpoint.base_url if model.endpoint else None


def _address(model: Model) -> Any:
    # Another provider's address is no reason for another batch.
    endpoint: Endpoint | None = model.endpoint
    return (model.provider, endpoint.base_url, endpoint.api_key_env) if endpoint else None


def _answers(model: Model, prompt: Prompt) -> bool:
    for wanted in model.prompts:
        group = wanted.removesuffix("*").removesuffix(":")
        if prompt.label in (wanted, group) or prompt.name == wanted or prompt.label.startswith(f"{group}:"):
            return True
    return not model.prompts
