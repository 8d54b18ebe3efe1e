"""A promptfoo configuration: what becomes of its parts, and that everything else is said with its line."""

from pathlib import Path

import pytest

from promptcard_ext.core.errors import FileError
from promptcard_ext.core.matrix import Plan
from promptcard_ext.interchange.promptfoo import read_promptfoo
from tests.interchange.promptfoo.conftest import Read, lost

BASIC = """\
    description: Greetings
    prompts:
      - "Say {{ greeting }} to {{ name }}."
    providers:
      - openai:gpt-4o-mini
      - ollama:chat:llama3.2:1b
    tests:
      - description: plain
        vars: {greeting: hello, name: Ada}
        assert:
          - {type: contains, value: "{{ name }}", weight: 2, metric: name}
          - {type: not-regex, value: sorry}
        threshold: 0.5
        metadata: {topic: manners}
    """


def test_prompts_models_tests_and_assertions_are_taken_over(read: Read) -> None:
    found = read(BASIC)
    assert not found.notices
    (batch,) = found.batches
    (card,) = batch.cards
    assert card.template == "Say {{ greeting }} to {{ name }}."
    assert batch.models == ("openai:gpt-4o-mini", "ollama:llama3.2:1b")
    (case,) = found.cases
    assert (case.name, case.threshold, case.metadata) == ("plain", 0.5, {"topic": "manners"})
    assert [(one.type, one.value, one.weight, one.metric) for one in case.assertions] == [
        ("contains", "{{ name }}", 2, "name"),
        ("not-regex", "sorry", 1, None),
    ]


def test_what_was_read_can_be_planned(read: Read) -> None:
    found = read(BASIC)
    prepared = Plan(found.cards, found.models, found.cases).prepare()
    assert prepared.messages(prepared.plan.item(0))[-1].content == "Say hello to Ada."


def test_lists_of_texts_are_a_product_and_other_lists_are_values(read: Read) -> None:
    found = read("""\
        prompts: ["{{ a }} {{ b }} {{ c }}"]
        tests:
          - description: each
            vars: {a: [x, y], b: ["1", "2"], c: [1, 2]}
          - vars: {a: [x, z], b: q, c: w}
            options: {disableVarExpansion: true}
        """)
    made = [(case.variables["a"], case.variables["b"]) for case in found.cases[:4]]
    assert made == [("x", "1"), ("x", "2"), ("y", "1"), ("y", "2")]
    assert {case.name for case in found.cases[:4]} == {f"each ({number})" for number in range(1, 5)}
    assert found.cases[0].variables["c"] == [1, 2]
    assert found.cases[4].variables["a"] == ["x", "z"]


def test_a_product_that_explodes_is_refused(read: Read) -> None:
    values = "[" + ", ".join(f"v{number}" for number in range(400)) + "]"
    found = read(f"prompts: ['{{{{ a }}}}']\ntests:\n  - vars: {{a: {values}, b: {values}}}\n")
    assert lost(found) == [("too_many_cases", 3)]
    assert not found.cases


def test_defaults_stand_behind_every_test_and_scenarios_multiply(read: Read) -> None:
    found = read("""\
        prompts: ["{{ language }}: {{ text }} {{ tone }}"]
        defaultTest:
          vars: {tone: kind}
          assert: [{type: not-contains, value: sorry}]
          threshold: 0.9
        scenarios:
          - config:
              - vars: {language: French}
                assert: [{type: contains, value: f}]
              - vars: {language: German, tone: curt}
            tests:
              - {vars: {text: one}, assert: [{type: contains, value: o}]}
              - {vars: {text: two}, options: {disableDefaultAsserts: true}, threshold: 0.1}
        """)
    assert [case.variables for case in found.cases] == [
        {"tone": "kind", "language": "French", "text": "one"},
        {"tone": "kind", "language": "French", "text": "two"},
        {"tone": "curt", "language": "German", "text": "one"},
        {"tone": "curt", "language": "German", "text": "two"},
    ]
    assert [one.value for one in found.cases[0].assertions] == ["sorry", "f", "o"]
    assert [case.threshold for case in found.cases] == [0.9, 0.1, 0.9, 0.1]


