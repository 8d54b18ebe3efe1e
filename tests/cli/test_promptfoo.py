"""A promptfoo configuration on the command line: several models, settings and addresses."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from promptcard_ext.cli.sources import open_sources
from promptcard_ext.interchange.card_file import load_card_file
from tests.support import run_command, temporary_home

GROQ = "https://api.groq.com/openai/v1"
CONFIG = """\
prompts: [{label: greet, raw: "Say hello to {{ who }}."}]
providers:
  - {id: groq:a, config: {temperature: 0}}
  - {id: groq:b, config: {temperature: 1}}
defaultTest:
  options: {provider: ollama:judge}
tests:
  - vars: {who: Ada}
    assert: [{type: icontains, value: ada}]
derivedMetrics: [{name: twice, value: hello * 2}]
evaluateOptions: {repeat: 3}
"""


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as path:
        yield path


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "promptfooconfig.yaml"
    path.write_text(CONFIG)
    return path


def test_a_prompt_with_several_settings_is_one_card_file_with_a_version_for_each(home: Path, config: Path) -> None:
    done = run_command(home, "import", str(config), "--out", str(config.parent))
    assert done.returncode == 0, done.stderr
    versions = load_card_file(config.parent / "greet.yaml").versions
    assert [version.settings.temperature for version in versions] == [0, 1]


def test_an_import_says_what_a_card_file_has_no_place_for(home: Path, config: Path) -> None:
    said = run_command(home, "import", str(config), "--out", str(config.parent)).stdout
    assert "--model openai:a --model openai:b --judge ollama:judge --repeat 3" in said
    assert f"{GROQ}, the key in GROQ_API_KEY" in said
    assert "metrics are not in card files: twice" in said


def test_another_model_is_called_at_its_own_address(config: Path) -> None:
    as_written = open_sources(config)
    assert [source.models for source in as_written] == [("openai:a",), ("openai:b",)]
    assert all(source.providers["openai"]["base_url"] == GROQ for source in as_written)
    for source in open_sources(config, models=["openai:other"]):
        assert (source.models, source.providers, source.key_names) == (("openai:other",), {}, {})
    (kept, dropped) = open_sources(config, models=["openai:a"])
    assert kept.providers["openai"]["base_url"] == GROQ
    assert dropped.providers == {}


def test_what_differed_in_its_models_only_runs_once(tmp_path: Path) -> None:
    config = tmp_path / "promptfooconfig.yaml"
    config.write_text("prompts: [hi]\nproviders: ['openai:a', 'groq:b', 'mistral:c']\n")
    assert len(open_sources(config)) == 3
    assert len(open_sources(config, models=["simulated:echo"])) == 1


def test_a_configuration_runs_with_another_model(home: Path, config: Path) -> None:
    done = run_command(home, "run", str(config), "--model", "simulated:echo", "--repeat", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("100% [21–100] of 1") == 2
