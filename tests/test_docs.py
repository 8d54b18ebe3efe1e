"""The documents against the code: what is there is documented, what is documented is there, and the samples run."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from promptcard_ext.cli import build_parser
from promptcard_ext.core import assertions, template_language
from promptcard_ext.core.results import Outcome
from promptcard_ext.core.template_filters import FILTERS
from promptcard_ext.interchange.frames import DTYPES
from server_ext.api.errors import STATUS, STATUS_OF_CODE
from server_ext.api.routes import OPERATIONS, STREAMS
from server_ext.app import PromptCards
from server_ext.db import errors as database_errors

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
WITH_SAMPLES = [ROOT / "README.md", *sorted((DOCS / "users").glob("*.md"))]
NEEDS_SERVER = "# needs a server"
ANY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))

# Codes are given as `code="…"`, as a class's `code = "…"`, in pairs, and in dictionaries on their way to JSON.
_CODE = re.compile(r'\bcode(?:, \w+)? ?= ?"([a-z0-9_]+)"|"code": "([a-z0-9_]+)"')
_REASON = re.compile(
    r'Finding\(\s*Outcome\.\w+,\s*"(\w+)"|_failed\(\s*"(\w+)"|graded\([^()]*?"([a-z_]+)"|NotJudged\(\s*"(\w+)"'
    r'|reason="([a-z_]+)"|return "(nothing_weighs)"'
)
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)\s]+)\)")


def read(path: str) -> str:
    return (DOCS / path).read_text("utf-8")


def sources() -> Iterator[str]:
    for package in ("promptcard_ext", "server_ext"):
        for path in (ROOT / package).rglob("*.py"):
            yield path.read_text("utf-8")


def found(pattern: re.Pattern[str]) -> set[str]:
    return {next(filter(None, match.groups())) for text in sources() for match in pattern.finditer(text)}


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in _BLOCK.findall(page.read_text("utf-8")) if language in languages]


def first_column(text: str) -> set[str]:
    """Return what stands as code in the first cells of all tables."""
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| ")]
    return {code for cell in cells for code in re.findall(r"`([^`]+)`", cell)}


# -- environment and settings ----------------------------------------------------------------------------------------


def test_every_environment_variable_is_documented() -> None:
    used = found(re.compile(r"(PROMPTCARDS_[A-Z_]+[A-Z])"))
    documented = first_column(read("operators/environment.md"))
    assert used - documented == set()
    assert {name for name in documented if name.startswith("PROMPTCARDS_")} - used == set()


def test_every_setting_is_documented_with_its_default() -> None:
    text = read("operators/environment.md")
    own = PromptCards.class_own_traits(config=True)
    assert own
    for name, trait in own.items():
        default = str(trait.default()).join('""') if isinstance(trait.default(), str) else str(trait.default())
        assert f"| `c.PromptCards.{name}` | `{default}` |" in text


# -- command line ----------------------------------------------------------------------------------------------------


def commands() -> dict[str, argparse.ArgumentParser]:
    return subcommands(build_parser())


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of all commands, and of what operators' commands can do: ``user``, ``user list``."""
    nested = {f"{name} {verb}": one for name, parser in commands().items() for verb, one in subcommands(parser).items()}
    return commands() | nested


def command_pages() -> str:
    return read("users/command-line.md") + read("operators/commands.md")


def test_every_command_and_option_is_documented() -> None:
    text = command_pages()
    assert set(re.findall(r"^## ([a-z]+)$", text, re.MULTILINE)) == set(commands())
    offered = {"--version"}
    for parser in parsers().values():
        for action in parser._actions:
            if action.help != argparse.SUPPRESS:
                offered |= {option for option in action.option_strings if option.startswith("--")}
    assert offered - set(re.findall(r"--[a-z-]+", text)) == set()
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text)) - offered == set()


def test_every_choice_of_a_command_is_documented() -> None:
    text = command_pages()
    for name, parser in parsers().items():
        for action in parser._actions:
            for choice in action.choices or ():
                assert re.search(rf"`(jupyter promptcards )?({name} )?{choice}`", text), f"{name} {choice}"


@ANY_PAGE
def test_commands_in_the_samples_are_ones_that_exist(page: Path) -> None:
    for text in blocks(page, "sh"):
        for line in text.splitlines():
            _, called, arguments = line.partition("jupyter promptcards ")
            if called:
                # Whatever cannot be parsed ends the process, with the reason on standard error.
                build_parser().parse_args(shlex.split(arguments, comments=True))