def test_tests_come_from_files_of_every_form(read: Read) -> None:
    found = read(
        """\
        prompts: ["{{ q }}"]
        tests:
          - file://a.yaml
          - file://more/*.json
          - file://rows.csv
          - file://lines.jsonl
        """,
        {
            "a.yaml": "- vars: {q: yaml}\n",
            "more/b.json": '[{"vars": {"q": "json"}}]',
            "rows.csv": "q,__expected1,__expected2,__description,__metadata:tags[]\n"
            'csv,contains: c,"is-json",row,"a,b\\,c"\n',
            "lines.jsonl": '{"vars": {"q": "jsonl"}, "assert": [{"type": "equals", "value": "x"}]}\n',
        },
    )
    assert not found.notices
    assert [case.variables["q"] for case in found.cases] == ["yaml", "json", "csv", "jsonl"]
    assert [one.type for one in found.cases[2].assertions] == ["contains", "is-json"]
    assert found.cases[2].name == "row"
    assert found.cases[2].metadata == {"tags": ["a", "b,c"]}


def test_variables_are_read_from_files_and_made_of_each_other(read: Read) -> None:
    found = read(
        """\
        prompts: ["{{ item }} {{ data.city }}"]
        tests:
          - vars: {item: "a tweet about {{ topic }}", topic: "{{ fruit }}", fruit: bananas, data: file://d.yaml}
          - vars: {item: file://t/*.txt, data: {city: Bern}, code: "{{ nothing }}"}
        """,
        {"d.yaml": "{city: Rome}", "t/1.txt": "one\n", "t/2.txt": "two\n"},
    )
    first, second, third = found.cases
    assert (first.variables["item"], first.variables["data"]) == ("a tweet about bananas", {"city": "Rome"})
    assert [second.variables["item"], third.variables["item"]] == ["one", "two"]
    assert second.variables["code"] == "{{ nothing }}"


def test_a_variable_that_a_case_lacks_is_an_empty_text(read: Read) -> None:
    found = read("""\
        prompts: ["[{{ a }}{{ b | default('none') }}]"]
        tests: [{vars: {a: x}}, {vars: {b: y}}]
        """)
    (card,) = found.cards
    assert [card.render(case.variables)[0].content for case in found.cases] == ["[xnone]", "[y]"]
    assert {notice.code for notice in found.notices} == {"variable_missing"}


def test_a_value_that_is_no_text_is_printed_as_json(read: Read) -> None:
    found = read("""\
        prompts: ["{{ flag }} {{ order }} {{ n }}"]
        tests: [{vars: {flag: true, order: {id: 7}, n: 3}}]
        """)
    assert found.cards[0].render(found.cases[0].variables)[0].content == 'true {"id": 7} 3'


def test_columns_that_cannot_be_variables_are_kept_as_metadata(read: Read) -> None:
    found = read("prompts: ['{{ q }}']\ntests: file://t.csv\n", {"t.csv": "q,Asked by\nhi,Ada\n"})
    assert (found.cases[0].variables, found.cases[0].metadata) == ({"q": "hi"}, {"Asked by": "Ada"})
    assert [notice.code for notice in found.notices] == ["variable_name"]


def test_text_before_and_after_a_prompt_is_a_variable(read: Read) -> None:
    found = read("""\
        prompts: ["{{ q }}"]
        commandLineOptions: {promptPrefix: "Be kind. "}
        tests: [{vars: {q: hi}, options: {suffix: " Thanks, {{ q }}."}}, {vars: {q: ho}}]
        """)
    (card,) = found.cards
    assert [card.render(case.variables)[0].content for case in found.cases] == [
        "Be kind. hi Thanks, hi.",
        "Be kind. ho",
    ]


def test_tests_with_the_same_variables_become_one_case_that_wants_both(read: Read) -> None:
    found = read("""\
        prompts: ["{{ q }}"]
        tests:
          - {vars: {q: hi}, assert: [{type: contains, value: a}]}
          - {vars: {q: hi}, assert: [{type: contains, value: b}], threshold: 0.5}
          - {vars: {q: ho}}
          - {vars: {q: ho}}
        """)
    joined, twice = found.cases
    assert [one.type for one in joined.assertions] == ["contains", "assert-set"]
    assert joined.assertions[1].threshold == 0.5
    assert not twice.assertions
    assert [notice.code for notice in found.notices] == ["test_twice", "tests_joined"]


