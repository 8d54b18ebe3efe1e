"""Templates, transforms, prompts, models and assertions of a promptfoo configuration."""

import json

import pytest

from promptcard_ext.core import template
from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion, kinds
from promptcard_ext.core.assertions.base import compiled
from promptcard_ext.core.assertions.judging import judge
from promptcard_ext.core.composition import combine
from promptcard_ext.core.errors import TemplateError
from promptcard_ext.core.results import Generation, Outcome
from promptcard_ext.interchange.csv_expected import PROMPTFOO_KINDS
from promptcard_ext.interchange.promptfoo.expressions import answer_path, transform_template
from promptcard_ext.interchange.promptfoo.templates import back, literal, plain, translate
from tests.interchange.promptfoo.conftest import Read, lost

# -- templates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("nunjucks", "variables", "text"),
    [
        ("{{ a }}", {"a": "x"}, "x"),
        ("{{ a.b | dump }}", {"a": {"b": [1]}}, "[1]"),
        ("{% if a === 'x' %}1{% elseif a !== 'y' %}2{% else %}3{% endif %}", {"a": "z"}, "2"),
        ("{% for x in a %}{{ loop.index }}{{ x }}{% endfor %}", {"a": ["p", "q"]}, "1p2q"),
        ("{{ a.length }}", {"a": "four"}, "4"),
        ("{% if a == null %}none{% endif %}", {"a": None}, "none"),
        ("{{ 'yes' if a }}", {"a": ""}, ""),
        ("{{ '=== dump' }}{{ a | safe }}", {"a": "<b>"}, "=== dump<b>"),
        ("{% raw %}{{ a }}{% endraw %}{% verbatim %}{{ b }}{% endverbatim %}", {}, "{{ a }}{{ b }}"),
        ("{# nothing #}{{ a | d('x') }}", {"a": "y"}, "y"),
    ],
)
def test_nunjucks_is_translated(nunjucks: str, variables: dict[str, object], text: str) -> None:
    assert template.parse(translate(nunjucks).text).render(variables) == text


@pytest.mark.parametrize(
    "text", ["{{ f() }}", "{% set a = 1 %}", "a\n{{ a | reverse }}", "{{ a", "{% macro m() %}{% endmacro %}"]
)
def test_what_our_language_has_not_is_an_error_with_its_line(text: str) -> None:
    with pytest.raises(TemplateError) as caught:
        translate(text)
    assert caught.value.line == text.count("\n", 0, text.index("{")) + 1


def test_indentation_of_json_is_remarked() -> None:
    assert translate("{{ a | dump(2) }}").remarks


@pytest.mark.parametrize("text", ["", "x", "{{ a }}", "{% if %}", "{# c #}", "a {% raw %} b"])
def test_a_literal_comes_back(text: str) -> None:
    made = literal(text)
    assert (plain(made) if made != text else made) == text


def test_ours_goes_back() -> None:
    assert back("{{ a|tojson }} |tojson") == "{{ a|dump }} |tojson"


# -- transforms ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("javascript", "output", "text"),
    [
        ("output", " A ", " A "),
        ("output.trim()", " A ", "A"),
        ("output.trim().toLowerCase();", " A ", "a"),
        ("JSON.parse(output).a.b", '{"a": {"b": "x"}}', "x"),
        ("output.a[1]", '{"a": [1, {"c": 2}]}', '{"c": 2}'),
        ("output['a key']", '{"a key": 1.5}', "1.5"),
        ("JSON.parse(output)[0].name.toUpperCase()", '[{"name": "x"}]', "X"),
        ("return JSON.parse(output.trim())?.ok", '{"ok": true}', "true"),
    ],
)
def test_a_part_of_an_answer_is_taken(javascript: str, output: str, text: str) -> None:
    source = transform_template(javascript)
    assert source is not None
    values = {"output": output}
    parsed = template.parse(source)
    if "json" in parsed.variables:
        values["json"] = json.loads(output)
    assert parsed.render(values) == text


@pytest.mark.parametrize(
    "javascript",
    [
        "",
        "outputs",
        "output[0]",
        "output.split(',')",
        "output.length",
        "output + 'x'",
        "(o) => o",
        "file://t.js",
        "output.a()",
    ],
)
def test_other_javascript_is_left_alone(javascript: str) -> None:
    assert transform_template(javascript) is None


def test_a_context_is_found_by_its_path() -> None:
    assert answer_path("JSON.parse(output).docs.text") == "json.docs.text"
    assert answer_path("output") == "output"
    assert answer_path("output.docs.map(d => d.text)") is None


