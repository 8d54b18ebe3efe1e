"""Importing is cheap: what is heavy is loaded when it is first needed."""

import subprocess
import sys

import pytest

HEAVY = (
    "IPython",
    "tornado",
    "sqlalchemy",
    "redis",
    "ipywidgets",
    "pandas",
    "openai",
    "ollama",
    "altair",
    "jsonschema",
)
MEASURE = """
import sys, time
started = time.perf_counter()
import {module}
print((time.perf_counter() - started) * 1000)
print(",".join(sorted(sys.modules)))
"""


def fresh_import(module: str) -> tuple[float, set[str]]:
    """Import ``module`` in an interpreter of its own; return milliseconds and all modules it then has."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE.format(module=module)], capture_output=True, text=True, check=True, timeout=60
    )
    spent, modules = done.stdout.split()
    return float(spent), set(modules.split(","))


def test_the_package_is_there_in_150_milliseconds() -> None:
    assert min(fresh_import("promptcard_ext")[0] for _ in range(5)) < 150


@pytest.mark.parametrize("module", ["promptcard_ext", "promptcard_ext.core.engine", "promptcard_ext.core.assertions"])
def test_nothing_heavy_comes_with_it(module: str) -> None:
    _, modules = fresh_import(module)
    assert module in modules
    assert modules.isdisjoint(HEAVY)


def test_the_engine_brings_no_network() -> None:
    _, modules = fresh_import("promptcard_ext.core.engine")
    assert "aiohttp" not in modules


def test_the_providers_bring_only_aiohttp() -> None:
    _, modules = fresh_import("promptcard_ext.providers.openai_compatible, promptcard_ext.providers.ollama")
    assert "aiohttp" in modules
    assert modules.isdisjoint(HEAVY)
