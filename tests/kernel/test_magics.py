"""The magics in an IPython of this process, without a server: cards live in the kernel."""

from __future__ import annotations

import atexit
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from traitlets.config import Config

import promptcard_ext
from promptcard_ext.core.card import Card
from promptcard_ext.core.case import Case
from promptcard_ext.core.errors import PromptCardError, Unavailable
from promptcard_ext.kernel import magic_line
from promptcard_ext.kernel import workspace as workspaces

CARD = "%%card greet -o card\nSay hello to {{ who }}."
CASE = "%%case greet -n ada -o case\nvars:\n  who: Ada\nassert:\n  - contains: Ada\n"
RUN = "%run_card greet simulated:echo -o run --wait"


class Cells:
    """Runs cells and gives what they leave."""

    def __init__(self, shell: InteractiveShell) -> None:
        self.shell = shell

    def run(self, cell: str) -> ExecutionResult:
        return self.shell.run_cell(cell, store_history=False)

    def good(self, *cells: str) -> Any:
        """Return the value of the last cell; none may fail."""
        for cell in cells:
            result = self.run(cell)
            assert result.success, result.error_in_exec
        return result.result

    def error(self, cell: str) -> PromptCardError:
        error = self.run(cell).error_in_exec
        assert isinstance(error, PromptCardError), error
        return error

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]

    def completions(self, text: str) -> list[str]:
        with provisionalcompleter():
            return [
                text[: one.start] + one.text + text[one.end :]
                for one in self.shell.Completer.completions(text, len(text))
            ]


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    shell = InteractiveShell(config=Config({"HistoryManager": {"enabled": False}}))
    yield shell
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)