# -- prompts ---------------------------------------------------------------------------------------------------------


def test_prompts_are_named_after_labels_and_files(read: Read) -> None:
    found = read(
        """\
        prompts:
          - hello {{ x }}
          - {raw: "{{ x }}!", label: "Two words", config: {temperature: 0.5}}
          - {id: file://p/one.txt, label: Many}
          - p/chat.json
          - file://p/*.md
          - file://rows.csv
        """,
        {
            "p/one.txt": "a\n---\nb\n",
            "p/chat.json": '[{"role": "system", "content": "s {{ x }}"}, {"role": "user", "content": "u"}]',
            "p/note.md": "# N\n---\nrest",
            "rows.csv": 'prompt,label\n"c, {{ x }}",Row\n',
        },
    )
    assert {card.name: card.template for card in found.cards} == {
        "prompt": "hello {{ x }}", "two-words": "{{ x }}!", "many-1": "a", "many-2": "b", "chat": "u",
        "note": "# N\n---\nrest", "row": "c, {{ x }}",
    }  # fmt: skip
    assert found.cards[1].settings.temperature == 0.5
    assert found.cards[4].system == "s {{ x }}"
    assert not lost(found)


def test_a_conversation_is_a_chat_card(read: Read) -> None:
    found = read(
        "prompts: [file://c.yaml]\n",
        {"c.yaml": "- {role: user, content: a}\n- {role: assistant, content: b}\n- {role: user, content: '{{ x }}'}\n"},
    )
    assert [(one.role, one.content) for one in found.cards[0].render({"x": "c"})] == [
        ("user", "a"), ("assistant", "b"), ("user", "c"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text",
    [
        '[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]',
        '[{"role": "tool", "content": "x"}]',
        '[{% if a %}{"role": "user", "content": "x"}{% endif %}]',
    ],
)
def test_what_cannot_be_a_message_is_said(read: Read, text: str) -> None:
    found = read("prompts: [file://c.json]\n", {"c.json": text})
    assert [code for code, _ in lost(found)] == ["prompt_unsupported"]
    assert not found.batches


# -- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("provider", "reference", "base_url"),
    [
        ("openai:gpt-4o", "openai:gpt-4o", None),
        ("openai:chat:gpt-4o", "openai:gpt-4o", None),
        ("openai:responses:gpt-4o", "openai:gpt-4o", None),
        ("openai:chat:ft:gpt-4o:me::1", "openai:ft:gpt-4o:me::1", None),
        ("ollama:chat:llama3.2:1b", "ollama:llama3.2:1b", None),
        ("ollama:llama3.2", "ollama:llama3.2", None),
        ("localai:chat:vicuna", "openai:vicuna", "http://localhost:8080/v1"),
        ("groq:llama-3.1-8b", "openai:llama-3.1-8b", "https://api.groq.com/openai/v1"),
        ("openrouter:meta/llama:free", "openai:meta/llama:free", "https://openrouter.ai/api/v1"),
        ("echo", "simulated:echo", None),
        ("simulated:steady", "simulated:steady", None),
    ],
)
def test_providers_have_our_names(read: Read, provider: str, reference: str, base_url: str | None) -> None:
    (batch,) = read(f"prompts: [hi]\nproviders: ['{provider}']\n").batches
    assert batch.models == (reference,)
    endpoint = batch.endpoints.get("openai")
    assert (endpoint.base_url if endpoint else None) == base_url


@pytest.mark.parametrize(
    "provider", ["anthropic:messages:x", "openai:image:dall-e", "python:x.py", "openai", "file://p.js", "{}"]
)
def test_other_providers_are_said(read: Read, provider: str) -> None:
    found = read(f"prompts: [hi]\nproviders:\n  - {provider}\n")
    assert lost(found) == [("provider_unsupported", 3)]
    assert found.models == ()


def test_keys_stay_in_the_environment(read: Read) -> None:
    found = read("""\
        prompts: [hi]
        providers:
          - {id: groq:a, config: {apiKey: sk-in-the-file}}
          - {id: openai:chat:b, config: {apiBaseUrl: "http://127.0.0.1:1/v1", apiKey: "{{ env.MY_KEY }}"}}
        """)
    first, second = found.batches
    assert first.endpoints["openai"].api_key_env == "GROQ_API_KEY"
    assert second.providers({"MY_KEY": "k"}) == {"openai": {"base_url": "http://127.0.0.1:1/v1", "api_key": "k"}}
    assert "sk-in-the-file" not in repr(found)
    assert {notice.code for notice in found.notices} == {"key_in_file", "calls_go_to"}


