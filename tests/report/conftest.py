import os
import re
import shutil
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import nbformat
import papermill
import pytest
from msgspec.structs import replace

import promptcard_ext as pc
from promptcard_ext.core.results import Counts, Generation, ItemResult, Outcome, Verdict
from promptcard_ext.interchange.starters import shipped
from promptcard_ext.kernel.run import run as run_cards

RUN_ID = "0197a5c2-1111-7000-8000-000000000001"


def run_info(results: list[ItemResult], **changed: Any) -> dict[str, Any]:
    """A run as the REST interface gives it."""
    counts = Counts(total=changed.pop("total", len(results)))
    for result in results:
        counts.add(result)
    labels = list(dict.fromkeys(result.label for result in results))
    plan = {
        "card": results[0].card if results else "greet",
        "versions": [{"id": f"v{i}", "version": i, "label": x, "content_hash": "0"} for i, x in enumerate(labels)],
        "models": list(dict.fromkeys(result.model for result in results)),
        "repeats": 1 + max((result.repeat for result in results), default=0),
        "concurrency": 16,
        "timeout_s": 120.0,
    }
    info = {
        "id": RUN_ID,
        "name": "Nightly",
        "status": "completed",
        "plan": plan,
        "counts": counts,
        "created_at": "2026-11-03T06:00:00Z",
        "started_at": "2026-11-03T06:00:01+00:00",
        "finished_at": "2026-11-03T06:01:33.5Z",
        "error": None,
    }
    return msgspec.to_builtins({**info, **changed})


def item(ordinal: int, outcome: str = "pass", **changed: Any) -> ItemResult:
    """One result of version 1 of the card `greet`."""
    reason, message = (None, "") if outcome == "pass" else (f"{outcome}_code", f"why {ordinal}")
    result = ItemResult(
        ordinal=ordinal,
        card="greet",
        version=1,
        label="greet@1",
        model="ollama:tiny",
        case=f"case {ordinal}",
        case_uid=f"uid {ordinal}",
        repeat=0,
        outcome=Outcome(outcome),
        reason=reason,
        message=message,
        verdicts=(Verdict("u", "contains", Outcome(outcome), reason, message, metric="manners"),),
        generation=Generation("ollama", "tiny", "hash", f"answer {ordinal}", 10.0 + ordinal),
    )
    return replace(result, **changed)


def versions(first: str, second: str, model: str = "ollama:tiny") -> list[ItemResult]:
    """Results of two versions on the same cases; one letter each: (p)ass, (f)ail, (e)rror, (u)nscored."""
    words = {"p": "pass", "f": "fail", "e": "error", "u": "unscored"}
    return [
        item(2 * i + v, words[letter], label=f"greet@{v + 1}", case=f"case {i}", case_uid=f"uid {i}", model=model)
        for v, letters in enumerate((first, second))
        for i, letter in enumerate(letters)
    ]


@pytest.fixture(scope="session")
def simulated() -> list[ItemResult]:
    """A real run: two versions of a starter card on two simulated models."""
    file = pc.starter_cards()["support-triage"]
    cards = [replace(card, version=i) for i, card in enumerate(file.versions[:2], 1)]
    models = ["simulated:steady?latency_ms=1", "simulated:hasty?latency_ms=1"]
    return run_cards(cards, file.cases, models).wait(60).results()


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Write a snapshot and make it the one that reports are about."""

    def write(results: list[ItemResult], **changed: Any) -> Path:
        (tmp_path / "run.json").write_bytes(msgspec.json.encode(run_info(results, **changed)))
        (tmp_path / "items.jsonl").write_bytes(b"".join(msgspec.json.encode(result) + b"\n" for result in results))
        monkeypatch.setenv("PROMPTCARDS_SNAPSHOT", str(tmp_path))
        monkeypatch.setenv("PROMPTCARDS_RENDER", "static")
        return tmp_path

    return write


@pytest.fixture(scope="session")
def kernel_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the kernel's history and settings out of the home of whoever runs the tests."""
    home = tmp_path_factory.mktemp("ipython")
    yield home
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def execute(kernel_home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Execute the report's notebook as the worker does."""

    def run(folder: Path, run_id: str = RUN_ID) -> Any:
        monkeypatch.setenv("IPYTHONDIR", str(kernel_home))
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(pc.__file__).parent.parent)]))
        return papermill.execute_notebook(
            str(shipped("templates/reports") / "run_report.ipynb"),
            str(folder / "report.ipynb"),
            parameters={"run_id": run_id},
            kernel_name="python3",
            progress_bar=False,
            cwd=str(folder),
            store_widget_state=False,
        )

    return run


class Page(HTMLParser):
    """What a browser would find in a page: elements with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return re.sub(r" ([,;.:])", r"\1", " ".join(" ".join(self.texts).replace("\u00a0", " ").split()))

    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}

    def attributes(self, name: str) -> list[str]:
        return [value or "" for _, attributes in self.elements for key, value in attributes.items() if key == name]


def assert_inert(html: str) -> Page:
    """Check that a page runs nothing and loads nothing."""
    page = Page(html)
    alive = {
        "script",
        "iframe",
        "object",
        "embed",
        "form",
        "input",
        "button",
        "base",
        "link",
        "svg",
        "math",
        "template",
    }
    assert page.tags().isdisjoint(alive)
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            assert name not in {"srcset", "srcdoc", "formaction", "action", "background", "ping", "data"}, (tag, name)
            if name == "src":
                assert (value or "").startswith(("data:image/svg+xml;base64,", "data:image/png;base64,"))
            if name == "href":
                assert (value or "").startswith(("#", "https://", "http://", "mailto:"))
            if name == "style":
                assert (value or "").startswith("width:")
    assert html.count("<style>") == 1
    style = html[html.index("<style>") : html.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    return page


def notebook(*cells: Any) -> Any:
    """A notebook with these cells."""
    return nbformat.v4.new_notebook(cells=list(cells))


def code(*outputs: Any, source: str = "1 + 1") -> Any:
    """An executed cell with these outputs."""
    return nbformat.v4.new_code_cell(source, outputs=list(outputs))


def shown(**data: Any) -> Any:
    """An output with this data by MIME type, `text_html` for `text/html`."""
    names = {"text_html": "text/html", "text_plain": "text/plain", "svg": "image/svg+xml", "png": "image/png"}
    return nbformat.v4.new_output("display_data", {names.get(name, name): value for name, value in data.items()})
