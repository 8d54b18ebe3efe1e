"""YAML for people: texts of several lines as blocks, and every text so that all readers take it for text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from promptcard_ext.core.errors import FileError
from promptcard_ext.interchange.yaml_document import Loader

_TEXT = "tag:yaml.org,2002:str"


def yaml_text(value: Any) -> str:
    """Return ``value`` (JSON) as YAML; keys stay in their order."""
    return yaml.dump(value, Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)


def write_yaml(path: Path, text: str) -> None:
    """Write a YAML text to a file.

    Raises:
        FileError: It cannot be written (``file_unwritable``).
    """
    try:
        path.write_text(text, "utf-8", newline="\n")
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}.", code="file_unwritable") from None


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


# Outside of quotation marks YAML 1.1 takes them for line ends, and makes one kind of all.
_OTHER_LINE_ENDS = ("\r", "\x85", "\u2028", "\u2029")
_RESOLVER = Loader("")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    if any(mark in text for mark in _OTHER_LINE_ENDS):
        return dumper.represent_scalar(_TEXT, text, style='"')
    if "\n" in text:
        # PyYAML quotes it after all where a block cannot hold it.
        return dumper.represent_scalar(_TEXT, text, style="|")
    # `no` is false in YAML 1.1, `1e3` is a number in YAML 1.2: a plain text must be one in both.
    plain = _RESOLVER.resolve(yaml.ScalarNode, text, (True, False)) == _TEXT  # type: ignore[no-untyped-call]
    return dumper.represent_scalar(_TEXT, text, style=None if plain else '"')


_Dumper.add_representer(str, _represent_text)