@pytest.fixture
def cells(shell: InteractiveShell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cells]:
    """An IPython with our extension, and no server to be found."""
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv("PROMPTCARDS_PROVENANCE", "off")
    for name in ("PROMPTCARDS_URL", "JPY_PARENT_PID", "JUPYTERHUB_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(workspaces, "latest", None)
    known = set(shell.user_ns)
    shell.run_line_magic("load_ext", "promptcard_ext")
    yield Cells(shell)
    shell.run_line_magic("unload_ext", "promptcard_ext")
    for name in set(shell.user_ns) - known:
        del shell.user_ns[name]


def test_a_body_is_taken_as_it_stands(cells: Cells) -> None:
    cells.good("who = 'nobody'", "%%card greet -o card\n{ who } $who {{ who }}\n\n  {% if who %}yes{% endif %}\n")
    assert cells["card"].template == "{ who } $who {{ who }}\n\n  {% if who %}yes{% endif %}"


def test_neither_are_braces_in_the_line_expanded(cells: Cells) -> None:
    cells.good("who = 'nobody'", "%%card greet --system 'Be {{ how }} to $who' -o card\nHello {{ who }}")
    assert cells["card"].system == "Be {{ how }} to $who"


def test_options_make_the_rest_of_a_card(cells: Cells) -> None:
    cells.good(
        "%%card greet -o card --title 'A greeting' --tag demo --tag 'two words' --note first --var who "
        "--var n:integer=3 --set temperature=0 --set stop=[a,b]\n{{ n }} times hello to {{ who }}."
    )
    card: Card = cells["card"]
    assert (card.title, card.tags, card.note) == ("A greeting", ("demo", "two words"), "first")
    assert [(one.name, one.type) for one in card.variables] == [("who", "string"), ("n", "integer")]
    assert card.variables[1].default == 3
    assert (card.settings.temperature, card.settings.stop) == (0, ("a", "b"))


def test_saving_the_same_content_again_makes_no_version(cells: Cells) -> None:
    cells.good(CARD)
    assert cells["card"].label == "greet@1"
    cells.good(CARD)
    assert cells["card"].label == "greet@1"
    cells.good(CARD + " Be brief.")
    assert cells["card"].label == "greet@2"
    cells.good(CARD)
    assert cells["card"].label == "greet@1"


def test_check_saves_nothing(cells: Cells) -> None:
    cells.good(CARD.replace("-o card", "--check"))
    assert cells.good("%cards") == []


def test_a_case_is_saved_and_replaced_by_name_or_variables(cells: Cells, capsys: pytest.CaptureFixture[str]) -> None:
    cells.good(CARD, CASE)
    assert cells["case"].name == "ada"
    assert [one.type for one in cells["case"].assertions] == ["contains"]
    for cell, done in (
        (CASE, "unchanged"),
        (CASE.replace("who: Ada", "who: Grace"), "changed"),
        (CASE.replace("-n ada", "-n other"), "added"),
        (CASE.replace("-n ada", "-n third"), "changed"),
    ):
        capsys.readouterr()
        cells.good(cell)
        assert capsys.readouterr().out.rstrip().endswith(done)


@pytest.mark.parametrize(
    ("body", "line", "code"),
    [
        ("vars:\n  who: Ada\nassert:\n  - contains: Ada\n  - containz: Ada\n", 6, "assertion_unknown"),
        ("vars:\n  who: Ada\nassert:\n  - type: contains\n", 5, "assertion_invalid"),
        ("vars:\n  who: Ada\n  whom: Grace\n", 4, "unknown_variable"),
        ("vars:\n  who: Ada\nasert: []\n", 2, "case_cell_invalid"),
        ("vars:\n  who: Ada\nthreshold: 2\n", 4, "case_cell_invalid"),
        ("vars:\n  who: 'Ada\n", 4, "yaml_syntax"),
        ("vars:\n  who: Ada\n  who: Grace\n", 4, "yaml_syntax"),
        ("- just\n- a list\n", 2, "case_cell_invalid"),
    ],
)
def test_a_mistake_in_a_case_is_named_with_its_line_in_the_cell(cells: Cells, body: str, line: int, code: str) -> None:
    cells.good(CARD)
    error = cells.error("%%case greet\n" + body)
    assert re.search(rf"(?i)\bline {line}\b", error.message), error.message
    assert error.code == code


def test_a_mistake_in_a_template_is_named_with_its_line_in_the_cell(cells: Cells) -> None:
    error = cells.error("%%card greet\nSay hello\nto {{ who }.")
    assert "line 3 of the cell" in error.hint


def test_a_card_is_run_and_the_same_is_not_run_twice(cells: Cells) -> None:
    cells.good(CARD, CASE, RUN)
    first = cells["run"]
    assert (first.status, first.counts.passed) == ("completed", 1)
    cells.good(RUN.replace("--wait", "--concurrency 3 --name other --wait"))
    assert cells["run"] is first
    for changed in (
        RUN + " --again",
        RUN + " --repeats 2",
        RUN.replace("simulated:echo", "simulated:steady"),
    ):
        cells.good(changed)
        assert cells["run"] is not first
    cells.good(CASE.replace("- contains: Ada", "- contains: Hello"), RUN)
    assert cells["run"] is not first
    assert len(cells.good("%runs")) == 5
    assert len(cells.good("%runs 2")) == 2


def test_another_card_with_the_same_content_is_run_by_itself(cells: Cells) -> None:
    cells.good(CARD, CASE, RUN)
    first = cells["run"]
    cells.good(*(cell.replace("greet", "other") for cell in (CARD, CASE, RUN)))
    assert cells["run"] is not first
    assert [result.card for result in cells["run"].results()] == ["other"]


def test_models_left_out_are_those_of_the_latest_run(cells: Cells) -> None:
    cells.good(CARD, CASE)
    assert cells.error("%run_card greet").code == "magic_usage"
    cells.good(RUN, "%run_card greet -o next --again --wait")
    assert [result.model for result in cells["next"].results()] == ["simulated:echo"]


def test_a_version_is_run_by_its_number(cells: Cells) -> None:
    cells.good(CARD, CARD + " Be brief.", CASE, RUN.replace("greet ", "greet@1 "))
    assert [result.label for result in cells["run"].results()] == ["greet@1"]
    assert cells.error("%run_card greet@7 simulated:echo").code == "not_found"
    assert cells.error("%run_card nothing simulated:echo").code == "not_found"


def test_a_card_includes_another_of_this_kernel(cells: Cells) -> None:
    cells.good("%%card style\nBe brief.", "%%card greet -o card\n{% include 'style@1' %} Say hello to {{ who }}.")
    assert cells["card"].render({"who": "Ada"})[0].content == "Be brief. Say hello to Ada."
    assert cells.error("%%card greet\n{% include 'style@2' %}").code == "include_unknown"


def test_cards_are_found_by_name_title_and_tag(cells: Cells) -> None:
    cells.good(CARD, "%%card triage --title 'Support' --tag billing\nSort {{ it }}.")
    assert [one.name for one in cells.good("%cards")] == ["greet", "triage"]
    for text in ("SUPP", "bill", "triage"):
        assert [one.name for one in cells.good(f"%cards {text}")] == ["triage"]
    cells.good("%cards nothing -o found")
    assert cells["found"] == []


@pytest.mark.parametrize(
    "cell",
    [
        "%%card greet --nope\nx",
        "%%card\nx",
        "%%card greet -o 'not a name'\nx",
        "%%card greet -o class\nx",
        "%%card greet --title 'open\nx",
        "%%card greet --set temperature\nx",
        "%%card greet --var n:nothing\n{{ n }}",
        "%%case\nvars: {}",
        "%card greet",
        "%case greet",
        "%run_card greet --repeats many",
        "%runs many",
    ],
)
def test_a_line_that_says_nothing_is_refused_with_where_to_look(cells: Cells, cell: str) -> None:
    error = cells.error(cell)
    assert error.code == "magic_usage"
    assert error.hint


@pytest.mark.parametrize("error", ["%%card Not-A-Name\nx", "%%card greet\n{{ who", "%run_card nothing simulated:echo"])
def test_an_error_is_one_message_without_our_code(cells: Cells, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    cells.error(error)
    said = "".join(capsys.readouterr())
    assert "[" in said
    assert "Traceback" not in said
    assert len(said.splitlines()) <= 2


@pytest.mark.parametrize("magic", ["%card", "%case", "%run_card", "%cards", "%runs"])
def test_help_says_what_there_is(cells: Cells, magic: str, capsys: pytest.CaptureFixture[str]) -> None:
    cells.good(f"{magic} --help")
    said = capsys.readouterr().out
    sign = "%%" if magic in ("%card", "%case") else "%"
    assert f"usage: {sign}{magic[1:]} " in said
    parser: Callable[[], magic_line.MagicParser] = {
        "%card": magic_line.card_parser,
        "%case": magic_line.case_parser,
        "%run_card": magic_line.run_parser,
        "%cards": magic_line.cards_parser,
        "%runs": magic_line.runs_parser,
    }[magic]
    assert all(option in said for option in parser().options)


@pytest.mark.parametrize(
    ("text", "offered"),
    [
        ("%run_card gr", "%run_card greet"),
        ("%run_card greet@", "%run_card greet@1"),
        ("%run_card greet@1 simulated:ec", "%run_card greet@1 simulated:echo"),
        ("found = %run_card gr", "found = %run_card greet"),
        ("%run_card greet --ju", "%run_card greet --judge"),
        ("%run_card greet --judge simulated:ste", "%run_card greet --judge simulated:steady"),
        ("x = 1\n%run_card gr", "x = 1\n%run_card greet"),
        ("%%card gr", "%%card greet"),
        ("%%card greet --sys", "%%card greet --system"),
        ("%%case gr", "%%case greet"),
        ("%%case greet\nva", "%%case greet\nvars:"),
        ("%%case greet\nassert:\n  - type: contains-js", "%%case greet\nassert:\n  - type: contains-json"),
        ("%%case greet\nassert:\n  - contains-js", "%%case greet\nassert:\n  - contains-json"),
        ("%runs --out", "%runs --output"),
    ],
)
def test_names_are_completed(cells: Cells, text: str, offered: str) -> None:
    cells.good(CARD)
    assert offered in cells.completions(text)


def test_other_lines_are_completed_as_ever(cells: Cells) -> None:
    cells.good("something_long = 1", CARD)
    assert cells.completions("something_lo") == ["something_long"]
    assert "%%card greet\ngr" not in [
        one[:15] for one in cells.completions("%%card greet\ngr") if one.endswith("greet")
    ]


def test_the_magics_go_with_the_extension(cells: Cells) -> None:
    cells.good("%unload_ext promptcard_ext")
    assert not cells.run("%cards").success
    assert not cells.run(CARD).success
    assert "%run_card greet" not in cells.completions("%run_card gr")
    cells.good("%load_ext promptcard_ext", "%reload_ext promptcard_ext", CARD)
    assert cells.completions("%run_card gr") == ["%run_card greet"]
    assert cells["pc"] is promptcard_ext


def test_a_server_that_is_named_and_away_is_not_replaced_by_the_kernel(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROMPTCARDS_URL", "http://127.0.0.1:9/")
    assert isinstance(cells.error(CARD), Unavailable)


def test_a_case_needs_no_assertion(cells: Cells) -> None:
    cells.good(CARD, "%%case greet -o case\nvars: {who: Ada}")
    assert cells["case"] == Case({"who": "Ada"})


def test_the_samples_of_the_page_run(cells: Cells) -> None:
    page = Path(__file__).parents[2] / "docs" / "users" / "magics.md"
    samples = re.findall(r"^```ipython\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    assert len(samples) >= 6
    cells.good(*samples)
    assert "{ This } and $this are text." in cells["card"].template
    assert cells["run"].counts.done == 4
