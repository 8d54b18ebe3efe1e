"""From the text of an assertion in Python to the function it stands for."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from promptcard_ext.core.assertions.checks import PREFIX, CheckMissing, registered

FILE = "file://"
DEFAULT_FUNCTION = "get_assert"
_INLINE = "<assertion>"
_loaded: dict[Path, tuple[tuple[int, int], ModuleType]] = {}

Function = Callable[..., Any]


def is_reference(value: str) -> bool:
    """Tell whether a value names a function in a file or a decorated one, and is not itself Python."""
    return value.startswith((FILE, PREFIX))


def function_of(value: str, base: Path) -> Function:
    """Return the function that a value stands for.

    Args:
        base: Folder that files are relative to.

    Raises:
        CheckMissing: There is no such file or function.
        Exception: Whatever the module of the function raises while it is loaded.
    """
    if value.startswith(PREFIX):
        return registered(value)
    return _from_file(value.removeprefix(FILE), base) if value.startswith(FILE) else _inline(value)


def call(function: Function, output: str | None, context: Mapping[str, Any]) -> Any:
    """Call it with the answer and, when it takes two arguments, the context."""
    return function(output, context) if _takes_two(function) else function(output)


def _takes_two(function: Function) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True


def parsed(source: str) -> ast.Module:
    """Return inline Python as a module that defines one function of ``output`` and ``context``.

    Raises:
        SyntaxError, ValueError, RecursionError, MemoryError: It is not Python, or too complicated to be read.
    """
    try:
        body: list[ast.stmt] = [ast.Return(ast.parse(source.strip(), _INLINE, "eval").body)]
    except SyntaxError:
        # `return` outside of a function is a mistake only for the compiler, which sees it inside of one.
        body = ast.parse(source, _INLINE).body
    module = ast.parse("def check(output, context): pass")
    module.body[0].body = body  # type: ignore[attr-defined]
    module = ast.fix_missing_locations(module)
    compile(module, _INLINE, "exec")
    return module


@lru_cache(maxsize=512)
def _inline(source: str) -> Function:
    import json
    import math
    import re

    names: dict[str, Any] = {"json": json, "math": math, "re": re}
    exec(compile(parsed(source), _INLINE, "exec"), names)  # noqa: S102  the user's own code, in the user's own process
    function: Function = names["check"]
    return function


def _from_file(reference: str, base: Path) -> Function:
    name, _, function = reference.rpartition(":")
    if not name or not function.isidentifier():
        name, function = reference, DEFAULT_FUNCTION
    path = (base / name).resolve()
    module = _module(path)
    found = getattr(module, function, None)
    if not callable(found):
        raise CheckMissing(f"There is no function '{function}' in {path}.")
    return found  # type: ignore[no-any-return]


def _module(path: Path) -> ModuleType:
    """Load a file, and load it anew once it was changed: in a notebook it is edited between two runs."""
    try:
        stat = path.stat()
    except OSError as error:
        raise CheckMissing(f"{path} cannot be read: {error.strerror or error}.") from None
    version = (stat.st_mtime_ns, stat.st_size)
    known = _loaded.get(path)
    if known is not None and known[0] == version:
        return known[1]
    name = f"promptcards_check_{path.stem}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise CheckMissing(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    with _importable(name, module, path.parent):
        spec.loader.exec_module(module)
    _loaded[path] = (version, module)
    return module


@contextmanager
def _importable(name: str, module: ModuleType, folder: Path) -> Iterator[None]:
    """Make a module known, where dataclasses look for it, and let it import its neighbours while it is loaded."""
    sys.modules[name] = module
    sys.path.insert(0, str(folder))
    try:
        yield
    except BaseException:
        del sys.modules[name]
        raise
    finally:
        sys.path.remove(str(folder))


def told(error: BaseException) -> str:
    """Return what went wrong in the user's code and where, in one line."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    own = [frame for frame in frames if "promptcard_ext" not in Path(frame.filename).parts]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error!s:.300}{where}"