def test_models_with_other_settings_or_prompts_are_other_batches(read: Read) -> None:
    found = read("""\
        prompts: [{label: a, raw: A}, {label: b, raw: B}]
        providers:
          - openai:one
          - {id: openai:one, config: {temperature: 1}}
          - {id: openai:two, config: {temperature: 1}}
          - {id: openai:three, prompts: [b]}
        """)
    made = [([card.template for card in batch.cards], batch.models) for batch in found.batches]
    assert made == [
        (["A", "B"], ("openai:one",)),
        (["A", "B"], ("openai:one", "openai:two")),
        (["B"], ("openai:three",)),
    ]
    assert found.batches[1].cards[0].settings.temperature == 1
    assert [len(versions) for versions in found.card_files.values()] == [2, 2]


# -- assertions ------------------------------------------------------------------------------------------------------


def test_options_of_assertions_have_our_names(read: Read) -> None:
    found = read(
        """\
        prompts: ["{{ q }}"]
        assertionTemplates:
          short: {type: word-count, value: {max: 9}}
        tests:
          - vars: {q: hi, facts: f}
            options: {transform: "JSON.parse(output).text"}
            assert:
              - {type: llm-rubric, value: kind, provider: openai:gpt-4o, rubricPrompt: "Is {{ output }} {{ rubric }}?"}
              - {type: assert-set, threshold: 0.5, assert: [{type: contains, value: 5}, {type: latency, threshold: 9}]}
              - {$ref: "#/assertionTemplates/short", metric: short}
              - {type: is-json, value: file://s.json, transform: "output"}
              - {type: contains-any, value: "a, b"}
              - {type: context-recall, value: x, contextTransform: output.context}
              - {type: contains, value: file://text.txt}
        """,
        {"s.json": '{"type": "object"}', "text.txt": "from a file\n"},
    )
    rubric, group, short, schema, any_of, recall, text = found.cases[0].assertions
    taken = "{{ json.text if json.text is string else json.text|tojson }}"
    assert (rubric.provider, rubric.rubric_prompt) == ("openai:gpt-4o", "Is {{ output }} {{ rubric }}?")
    assert rubric.transform == taken
    assert [(one.type, one.value, one.transform) for one in group.assertions] == [
        ("contains", "5", taken),
        ("latency", None, None),
    ]
    assert (short.type, short.value, short.metric) == ("word-count", {"max": 9}, "short")
    assert schema.type == "unsupported"
    assert any_of.value == ["a", "b"]
    assert recall.options == {"context_transform": "json.context"}
    assert text.value == "from a file"
    assert lost(found) == [("assertion_unsupported", 11)]


@pytest.mark.parametrize(
    "assertion",
    [
        "{type: javascript, value: 'output.length < {{ n }}'}",
        "{type: contains, value: file://check.js}",
        "{type: contains, value: 'x', transform: 'output.split(1)'}",
        "{type: regex, value: '(?=x)'}",
        "{type: nonsense, value: x}",
        "{value: x}",
        "{$ref: '#/assertionTemplates/gone'}",
        "{type: contains, value: '{{ f() }}'}",
        "7",
        "file://check.py",
    ],
)
def test_an_assertion_that_does_not_run_keeps_its_place_and_decides_nothing(read: Read, assertion: str) -> None:
    found = read(f"prompts: [hi]\ntests:\n  - assert:\n      - {assertion}\n      - {{type: contains, value: h}}\n")
    placeholder, other = found.cases[0].assertions
    assert (placeholder.type, placeholder.weight, other.type) == ("unsupported", 0, "contains")
    assert ("assertion_unsupported", 4) in lost(found)
    generation = Generation("fake", "m", "0", "hi", 1.0)
    first, second = judge([compiled(one, {}) for one in (placeholder, other)], Answer("hi", generation, {}))
    assert (first.outcome, first.reason) == (Outcome.UNSCORED, "not_carried_over")
    assert combine([first, second])[0] is Outcome.PASS
    assert combine([first])[0] is Outcome.UNSCORED


def test_a_judge_that_cannot_be_called_leaves_the_choice_to_the_run(read: Read) -> None:
    found = read("""\
        prompts: [hi]
        tests:
          - assert:
              - {type: llm-rubric, value: kind, provider: anthropic:claude}
              - {type: similar, value: hi, provider: cohere:embedding:x}
        """)
    assert [(one.type, one.provider, one.weight) for one in found.cases[0].assertions] == [
        ("llm-rubric", None, 1),
        ("similar", None, 1),
    ]
    assert lost(found) == [("provider_unsupported", 4), ("provider_unsupported", 5)]
    (changed,) = [notice for notice in found.notices if notice.severity == "changed"]
    assert (changed.code, changed.line, changed.more_lines) == ("judge_changed", 4, (5,))


