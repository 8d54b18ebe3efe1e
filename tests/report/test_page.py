"""The page made of a notebook: complete, offline, and unmoved by what is in it."""

import base64

import nbformat
import pytest

from promptcard_ext import report
from promptcard_ext._version import __version__
from promptcard_ext.core.results import Call, Generation, Outcome, Verdict
from promptcard_ext.stats.summary import summarise
from server_ext.jobs import report_html
from tests.report.conftest import Page, assert_inert, code, item, notebook, shown
from tests.report.test_words import of

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)><a xlink:href=javascript:alert(1)>x</a></svg>",
    "</pre></td></table></main><iframe srcdoc='<script>1</script>'>",
    "[click](javascript:alert(1)) ![x](https://evil.example/?q=1) <https://evil.example>",
    "# heading\n\n<b onclick=alert(1)>bold</b>",
    "<style>@import url(https://evil.example)</style><link rel=stylesheet href=//evil.example>",
    "<math><mtext></mtext><mglyph><style><img src=x onerror=alert(1)></style></mglyph></math>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<form action=https://evil.example><input autofocus onfocus=alert(1)><button formaction=javascript:1>",
    "\x00<\x00script>\x1b[31m\x08\u202egnp.exe\u2066 \ud800 \x9f",
    "{{ 7 * 7 }}{% raw %}<!-- --!> ]]> &lt;script&gt;",
    "<a href='data:text/html,<script>1</script>'>x</a><a href=\"java\tscript:alert(1)\">y</a>",
    "A" * 300_000,
    "<" * 20_000,
]


def test_the_report_of_a_real_run_has_its_numbers_and_is_inert(snapshot, simulated, execute) -> None:
    executed = execute(snapshot(simulated))
    html = report_html.render(executed, "Nightly & co")
    page = assert_inert(html)
    assert "<script" not in html
    assert "http://" not in html
    assert "https://" not in html
    assert "Content-Security-Policy" in html
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in page.attributes("content")
    for row in summarise(simulated):
        assert f"{row.label} {row.model} {row.rate_text}" in page.text
    assert "Nightly & co" in page.text
    assert "Simulated: not from a model." in page.text
    assert f"Made by Prompt Cards {__version__} on " in page.text
    assert "This part of the report could not be made" not in page.text
    assert len(page.attributes("src")) == 3
    assert all(page.attributes("alt"))
    anchors = [href for href in page.attributes("href") if href.startswith("#")]
    assert len(anchors) == 11
    assert {href[1:] for href in anchors} <= set(page.attributes("id"))


def test_a_run_without_results_still_makes_a_report(snapshot, execute) -> None:
    page = assert_inert(report_html.render(execute(snapshot([], total=4, status="cancelled")), "Empty"))
    assert "0 of 4" in page.text
    assert "No item has a result, so there is nothing to compare." in page.text
    assert "could not be made" not in page.text


def test_the_notebook_names_the_problem_when_the_run_is_another(snapshot, execute) -> None:
    from papermill.exceptions import PapermillExecutionError

    with pytest.raises(PapermillExecutionError) as caught:
        execute(snapshot([item(0)]), run_id="other")
    assert caught.value.ename == "RunError"
    assert "not of 'other'" in caught.value.evalue


def test_the_shipped_notebook_is_clean(snapshot) -> None:
    from promptcard_ext.interchange.starters import shipped

    found = nbformat.read(shipped("templates/reports") / "run_report.ipynb", 4)
    nbformat.validate(found)
    assert (found.nbformat, found.nbformat_minor) == (4, 5)
    assert found.metadata.kernelspec.name == "python3"
    assert [cell.metadata.get("tags") for cell in found.cells].count(["parameters"]) == 1
    assert not any(cell.get("outputs") for cell in found.cells)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_answers_stay_text(text: str) -> None:
    calls = [{"type": "function", "function": {"name": text, "arguments": text}}]
    generation = Generation("ollama", "tiny", "h", text, 1.0, raw=text, tool_calls=calls)
    parts = (Verdict("p", f"metamorphic:{text}", Outcome.FAIL, text, text),)
    verdicts = tuple(Verdict(text, text, Outcome.FAIL, text, text, 0.5, text, parts=parts) for _ in range(2))
    result = item(
        0, "fail", generation=generation, verdicts=verdicts, message=text, case=text, label=text, model=text,
        reason=text, calls=(Call(text, generation),),
    )  # fmt: skip
    run = of([result, item(1, "error", reason=text), item(2, generation=generation)], name=text)
    pieces = [
        make(run)
        for make in (
            report.header, report.verdict, report.summary, report.by_metric, report.measures, report.changes,
            report.reasons, report.failures, report.passes, report.costs,
        )
    ]  # fmt: skip
    cells = [code(shown(text_html=piece._repr_html_(), text_plain=repr(piece))) for piece in pieces]
    html = report_html.render(notebook(*cells), text)
    assert_inert(html)
    assert not any(ord(c) < 0x20 and c not in "\n\t" for c in html)
    assert len(html) < 100_000 + 25 * min(len(text), 20_000) + len(text) * 2
    html.encode()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_foreign_notebooks_are_made_harmless(text: str) -> None:
    cells = [
        nbformat.v4.new_markdown_cell(text),
        code(shown(text_html=text), source=text),
        code(shown(text_plain=text)),
        code(shown(svg=text)),
        code(shown(png=text)),
        code(nbformat.v4.new_output("stream", name="stdout", text=text)),
        code(nbformat.v4.new_output("error", ename=text, evalue=text, traceback=[text])),
        code(shown(**{"application/javascript": text, "text/vnd.mermaid": text, "text/markdown": text})),
    ]
    assert_inert(report_html.render(notebook(*cells), text))


