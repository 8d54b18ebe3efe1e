"""From the assertions of a configuration to ours."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import yaml

from promptcard_ext.core.assertions import Assertion, kinds
from promptcard_ext.core.errors import CardError, FileError, TemplateError
from promptcard_ext.interchange.csv_expected import PROMPTFOO_KINDS, parse_expected
from promptcard_ext.interchange.promptfoo.expressions import answer_path, transform_template
from promptcard_ext.interchange.promptfoo.imported import UNSUPPORTED
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.promptfoo.source import STRUCTURED, Source, reference
from promptcard_ext.interchange.promptfoo.templates import literal, translate
from promptcard_ext.interchange.yaml_document import Loader

MAX_REFERENCES = 20
_KEYS = frozenset(
    {"type", "value", "threshold", "weight", "metric", "provider", "rubricPrompt", "transform", "contextTransform",
     "config", "assert"}
)  # fmt: skip
_LISTS = frozenset({"contains-any", "contains-all", "icontains-any", "icontains-all"})
_SCHEMAS = frozenset({"is-json", "contains-json"})
# They judge how the answer came about, and not its text.
_NOT_TEXT = frozenset({"latency", "cost", "finish-reason", "perplexity", "perplexity-score", "guardrails"})
_STRUCTURED_VALUES = frozenset({"equals", "word-count", "webhook"})


class Surroundings(NamedTuple):
    """What holds for all assertions of a test.

    Attributes:
        root: The configuration, for ``$ref``.
        transform: What the test makes of an answer before it is judged: our template.
        no_transform: The test's transform when it does not run here; its assertions do not run either.
        rubric_prompt: Of the test's options.
        judge: Returns our reference for a provider of an assertion, or None after reporting it.
    """

    root: Node
    source: Source
    judge: Callable[[Node], str | tuple[str, ...] | None]
    transform: str | None = None
    no_transform: str = ""
    rubric_prompt: str | None = None


class _Refused(Exception):
    """Why an assertion does not run here, and what to do instead.

    Args:
        written: The assertion with what its test says about it; default as it stands.
    """

    def __init__(self, problem: str, hint: str = "", written: dict[str, Any] | None = None) -> None:
        super().__init__(problem)
        self.hint, self.written = hint, written


def read_assertions(node: Node, around: Surroundings) -> tuple[Assertion, ...]:
    """Return the assertions of an ``assert`` section; one that does not run here is reported and leaves its place."""
    found: list[Assertion] = []
    for one in node:
        if isinstance(one.value, str) and one.value.startswith("file://"):
            found += _from_file(one, around)
        else:
            found.append(read_assertion(one, around))
    return tuple(found)


def _from_file(node: Node, around: Surroundings) -> tuple[Assertion, ...]:
    wanted = reference(node.value)
    if wanted.suffix not in STRUCTURED:
        return (_placeholder(node, node.value, f"'{node.value:.200}' is no file of assertions"),)
    found: list[Assertion] = []
    for path in around.source.files(wanted, node):
        try:
            loaded = around.source.load(path)
        except FileError as error:
            return (_placeholder(node, node.value, error.message.rstrip(".")),)
        found += read_assertions(loaded, around._replace(root=loaded))
    return tuple(found)


def read_assertion(node: Node, around: Surroundings) -> Assertion:
    """Return one assertion, or a placeholder of weight 0 after reporting why it does not run here."""
    try:
        if isinstance(node.value, str):
            node = node.with_value(parse_expected(node.value))
        node = _referred(node, around.root)
        if not isinstance(node.value, dict) or not isinstance(node.value.get("type"), str):
            raise _Refused("it has no 'type'")
        return _assertion(node, around)
    except _Refused as refused:
        return _placeholder(node, refused.written or node.value, str(refused), refused.hint)
    except TemplateError as error:
        return _placeholder(node, node.value, error.message.rstrip("."))
    except (CardError, FileError) as error:
        hint = error.hint if error.code == "assertion_unknown" and "Did you mean" in error.hint else ""
        return _placeholder(node, node.value, error.message.rstrip("."), hint)


def _placeholder(node: Node, written: Any, why: str, hint: str = "") -> Assertion:
    kind = written.get("type") if isinstance(written, dict) else None
    node.lost(
        "assertion_unsupported", f"the assertion {f'{kind!r:.60} ' if kind else ''}does not run here: {why}", hint
    )
    text = json.dumps(written, ensure_ascii=False, default=str)
    metric = str((written.get("metric") if isinstance(written, dict) else None) or kind or "")[:100] or None
    return Assertion(UNSUPPORTED, literal(text[:20_000]), metric=metric, weight=0)


def _referred(node: Node, root: Node) -> Node:
    """Follow ``$ref: '#/assertionTemplates/name'``; what stands beside it comes before what it refers to.

    The place stays that of the reference: there the user sees what does not run.
    """
    for _ in range(MAX_REFERENCES):
        if not isinstance(node.value, dict) or not isinstance(node.value.get("$ref"), str):
            return node
        target, pointer = root, node.value["$ref"]
        if not pointer.startswith("#/"):
            raise _Refused(f"'$ref: {pointer:.100}' does not lead to a place in this file")
        for part in pointer[2:].split("/"):
            target = target.child(part.replace("~1", "/").replace("~0", "~"))
        if not isinstance(target.value, dict):
            raise _Refused(f"'$ref: {pointer:.100}' leads nowhere")
        beside = {key: value for key, value in node.value.items() if key != "$ref"}
        node = node.with_value({**target.value, **beside})
    raise _Refused("its '$ref' goes round in circles")


def _assertion(node: Node, around: Surroundings) -> Assertion:
    spec = node.value
    kind = spec["type"].removeprefix("not-")
    _refuse_left(kind)
    if around.no_transform and kind not in _NOT_TEXT:
        raise _Refused(
            f"it judges what the transform {around.no_transform!r:.100} makes of the answer, which is a program",
            written={"transform": around.no_transform} | spec,
        )
    for key in set(spec) - _KEYS:
        node.child(key).lost("option_unsupported", f"the assertion option '{key!s:.60}' does not exist here")
    weight = spec.get("weight")
    if weight == 0:
        node.info("weight_zero", "an assertion of weight 0 is reported and decides nothing; in promptfoo it passes")
    options = dict(spec["config"]) if isinstance(spec.get("config"), dict) else {}
    if node.has("contextTransform"):
        options["context_transform"] = _context(node.child("contextTransform"))
    fields: dict[str, Any] = {
        "type": spec["type"],
        "value": _value(kind, node, around),
        "threshold": spec.get("threshold"),
        "metric": str(spec["metric"]) if node.has("metric") else None,
        "weight": None if weight == 1 else weight,
        "provider": _judge(node, around),
        "transform": _own_transform(kind, node, around),
        "rubric_prompt": _rubric_prompt(node, around) if _takes_rubric(kind) else None,
        "options": options,
    }
    if kind == "assert-set":
        # What the test makes of an answer is done for each assertion inside.
        fields |= {"transform": None, "assertions": read_assertions(node.child("assert"), around)}
    return _made({name: one for name, one in fields.items() if one is not None and one != {}}, node)


def _made(fields: dict[str, Any], node: Node) -> Assertion:
    try:
        return Assertion(**fields)
    except CardError as error:
        own = {name: one for name, one in fields.get("options", {}).items() if name == "context_transform"}
        if not node.has("config") or own == fields["options"]:
            raise
        # There, whatever `config` holds goes to programs, and the other kinds pass it over.
        made = Assertion(**{**fields, "options": own})
        node.child("config").lost("option_unsupported", f"{error.message.rstrip('.')}; its 'config' was left out")
        return made


def _refuse_left(kind: str) -> None:
    if kind == "javascript":
        raise _Refused(
            "JavaScript is not run",
            "Write it as 'python', or with kinds such as contains, regex, word-count, is-json.",
        )
    if kind.startswith("promptfoo:redteam"):
        raise _Refused("it belongs to red-team scans, which do not exist here")
    if kind in PROMPTFOO_KINDS and kind not in kinds():
        raise _Refused(f"there is no counterpart of '{kind}'")


def _judge(node: Node, around: Surroundings) -> str | tuple[str, ...] | None:
    if not node.has("provider"):
        return None
    judge = around.judge(node.child("provider"))
    if judge is None:
        node.child("provider").changed("judge_changed", "the run's own judge or embedding model is asked instead")
    return judge


def _own_transform(kind: str, node: Node, around: Surroundings) -> str | None:
    if kind in _NOT_TEXT:
        return None
    if not node.has("transform"):
        return around.transform
    own = _transform(node.child("transform"))
    if around.transform and around.transform != own:
        raise _Refused(
            "it has a transform beside that of its test, and two in a row do not exist here",
            written={**node.value, "transform": [around.transform, node.value["transform"]]},
        )
    return own


def _transform(node: Node) -> str:
    expression = node.value if isinstance(node.value, str) else ""
    found = transform_template(expression)
    if found is None:
        raise _Refused(
            f"the transform {expression!r:.100} is a program; only parts of the answer can be taken "
            "(output.trim(), JSON.parse(output).total)"
        )
    return found


def _context(node: Node) -> str:
    path = answer_path(str(node.value))
    if path is None:
        raise _Refused(
            f"the context transform {node.value!r:.100} is JavaScript; only a path can be taken (output.context)"
        )
    return path


def _takes_rubric(kind: str) -> bool:
    return kind.startswith(
        ("llm-rubric", "g-eval", "factuality", "model-graded", "answer-", "context-", "conversation-", "select-best")
    )


def _rubric_prompt(node: Node, around: Surroundings) -> str | None:
    if not node.has("rubricPrompt"):
        return around.rubric_prompt
    return rubric_prompt(node.child("rubricPrompt"), around.source)


def rubric_prompt(node: Node, source: Source) -> str | None:
    """Return a prompt for the judge as one text: a conversation is its JSON.

    Raises:
        TemplateError: It uses what our template language does not have.
    """
    value = node.value
    if isinstance(value, str) and value.startswith("file://"):
        value = _from_reference(node, source)
    if value is None:
        return None
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False)
    return translate(value, "the prompt for the judge").text


def _value(kind: str, node: Node, around: Surroundings) -> Any:
    value = node.value.get("value")
    if isinstance(value, str) and value.startswith("file://"):
        value = (
            _script(node, around.source) if kind == "python" else _from_reference(node.child("value"), around.source)
        )
    if kind == "python":
        return value
    if kind in _LISTS and isinstance(value, str):
        return [_translated(part.strip()) for part in value.split(",")]
    if kind == "word-count" and isinstance(value, str) and value.isascii() and value.isdigit():
        return int(value)
    if kind in _SCHEMAS and isinstance(value, str):
        value = _parsed(value)
    if kind not in _STRUCTURED_VALUES and isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    if kind in _LISTS and isinstance(value, list):
        value = [str(one) for one in value]
    return _translated(value)


def _script(node: Node, source: Source) -> str:
    wanted = reference(node.value["value"])
    paths = source.files(wanted, node.child("value"))
    if not paths:
        raise _Refused(f"'{wanted.path:.200}' cannot be read")
    return f"file://{paths[0]}" + (f":{wanted.part}" if wanted.part else "")


def _from_reference(node: Node, source: Source) -> Any:
    wanted = reference(node.value)
    if wanted.is_script:
        raise _Refused(f"'{wanted.path:.200}' is a program")
    paths = source.files(wanted, node)
    if not paths:
        raise _Refused(f"'{wanted.path:.200}' cannot be read")
    return source.load(paths[0]).value if wanted.suffix in STRUCTURED else source.filled_text(paths[0]).strip()


def _parsed(text: str) -> Any:
    try:
        return yaml.load(text, Loader)  # noqa: S506  (a safe loader)
    except (yaml.YAMLError, RecursionError):
        raise _Refused("its schema is not JSON") from None


def _translated(value: Any) -> Any:
    if isinstance(value, str):
        return translate(value, "the assertion").text
    if isinstance(value, dict):
        return {str(key): _translated(one) for key, one in value.items()}
    return [_translated(one) for one in value] if isinstance(value, list) else value