def test_a_judge_is_called_where_its_own_provider_is(read: Read) -> None:
    found = read("""\
        prompts: [hi]
        providers: [ollama:chat:a]
        defaultTest:
          options: {provider: {id: groq:judge, config: {temperature: 0}}}
        """)
    (batch,) = found.batches
    assert found.judges == ("openai:judge",)
    assert batch.endpoints["openai"].base_url == "https://api.groq.com/openai/v1"
    assert {notice.code for notice in found.notices} == {"calls_go_to", "judge_settings"}


@pytest.mark.parametrize(
    ("model", "judge"), [("openai:a", "groq:judge"), ("groq:a", "openai:judge"), ("groq:a", "mistral:judge")]
)
def test_a_judge_is_never_called_at_the_address_of_another_service(read: Read, model: str, judge: str) -> None:
    found = read(f"""\
        prompts: [hi]
        providers: [{model}]
        defaultTest: {{options: {{provider: {judge}}}}}
        tests:
          - assert: [{{type: llm-rubric, value: kind, provider: {judge}}}]
        """)
    assert found.judges == ()
    assert [(one.type, one.provider) for one in found.cases[0].assertions] == [("llm-rubric", None)]
    assert lost(found) == [("judge_address", 3)]
    assert found.not_carried_over == 2


def test_settings_for_programs_do_not_take_an_assertion_away(read: Read) -> None:
    found = read("""\
        prompts: [hi]
        tests:
          - assert:
              - type: llm-rubric
                value: kind
                config: {temperature: 0}
        """)
    assert found.cases[0].assertions == (Assertion("llm-rubric", "kind"),)
    assert lost(found) == [("option_unsupported", 6)]


def test_a_conversation_takes_an_escaped_value_for_a_text(read: Read) -> None:
    found = read(
        "prompts: [file://p.json]\ntests: [{vars: {q: 'say \"hi\"\\n'}}]\n",
        {
            "p.json": '[{"role": "system", "content": "Be {{ tone | dump }}"}, '
            '{"role": "user", "content": {{ q | dump }}}]'
        },
    )
    (card,) = found.cards
    assert (card.system, card.template) == ("Be {{ tone |tojson }}", "{{ q }}")


def test_what_goes_on_with_earlier_answers_is_said(read: Read) -> None:
    found = read(
        "prompts: [file://p.json]\n",
        {
            "p.json": '[{% for one in _conversation %}{"role": "user", "content": "{{ one.input }}"},{% endfor %}\n'
            '{"role": 1}]'
        },
    )
    assert not found.cards
    assert "each case" in str(found.notices[0]).lower()


def test_settings_of_the_protocol_that_have_no_name_here_are_sent_as_they_are(read: Read) -> None:
    found = read("""\
        prompts: [hi]
        providers:
          - id: openai:responses:a
            config:
              max_output_tokens: 9
              reasoning: {effort: low}
              user: me
              passthrough: {top_k: 4}
          - id: openai:b
            config: {passthrough: {model: other}}
        """)
    settings = found.batches[0].cards[0].settings
    assert (settings.max_tokens, settings.reasoning_effort) == (9, "low")
    assert settings.extra == {"user": "me", "top_k": 4}
    assert lost(found) == [("option_unsupported", 10)]


@pytest.mark.parametrize(
    ("provider", "words"), [("http", "no provider"), ("./mine.js", "program"), ("openai", "no model")]
)
def test_why_a_provider_cannot_be_called_is_said(read: Read, provider: str, words: str) -> None:
    found = read(f"prompts: [hi]\nproviders: [{{id: {provider}, env: {{A: b}}}}]\n")
    assert any(words in notice.message for notice in found.notices)
    assert lost(found)[0] in [("provider_unsupported", 2), ("option_unsupported", 2)]


def test_every_kind_of_promptfoo_is_read_or_said(read: Read) -> None:
    for kind in sorted(PROMPTFOO_KINDS):
        found = read(f"prompts: [hi]\ntests:\n  - assert: [{{type: {kind}, value: x, threshold: 0.5}}]\n")
        (only,) = found.cases[0].assertions
        assert (only.type == kind) != any(code == "assertion_unsupported" for code, _ in lost(found)), kind
        assert kind in kinds() or only.type == "unsupported"