def test_options_of_the_run_are_taken_over(read: Read) -> None:
    found = read("""\
        prompts: [hi]
        defaultTest: {options: {provider: openai:gpt-4o, repeat: 3}}
        evaluateOptions: {maxConcurrency: 7, timeoutMs: 2500, maxEvalTimeMs: 60000, cache: false, delay: 100}
        derivedMetrics:
          - {name: f1, value: "2 * tp / (2 * tp + fp)"}
          - {name: js, value: "function (scores) { return 1 }"}
        """)
    assert (found.judges, found.repeats, found.concurrency) == (("openai:gpt-4o",), 3, 7)
    assert (found.timeout_s, found.deadline_s, found.mode) == (2.5, 60.0, "live")
    assert found.derived == {"f1": "2 * tp / (2 * tp + fp)"}
    assert lost(found) == [("option_unsupported", 3), ("metric_unsupported", 6)]


def test_everything_that_does_not_run_here_is_said_with_its_line(read: Read) -> None:
    found = read(
        """\
        prompts:
          - file://make.js
          - "{{ x | reverse }}"
          - file://p.txt
          - exec:./make.sh
        providers:
          - anthropic:messages:claude
          - id: echo
            config: {temperature: 7, frobnicate: 1}
            delay: 5
        redteam: {}
        extensions: [file://hook.py:f]
        tests:
          - vars: {x: a, doc: file://get.py, pic: file://a.png, gone: file://gone.txt}
            provider: openai:gpt-4o
            options: {storeOutputAs: y, runSerially: true}
            assert: [{type: javascript, value: 1}]
          - https://docs.google.com/spreadsheets/d/1
          - file://tests.py:make
          - huggingface://datasets/x
          - 7
        """,
        {"p.txt": "Good {{ x }}\n---\n\nBad\n{{ f(x) }}\n", "make.js": "", "a.png": "", "get.py": ""},
    )
    notices = {(notice.code, notice.file.rpartition("/")[2], notice.line) for notice in found.notices}
    config = "promptfooconfig.yaml"
    assert notices == {
        ("prompt_unsupported", config, 2),
        ("template_unsupported", config, 3),
        ("template_unsupported", "p.txt", 5),
        ("prompt_unsupported", config, 5),
        ("provider_unsupported", config, 7),
        ("option_unsupported", config, 9),
        ("option_unsupported", config, 10),
        ("option_unsupported", config, 11),
        ("option_unsupported", config, 12),
        ("var_unsupported", config, 14),
        ("file_missing", config, 14),
        ("option_unsupported", config, 15),
        ("option_unsupported", config, 16),
        ("assertion_unsupported", config, 17),
        ("tests_unsupported", config, 18),
        ("tests_unsupported", config, 19),
        ("tests_unsupported", config, 20),
        ("test_invalid", config, 21),
        ("variable_missing", "p.txt", 0),
    }
    assert [card.template for card in found.cards] == ["Good {{ x }}"]
    assert found.models == ("simulated:echo",)
    assert found.not_carried_over >= len(lost(found)) >= 18


def test_the_same_notice_has_all_its_lines(read: Read) -> None:
    found = read("""\
        prompts: ["{{ q }}"]
        tests:
          - vars: {q: a}
            assert: [{type: javascript, value: "1"}]
          - vars: {q: b}
            assert: [{type: javascript, value: "2"}]
          - vars: {q: c}
            assert:
              - {type: javascript, value: "3"}
        """)
    (notice,) = found.notices
    assert (notice.line, notice.more_lines, notice.count) == (4, (6, 9), 3)
    assert "(3 times; also lines 6, 9)" in str(notice)


def test_nothing_goes_in_silence(read: Read) -> None:
    found = read("""\
        prompts: ["{{ q }}"]
        tags: {team: a}
        providers:
          - {id: echo, env: {A: b}}
        defaultTest:
          options: {provider: {text: echo, moderation: "openai:moderation"}}
        tests:
          - vars: {q: a}
            config: {x: 1}
            options: {disableConversationVar: true}
            assert: [{type: contains, value: "{{ gone }}"}]
          - vars: {q: "{{ other }}"}
        """)
    said = {(notice.code, notice.line, notice.count) for notice in found.notices}
    assert said == {
        ("labels_left", 2, 1),
        ("option_unsupported", 4, 1),
        ("option_unsupported", 6, 1),
        ("option_unsupported", 9, 1),
        ("option_unsupported", 10, 1),
        ("variable_missing", 8, 1),
        ("template_in_value", 12, 1),
    } | {one for one in said if one[:2] == ("variable_missing", 1)}


