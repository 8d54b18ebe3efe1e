"""The files that a configuration refers to. It may come from anybody, so they are read from its own folder only."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.notices import Notices
from promptcard_ext.interchange.promptfoo.node import Node
from promptcard_ext.interchange.yaml_document import YamlDocument, read_text

MAX_FILES = 1_000
MAX_BYTES = 50_000_000
STRUCTURED = frozenset({".yaml", ".yml", ".json"})
SCRIPTS = frozenset(
    {".js", ".cjs", ".mjs", ".ts", ".cts", ".mts", ".py", ".rb", ".go", ".sh", ".bash", ".pl", ".php", ".ps1"}
)
_ENV = re.compile(
    r"\{\{-?\s*env(?:\.(\w+)|\[\s*['\"](\w+)['\"]\s*\])\s*"
    r"(?:\|\s*default\(\s*(?:'([^'{}]*)'|\"([^\"{}]*)\")\s*(?:,\s*true\s*)?\)\s*)?-?\}\}"
)
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIAL", re.IGNORECASE)
# Keys of a configuration whose texts name a variable that holds a secret, and never hold the secret itself.
_KEPT = frozenset({"apiKey"})


class Reference(NamedTuple):
    """A reference to a file: ``file://tests.xlsx#Sheet2``, ``file://check.py:judge``.

    Attributes:
        path: As it was written, relative to the configuration; may hold ``*`` and ``?``.
        part: Sheet of a spreadsheet, or name of a function.
    """

    path: str
    part: str = ""

    @property
    def suffix(self) -> str:
        """Ending of the file name, in lower case."""
        return Path(self.path).suffix.lower()

    @property
    def is_script(self) -> bool:
        """Whether it is a program, which is never run here."""
        return self.suffix in SCRIPTS


def reference(text: str) -> Reference:
    """Take a reference apart."""
    path = text.removeprefix("file://")
    script = re.fullmatch(r"(.*\.\w{1,4}):([A-Za-z_][\w.]*)", path)
    if script and Path(script[1]).suffix.lower() in SCRIPTS:
        return Reference(script[1], script[2])
    sheet = re.fullmatch(r"(.*\.xlsx?)#(.+)", path, re.IGNORECASE)
    return Reference(sheet[1], sheet[2]) if sheet else Reference(path)


class Source:
    """The configuration's folder.

    Args:
        config: The configuration file.
        environment: Values for ``{{ env.NAME }}``; names that look like a secret's are not given away.
        allow_outside: Whether files outside of the configuration's folder may be read.
    """

    def __init__(
        self, config: Path, notices: Notices, environment: Mapping[str, str], allow_outside: bool = False
    ) -> None:
        self.config, self.notices, self.allow_outside = config, notices, allow_outside
        self.folder = config.parent.resolve()
        self.environment = dict(environment)
        self._own: dict[str, str] = {}
        self._read = 0

    def use_environment(self, own: Any) -> None:
        """Let the configuration's own ``env`` section come before the process's environment."""
        if isinstance(own, dict):
            self._own = {str(name): _text(value) for name, value in own.items() if not isinstance(value, dict | list)}

    def files(self, wanted: Reference, node: Node) -> list[Path]:
        """Return the files that a reference means, in order of their names; reports when there is none."""
        path = Path(wanted.path)
        if any(mark in wanted.path for mark in "*?["):
            found = self._glob(wanted.path)
        elif (self.folder / path).is_dir():
            found = sorted(one for one in (self.folder / path).iterdir() if one.is_file())
        else:
            found = [self.folder / path]
        inside = [one for one in found if self._may_read(one)]
        if len(inside) < len(found):
            node.lost(
                "file_outside",
                f"'{wanted.path:.200}' is outside of the configuration's folder and was not read",
                "Allow it with --allow-outside (allow_outside=True) if you trust the configuration.",
            )
        present = [one for one in inside if one.is_file()]
        if not present and len(inside) == len(found):
            node.lost("file_missing", f"there is no file '{wanted.path:.200}'")
        return present

    def _glob(self, pattern: str) -> list[Path]:
        parts = Path(pattern).parts
        fixed = next(index for index, part in enumerate(parts) if any(mark in part for mark in "*?["))
        root = self.folder.joinpath(*parts[:fixed])
        if not self._may_read(root):
            return [root]
        found = root.glob(str(Path(*parts[fixed:])))
        return sorted(itertools.islice((one for one in found if one.is_file()), MAX_FILES))

    def _may_read(self, path: Path) -> bool:
        return self.allow_outside or path.resolve().is_relative_to(self.folder)

    def shown(self, path: Path) -> str:
        """Return how to call a file in messages: relative to the configuration where that is possible."""
        resolved = path.resolve()
        if resolved == self.config.resolve():
            return str(self.config)
        return str(resolved.relative_to(self.folder)) if resolved.is_relative_to(self.folder) else str(path)

    def text(self, path: Path) -> str:
        """Return the text of a file.

        Raises:
            FileError: As `read_text` says; or the files together have more than 50,000,000 bytes (``file_too_large``).
        """
        text = read_text(path, MAX_BYTES)
        self._read += len(text)
        if self._read > MAX_BYTES:
            raise FileError(
                f"{self.config}: its files have more than {MAX_BYTES:,} bytes together.", code="file_too_large"
            )
        return text

    def filled_text(self, path: Path) -> str:
        """Return the text of a file, with ``{{ env.NAME }}`` replaced.

        Raises:
            FileError: As `text` says.
        """
        filled: str = self.filled(Node(self.text(path), self.shown(path), self.notices)).value
        return filled

    def load(self, path: Path) -> Node:
        """Return a YAML or JSON file, with ``{{ env.NAME }}`` replaced.

        Raises:
            FileError: It cannot be read or is not YAML.
        """
        document = YamlDocument(self.text(path), self.shown(path))
        return self.filled(Node(document.value, document.name, self.notices, document))

    def filled(self, node: Node) -> Node:
        """Return the node with ``{{ env.NAME }}`` replaced in all its texts.

        Raises:
            FileError: It contains itself (``yaml_syntax``).
        """
        try:
            return node.with_value(self._fill(node))
        except RecursionError:
            raise FileError(f"{node.file}: not valid YAML: it is nested too deeply.", code="yaml_syntax") from None

    def _fill(self, node: Node) -> Any:
        value = node.value
        if isinstance(value, str):
            return _ENV.sub(lambda found: self._variable(found, node), value) if "env" in value else value
        if isinstance(value, dict):
            return {
                key: one if key in _KEPT else self._fill(node.child(key, one)) if one is not None else None
                for key, one in value.items()
            }
        if isinstance(value, list):
            return [self._fill(node.child(index, one)) if one is not None else None for index, one in enumerate(value)]
        return value

    def _variable(self, found: re.Match[str], node: Node) -> str:
        name = found[1] or found[2]
        default = found[3] if found[3] is not None else found[4]
        if name in self._own:
            return self._own[name]
        if _SECRET.search(name):
            node.lost("env_secret", f"the environment variable {name} looks like a secret and was not put into a text")
            return ""
        if name in self.environment:
            return self.environment[name]
        if default is None:
            node.changed("env_missing", f"the environment variable {name} is not set; it is read as an empty text")
        return default or ""


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