def test_html_cannot_end_the_page_it_is_in() -> None:
    page = report_html.render(notebook(code(shown(text_html="</div></main></body></html><b>after"))), "x")
    assert page.count("</main>") == 1
    assert "<b>after</b>" in page


def test_our_own_pieces_pass_unchanged() -> None:
    piece = report.header(of([item(0), item(1, "fail"), item(2, "error")]))
    html = report_html.render(notebook(code(shown(text_html=piece._repr_html_()))), "x")
    found, wanted = Page(html), Page(str(piece.html))
    for name in ("class", "style", "title"):
        kept = {value.rstrip(";").replace(" ", "") for value in found.attributes(name)}
        assert {value.replace(" ", "") for value in wanted.attributes(name)} <= kept


def test_an_error_is_shown_as_one_without_its_traceback() -> None:
    failed = nbformat.v4.new_output("error", ename="RunError", evalue="It <broke>.", traceback=["/srv/secret/path.py"])
    html = report_html.render(notebook(code(failed)), "x")
    text = assert_inert(html).text
    assert "This part of the report could not be made." in text
    assert "RunError It <broke>." in text
    assert "/srv/secret" not in html


def test_images_are_shown_and_nothing_else_that_claims_to_be_one() -> None:
    png = base64.b64encode(b"\x89PNG").decode()
    page = Page(report_html.render(notebook(code(shown(png=png, text_plain="a dot"))), "x"))
    assert page.attributes("src") == [f"data:image/png;base64,{png}"]
    assert page.attributes("alt") == ["a dot"]
    assert Page(report_html.render(notebook(code(shown(png='x" onerror="1'))), "x")).attributes("src") == []


def test_prose_is_rendered_with_headings_in_the_contents() -> None:
    source = "# Weekly\n\nSome *words*, a [link](https://example.org) and\n\n## First & last\n\n|a|b|\n|-|-|\n|1|2|\n"
    html = report_html.render(notebook(nbformat.v4.new_markdown_cell(source)), "x")
    page = assert_inert(html)
    assert "Prompt Cards · Weekly" in page.text
    assert "<em>words</em>" in html
    assert 'href="https://example.org"' in html
    assert '<a href="#section-1">First &amp; last</a>' in html
    assert {"table", "td"} <= page.tags()


def test_code_is_folded_away_with_what_prepares_it() -> None:
    cells = [code(source="run_id = 1"), code(shown(text_plain="2"), source="run_id + 1"), code(source="last = 3")]
    html = report_html.render(notebook(*cells), "x")
    assert html.count("<details") == 2
    assert "run_id = 1\n\nrun_id + 1" in html
    assert "<details open" not in html


def test_notes_that_papermill_leaves_are_not_part_of_a_report() -> None:
    cell = nbformat.v4.new_markdown_cell("An exception!", metadata={"tags": ["papermill-error-cell-tag"]})
    assert "An exception!" not in report_html.render(notebook(cell), "x")


def test_no_widget_gets_into_a_report(snapshot, simulated, execute) -> None:
    executed = execute(snapshot(simulated))
    kinds = {kind for cell in executed.cells for output in cell.get("outputs", ()) for kind in output.get("data", {})}
    assert "text/html" in kinds
    assert not [kind for kind in kinds if "widget" in kind]
    assert "widgets" not in executed.metadata
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "m", "version_major": 2, "version_minor": 0}}
    alone, beside = shown(**view), shown(**view, text_html="<p>held</p>", text_plain="held")
    made = notebook(code(alone), code(beside))
    made.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": {"m": {}}}}
    html = report_html.render(made, "With a widget")
    assert_inert(html)
    assert "held" in html
    assert "model_id" not in html
    assert "widget" not in html.lower().replace("with a widget", "")