def test_a_scenario_names_its_tests(read: Read) -> None:
    found = read("""\
        prompts: ["{{ q }}"]
        scenarios:
          - description: greetings
            config: [{vars: {q: a}}]
            tests: [{}, {vars: {q: b}, description: own}]
        """)
    assert [case.name for case in found.cases] == ["greetings", "own"]


def test_the_environment_is_read_in_files_too(read: Read) -> None:
    found = read(
        """\
        prompts: [file://p.txt]
        tests: [file://t.csv, {vars: {q: file://q.txt}}]
        """,
        {
            "p.txt": "{{ env.CITY }}: {{ q }}",
            "q.txt": "in {{ env.CITY }}",
            "t.csv": "q,__expected\n{{ env.CITY }},{{ env.CITY }}\n",
        },
        environment={"CITY": "Rome"},
    )
    assert found.cards[0].template == "Rome: {{ q }}"
    assert [case.variables["q"] for case in found.cases] == ["Rome", "in Rome"]
    assert found.cases[0].assertions[0].value == "Rome"
    assert not found.notices


def test_the_same_notice_from_many_rows_is_one_with_a_count(read: Read) -> None:
    rows = "".join(f"{number},javascript: output\n" for number in range(50))
    found = read("prompts: ['{{ q }}']\ntests: file://t.csv\n", {"t.csv": "q,__expected\n" + rows})
    (notice,) = found.notices
    assert (notice.count, found.not_carried_over) == (50, 50)
    assert "line 2" in notice.place
    assert "50 times" in str(notice)


@pytest.mark.parametrize("target", ["../secret.txt", "/etc/passwd", "link.txt", "../*.txt", "/etc/*"])
def test_files_outside_of_its_folder_are_not_read(read: Read, tmp_path: Path, target: str) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "link.txt").symlink_to(tmp_path / "secret.txt")
    found = read(f"prompts: ['{{{{ q }}}}']\ntests: [{{vars: {{q: 'file://{target}'}}}}]\n")
    assert lost(found) == [("file_outside", 2)]
    assert found.cases[0].variables == {}


def test_files_outside_are_read_when_that_is_allowed(read: Read, tmp_path: Path) -> None:
    (tmp_path / "shared.txt").write_text("shared")
    found = read("prompts: ['{{ q }}']\ntests: [{vars: {q: file://../shared.txt}}]\n", allow_outside=True)
    assert (found.cases[0].variables, found.notices) == ({"q": "shared"}, ())


def test_the_environment_is_read_and_secrets_stay_where_they_are(read: Read) -> None:
    found = read(
        """\
        env: {OWN_KEY: mine}
        prompts: ["{{ env.CITY }} {{env.NONE | default('x')}} {{ env.OWN_KEY }} {{ env.OPENAI_API_KEY }}{{ env.GONE }}"]
        """,
        environment={"CITY": "Rome", "OPENAI_API_KEY": "sk-secret", "OWN_KEY": "other"},
    )
    assert found.cards[0].template == "Rome x mine "
    assert [(notice.severity, notice.code) for notice in found.notices] == [
        ("lost", "env_secret"),
        ("changed", "env_missing"),
    ]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "file_empty"),
        ("a: [", "yaml_syntax"),
        ("- prompts", "promptfoo_invalid"),
        ("other: 1", "promptfoo_invalid"),
        ("prompts: [a]\nprompts: [b]", "yaml_syntax"),
        ("prompts: &a [*a]", "yaml_syntax"),
    ],
)
def test_what_is_no_configuration_is_an_error(tmp_path: Path, text: str, code: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(FileError) as caught:
        read_promptfoo(path)
    assert caught.value.code == code
    with pytest.raises(FileError) as caught:
        read_promptfoo(tmp_path / "promptfooconfig.js")
    assert caught.value.code == "promptfoo_invalid"


def test_json_configurations_are_read(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{\n\t"prompts": ["{{ q }}"],\n\t"tests": [{"vars": {"q": "\\ud83d\\ude00"}}]\n}')
    assert read_promptfoo(path, environment={}).cases[0].variables == {"q": "😀"}