def test_the_readme_lists_the_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    listed = set(re.findall(r"^\| `make ([a-z]+)` \|", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert listed >= {"lab", "test", "check", "demo", "bench", "clean", "help"}
    assert listed <= targets


# -- codes, outcomes, assertions -------------------------------------------------------------------------------------


def error_codes() -> set[str]:
    codes = found(_CODE)
    codes |= {meaning[0] for meaning in database_errors._MEANING.values()} | {database_errors._AWAY[0]}
    codes |= found(re.compile(r'\b\d{3}: "(\w+)"'))
    return codes


def test_every_error_code_is_documented() -> None:
    documented = first_column(read("users/troubleshooting.md").partition("## Error codes")[2])
    assert error_codes() - documented == set()
    assert documented - error_codes() == set()


def test_every_assertion_kind_is_in_the_table() -> None:
    table = read("users/assertions.md").partition("## Kinds")[2].partition("## Details")[0]
    assert first_column(table) == set(assertions.kinds())


def test_every_reason_of_an_assertion_is_documented() -> None:
    reasons = found(_REASON)
    assert reasons >= {"not_contained", "score_too_low", "no_claims", "transform_failed", "nothing_weighs"}
    documented: set[str] = set()
    for page in ("assertions", "judges", "similarity", "cases", "troubleshooting"):
        documented |= set(re.findall(r"`([a-z_]+)`", read(f"users/{page}.md")))
    assert reasons - documented == set()


def test_every_outcome_is_documented() -> None:
    assert {str(outcome) for outcome in Outcome} <= first_column(read("users/cases.md"))


def test_the_template_language_is_documented_as_it_is() -> None:
    text = read("users/cards.md")
    rows = dict(re.findall(r"^\| (filters|tests) [^|]*\| (.*) \|$", text, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows["filters"])) == set(FILTERS)
    assert set(re.findall(r"`(\w+)`", rows["tests"])) == set(template_language.TESTS)
    assert set(re.findall(r"`loop\.(\w+)`", text)) == set(template_language.LOOP)


# -- results and REST ------------------------------------------------------------------------------------------------


def test_the_columns_of_results_are_documented_with_their_types() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", read("users/results.md"), re.MULTILINE)
    assert rows == list(DTYPES.items())


def routes() -> set[str]:
    return {operation.name for operation in OPERATIONS} | {f"GET {path}" for path, _, _ in STREAMS}


def test_every_route_has_a_section() -> None:
    sections = re.findall(r"^### `([A-Z]+ \S+)`$", read("developers/rest.md"), re.MULTILINE)
    assert set(sections) == routes()
    assert len(sections) == len(set(sections))


def test_every_status_is_documented() -> None:
    table = read("developers/rest.md").partition("| Status |")[2].partition("\n\n")[0]
    statuses = {status for _, status in STATUS} | set(STATUS_OF_CODE.values()) | {401, 405}
    assert {int(status) for status in re.findall(r"^\| (\d{3}) \|", table, re.MULTILINE)} == statuses


# -- samples ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", WITH_SAMPLES, ids=lambda page: page.name)
def test_the_samples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST", "PROMPTCARDS_URL"):
        monkeypatch.delenv(name, raising=False)
    for text in blocks(page, "yaml"):
        first, _, _ = text.partition("\n")
        if first.startswith("# file: "):
            Path(first.removeprefix("# file: ")).write_text(text, "utf-8")
    # One after the other in one namespace, as somebody who reads the page would type them.
    names: dict[str, Any] = {}
    for number, text in enumerate(blocks(page, "python"), 1):
        if text.startswith(NEEDS_SERVER):
            compile(text, f"{page.name}, sample {number}", "exec")
        else:
            exec(compile(text, f"{page.name}, sample {number}", "exec"), names)


# -- links -----------------------------------------------------------------------------------------------------------


def anchors(page: Path) -> set[str]:
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@ANY_PAGE
def test_relative_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.findall(page.read_text("utf-8")):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link} has no such heading"


def test_the_index_leads_to_every_page() -> None:
    linked = {(DOCS / link).resolve() for link in _LINK.findall(read("index.md"))}
    assert {page for page in DOCS.rglob("*.md") if page.name != "index.md"} - linked == set()
