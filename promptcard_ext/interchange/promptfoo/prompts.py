"""The prompts of a configuration: texts, conversations and files of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.notices import Notices
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.promptfoo.source import SCRIPTS, Reference, Source, reference
from promptcard_ext.interchange.yaml_document import Loader

SEPARATOR = "---"
_TEXT_FILES = frozenset({".txt", ".md", ".j2", ".json", ".jsonl", ".yaml", ".yml", ".csv"})
_ELSEWHERE = re.compile(r"(?:langfuse|portkey|helicone|exec|http|https|python|package):")
# A text of JSON, or a tag outside of one.
_DUMPED = re.compile(r"""("(?:\\.|[^"\\])*")|\{\{-?\s*([^{}|"']+?)\s*\|\s*(?:dump|tojson)\s*(?:\(\s*\))?\s*-?\}\}""")
_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant"}


class Turn(NamedTuple):
    """One message of a prompt, still in promptfoo's template language.

    Attributes:
        node: Where it stands.
        first_line: Line of ``node`` on which the text begins.
    """

    role: str
    text: str
    node: Node
    first_line: int = 1


class Prompt(NamedTuple):
    """A prompt of the configuration.

    Attributes:
        name: What a card made of it could be called: a label, or the name of its file.
        label: As the configuration's models refer to it.
        config: Settings that hold for this prompt only.
    """

    name: str
    label: str
    turns: tuple[Turn, ...]
    config: Node | None = None


def read_prompts(node: Node, source: Source) -> list[Prompt]:
    """Return the prompts of a ``prompts`` section; what is no text is reported."""
    found: list[Prompt] = []
    if isinstance(node.value, dict) and not {"raw", "id", "label"} & set(node.value):
        # The older form: files by path, with their labels.
        for path, label in node.value.items():
            found += _read_one(node.child(path, {"id": str(path), "label": str(label)}), source)
        return found
    for one in node:
        found += _read_one(one, source)
    return found


def _read_one(node: Node, source: Source) -> list[Prompt]:
    label, config, text_node = "", None, node
    if isinstance(node.value, dict):
        key = next((key for key in ("raw", "prompt", "id") if isinstance(node.value.get(key), str)), None)
        if "role" in node.value or key is None:
            node.lost("prompt_unsupported", "this is no prompt: it has neither 'raw' nor 'id'")
            return []
        label = str(node.value.get("label") or node.value.get("display") or "")
        config = node.child("config") if node.has("config") else None
        text_node = node.child(key)
        for more in set(node.value) - {"raw", "prompt", "id", "label", "config", "display"}:
            node.child(more).lost("option_unsupported", f"the prompt option '{more!s:.60}' does not exist here")
    if not isinstance(text_node.value, str):
        node.lost("prompt_unsupported", "this is no prompt: neither a text nor the name of a file")
        return []
    text = text_node.value
    if _ELSEWHERE.match(text) or (
        not text.startswith("file://") and reference(text).suffix in SCRIPTS and " " not in text
    ):
        text_node.lost(
            "prompt_unsupported", f"'{text:.100}' is not a text: prompts are not fetched, nor made by programs"
        )
        return []
    if _is_file(text, source):
        return list(_from_files(reference(text), text_node, label, config, source))
    turns = _turns(text, text_node)
    return [Prompt(label or "prompt", label or text, turns, config)] if turns else []


def _is_file(text: str, source: Source) -> bool:
    if text.startswith("file://"):
        return True
    one_word = "\n" not in text and len(text) < 500 and "{{" not in text
    return (
        one_word and Path(text).suffix.lower() in _TEXT_FILES and (" " not in text or (source.folder / text).is_file())
    )


def _from_files(wanted: Reference, node: Node, label: str, config: Node | None, source: Source) -> Iterator[Prompt]:
    if wanted.is_script:
        node.lost(
            "prompt_unsupported",
            f"'{wanted.path:.200}' makes its prompts with a program",
            "Write the text of the prompt into the file, with {{ variables }}.",
        )
        return
    for path in source.files(wanted, node):
        try:
            text = source.filled_text(path)
            parts = list(_parts(path, text, source.shown(path), node.notices))
        except FileError as error:
            node.lost(error.code, error.message.rstrip("."))
            continue
        for number, (part_label, turns) in enumerate(parts, 1):
            name = part_label or label or path.stem
            if len(parts) > 1 and not part_label:
                name = f"{name} {number}"
            shown = f"{label}: {name}" if label and len(parts) > 1 else label or part_label or source.shown(path)
            yield Prompt(name, shown, turns, config)


def _parts(path: Path, text: str, shown: str, notices: Notices) -> Iterator[tuple[str, tuple[Turn, ...]]]:
    """Yield the label (if it has one of its own) and the messages of every prompt in a file."""
    if path.suffix.lower() == ".csv":
        for row in csv.DictReader(io.StringIO(text)):
            at = Node(row.get("prompt"), shown, notices, label="column 'prompt'")
            if turns := _turns(row.get("prompt") or "", at):
                yield (row.get("label") or "").strip(), turns
        return
    pieces: Iterator[tuple[int, str]] = iter([(1, text)])
    if path.suffix.lower() == ".txt":
        pieces = _separated(text)
    elif path.suffix.lower() == ".jsonl":
        pieces = ((number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip())
    for number, (line, piece) in enumerate(pieces, 1):
        if turns := _turns(piece, Node(piece, shown, notices, label=f"prompt {number}"), line):
            yield "", turns


def _separated(text: str) -> Iterator[tuple[int, str]]:
    start, lines = 1, []
    for number, line in enumerate([*text.splitlines(), SEPARATOR], 1):
        if line.strip() != SEPARATOR:
            lines.append(line)
            continue
        piece = "\n".join(lines)
        if piece.strip():
            blank = len(piece) - len(piece.lstrip())
            yield start + piece.count("\n", 0, blank), piece.strip()
        start, lines = number + 1, []


def _turns(text: str, node: Node, first_line: int = 1) -> tuple[Turn, ...]:
    """Return the messages of a prompt: those of a conversation in JSON or YAML, else one of the user."""
    if not text.strip():
        node.lost("prompt_unsupported", "the prompt is empty")
        return ()
    messages = _conversation(text)
    if messages is None:
        if re.match(r"\s*\[\s*(?:\{%.*?%\}\s*)?\{\s*[\"']role[\"']", text, re.DOTALL):
            _report_chosen(text, node)
            return ()
        return (Turn("user", text, node, first_line),)
    turns: list[Turn] = []
    for index, message in enumerate(messages):
        content = _content(message.get("content"))
        role = _ROLES.get(str(message.get("role")))
        if role is None or content is None:
            problem = (
                f"has the role '{message.get('role')!s:.40}', and there are {', '.join(_ROLES)}"
                if role is None
                else "has something other than text, and prompts are text"
            )
            node.lost("prompt_unsupported", f"message {index + 1} of the conversation {problem}")
            return ()
        turns.append(Turn(role, content, node, first_line))
    return tuple(turns)


def _report_chosen(text: str, node: Node) -> None:
    if "_conversation" in text:
        problem = "a conversation that goes on with the answers of the tests before does not run here"
        hint = "Each case is asked by itself. Put the earlier messages into the prompt, with {{ variables }}."
    else:
        problem = "a conversation whose messages are chosen by its template cannot be taken apart"
        hint = "Write one prompt for each choice, or move the choice into the text of a message."
    node.lost("prompt_unsupported", problem, hint)


def _json_or_template(text: str) -> Any:
    """Return JSON; `{{ value | dump }}` where JSON wants a value is the text `{{ value }}`."""
    try:
        return json.loads(text)
    except ValueError:
        return json.loads(_DUMPED.sub(lambda found: found[1] or json.dumps(f"{{{{ {found[2]} }}}}"), text))


def _conversation(text: str) -> list[dict[str, Any]] | None:
    stripped = text.lstrip()
    value: Any = None
    try:
        if stripped[:1] in ("[", "{"):
            value = _json_or_template(text)
        elif re.match(r"-\s+(?:\{\s*)?['\"]?role['\"]?\s*:", stripped):
            value = yaml.load(text, Loader)  # noqa: S506  (a safe loader)
    except (ValueError, RecursionError, yaml.YAMLError):
        return None
    if isinstance(value, dict) and isinstance(value.get("messages"), list):
        value = value["messages"]
    if isinstance(value, dict) and "role" in value:
        value = [value]
    if isinstance(value, list) and value and all(isinstance(one, dict) and "role" in one for one in value):
        return value
    return None


def _content(content: Any) -> str | None:
    if isinstance(content, str):
        return content
    if isinstance(content, list) and all(isinstance(one, dict) and one.get("type") == "text" for one in content):
        return "\n".join(str(one.get("text", "")) for one in content)
    return None
