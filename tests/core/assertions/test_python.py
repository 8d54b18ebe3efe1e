"""Assertions in Python: only where they are allowed, and a broken check is never a verdict."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptcard_ext.core.answer import Answer
from promptcard_ext.core.assertions import Assertion, python
from promptcard_ext.core.assertions.base import compiled, looks_beyond_text
from promptcard_ext.core.assertions.checks import PREFIX, PythonCheck, check
from promptcard_ext.core.assertions.judging import judge
from promptcard_ext.core.card import Message
from promptcard_ext.core.case import Case
from promptcard_ext.core.composition import combine
from promptcard_ext.core.errors import CardError
from promptcard_ext.core.results import Generation, Outcome, Tokens, Verdict

PASS, FAIL, ERROR, UNSCORED = Outcome.PASS, Outcome.FAIL, Outcome.ERROR, Outcome.UNSCORED


@pytest.fixture(autouse=True)
def _allowed(tmp_path: Path) -> Iterator[None]:
    python.allow(tmp_path)
    yield
    python.forbid()


def verdict(assertion: Assertion, output: str | None = "hello", **more: Any) -> Verdict:
    generation = Generation("p", "m", "h", output, 12.0, Tokens(3, 4), cost_usd=Decimal("0.5"), **more)
    answer = Answer(output, generation, {"who": "Ada", "n": [1]}, (Message("system", "s"), Message("user", "Hi")))
    (one,) = judge([compiled(assertion, answer.variables)], answer)
    return one


def of(source: str, **fields: Any) -> Verdict:
    return verdict(Assertion("python", source, **fields))


@pytest.mark.parametrize(
    ("source", "outcome"),
    [
        ("output == 'hello'", PASS),
        ("'x' in output", FAIL),
        ("context['vars']['who'] == 'Ada'", PASS),
        ("context['prompt'] == 'Hi' and context['messages'][0]['role'] == 'system'", PASS),
        ("context['config']['most'] == 5", PASS),
        ("context['providerResponse']['latencyMs'] == 12 and context['providerResponse']['cost'] == 0.5", PASS),
        ("context['providerResponse']['tokenUsage'] == {'prompt': 3, 'completion': 4}", PASS),
        ("context['logProbs'] is None and context['trace'] is None and context['provider'] == 'p:m'", PASS),
        ("json.loads('{}') == {} and math.pi > 3 and bool(re.match('h', output))", PASS),
        ("  output == 'hello'  \n", PASS),
        ("if output == 'hello':\n    return True\nreturn False", PASS),
        ("import string\ntext = '''a\nb'''\nreturn text == 'a\\nb' and output[0] in string.ascii_letters", PASS),
        ("def inner(x):\n    return x == 'hello'\nreturn inner(output)", PASS),
        ("f'{{{output}}}' == '{' + 'hello' + '}' and '{{ who }}' != 'Ada'", PASS),
    ],
)
def test_expressions_and_statements(source: str, outcome: Outcome) -> None:
    one = of(source, options={"most": 5})
    assert (one.outcome, one.reason) == (outcome, None if outcome is PASS else "check_failed")
    other = verdict(Assertion("not-python", source, options={"most": 5}))
    assert (other.outcome, other.reason) == (outcome.negated(), "python_held" if outcome is PASS else None)


@pytest.mark.parametrize(
    ("source", "threshold", "outcome", "reason", "score"),
    [
        ("0.7", None, PASS, None, 0.7),
        ("0.7", 0.7, PASS, None, 0.7),
        ("0.69", 0.7, FAIL, "score_below_threshold", 0.69),
        ("0", None, FAIL, "check_failed", 0.0),
        ("0", 0.0, PASS, None, 0.0),
        ("7", 5.0, PASS, None, 1.0),
        ("-1", None, FAIL, "check_failed", 0.0),
        ("{'pass': True}", None, PASS, None, None),
        ("{'pass': False, 'reason': 'because'}", None, FAIL, "check_failed", None),
        ("{'pass_': True, 'score': 0}", None, PASS, None, 0.0),
        ("{'pass': False, 'score': 1}", None, FAIL, "check_failed", 1.0),
        ("{'pass': True, 'score': 0.4}", 0.5, FAIL, "score_below_threshold", 0.4),
        ("{'score': 0.4}", None, PASS, None, 0.4),
        ("{'score': 0.4}", 0.5, FAIL, "score_below_threshold", 0.4),
    ],
)
def test_scores(
    source: str, threshold: float | None, outcome: Outcome, reason: str | None, score: float | None
) -> None:
    one = of(source, threshold=threshold)
    assert (one.outcome, one.reason, one.score) == (outcome, reason, score)
    assert bool(one.message) == (outcome is not PASS)


@dataclass
class GradingResult:
    pass_: bool
    score: float
    reason: str
    component_results: list[Any] = field(default_factory=list)
    named_scores: dict[str, float] = field(default_factory=dict)


@check
def graded(output: str) -> GradingResult:
    return GradingResult(True, 0.75, "fine", [False, {"pass": True, "score": 0.5}], {"tone": numpy.float32(0.25)})  # type: ignore[dict-item]


def test_a_result_may_have_parts_and_named_scores() -> None:
    one = verdict(graded.assertion())
    assert (one.outcome, one.score) == (PASS, 0.75)
    assert [(part.outcome, part.score, part.metric, part.weight) for part in one.parts] == [
        (FAIL, None, None, 1.0),
        (PASS, 0.5, None, 1.0),
        (PASS, 0.25, "tone", 0.0),
    ]
    assert len({part.uid for part in one.parts}) == 3


@pytest.mark.parametrize(("said", "points"), [(True, 1.0), (False, 0.0)])
def test_a_verdict_with_parts_and_without_a_score_is_not_taken_for_an_open_one(said: bool, points: float) -> None:
    one = of(f"{{'pass': {said}, 'componentResults': [True, False]}}")
    assert one.points == points
    assert combine([one], 0.5)[0] is (PASS if said else FAIL)


@pytest.mark.parametrize(("value", "outcome"), [(numpy.True_, PASS), (numpy.False_, FAIL), (numpy.float32(0.5), PASS)])
def test_scalars_of_numpy_are_numbers_and_truths(value: Any, outcome: Outcome) -> None:
    assert verdict(check(lambda output: value).assertion()).outcome is outcome


@pytest.mark.parametrize(
    "source",
    [
        "None",
        "'yes'",
        "[]",
        "output.upper",
        "float('nan')",
        "float('inf')",
        "10 ** 400",
        "1j",
        "{}",
        "{'pass': 'yes'}",
        "{'pass': None}",
        "{'pass': True, 'score': 'high'}",
        "{'pass': True, 'score': float('nan')}",
        "{'pass': True, 'score': True}",
        "{'pass': True, 'componentResults': 5}",
        "{'pass': True, 'componentResults': [None]}",
        "{'pass': True, 'componentResults': [True] * 101}",
        "{'pass': True, 'namedScores': {'a': 'b'}}",
        "x = {'pass': True}\nx['componentResults'] = [x]\nreturn x",
        "output = output",
        "async def f(): pass\nreturn f()",
    ],
)
@pytest.mark.parametrize("kind", ["python", "not-python"])
def test_a_result_that_says_nothing_is_an_error(kind: str, source: str) -> None:
    one = verdict(Assertion(kind, source))
    assert (one.outcome, one.reason) == (ERROR, "python_result")
    assert 0 < len(one.message) < 400


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero (<assertion>, line 1)"),
        ("x = 1\nreturn undefined", "NameError: name 'undefined' is not defined (<assertion>, line 2)"),
        ("exit(3)", "SystemExit: 3"),
        ("raise ValueError('\\ud800' * 9999)", "ValueError: "),
        ("def f(): return f()\nreturn f()", "RecursionError: "),
    ],
)
@pytest.mark.parametrize("kind", ["python", "not-python"])
def test_a_check_that_crashes_is_an_error_that_names_the_line(kind: str, source: str, told: str) -> None:
    one = verdict(Assertion(kind, source))
    assert (one.outcome, one.reason) == (ERROR, "assertion_crashed")
    assert one.message.startswith(told)
    assert len(one.message) < 400


def test_ctrl_c_in_a_check_is_not_swallowed() -> None:
    with pytest.raises(KeyboardInterrupt):
        of("raise KeyboardInterrupt")


@pytest.mark.parametrize(
    "source", ["output ==", "return (", "if x\n  return 1", "a\x00b", "(" * 500 + ")" * 500, "\ud800"]
)
def test_what_is_no_python_is_refused_before_the_run(source: str) -> None:
    with pytest.raises(CardError) as caught:
        Assertion("python", source)
    assert caught.value.code == "assertion_invalid"


@pytest.mark.parametrize("value", [None, "", "  ", 5, ["output"], "x" * 50_001])
def test_a_value_that_is_no_source_is_refused(value: Any) -> None:
    with pytest.raises(CardError):
        Assertion("python", value)


def test_where_it_is_not_allowed_nothing_runs_and_nobody_judges(tmp_path: Path) -> None:
    python.forbid()
    mark = tmp_path / "ran"
    (tmp_path / "checks.py").write_text(f"open({str(mark)!r}, 'w')\ndef get_assert(output): return True\n")
    for source in (
        f"open({str(mark)!r}, 'w') and True",
        f"file://{tmp_path}/checks.py",
        graded.reference,
        "not python (",
    ):
        for kind in ("python", "not-python"):
            one = verdict(Assertion(kind, source))
            assert (one.outcome, one.reason) == (UNSCORED, "python_not_here")
    assert not mark.exists()


def test_the_values_of_a_case_never_get_into_the_code() -> None:
    assertion = Assertion("assert-set", assertions=[Assertion("python", "'{{ who }}' == '{' * 2 + ' who ' + '}' * 2")])
    assert verdict(assertion).outcome is PASS
    assert looks_beyond_text(assertion)


def test_a_check_cannot_change_what_others_see() -> None:
    assertions = [
        Assertion("python", "context['vars']['n'].append(2) is None"),
        Assertion("python", "context['vars']['n'] == [1]"),
    ]
    assert [verdict(one).outcome for one in assertions] == [PASS, PASS]


def test_without_text_and_tool_calls_nobody_judges() -> None:
    one = verdict(Assertion("python", "True"), None)
    assert (one.outcome, one.reason) == (UNSCORED, "no_text")
    calls = [{"name": "f"}]
    source = "output is None and context['providerResponse']['toolCalls'] == [{'name': 'f'}]"
    assert verdict(Assertion("python", source), None, tool_calls=calls).outcome is PASS
    # What takes a text for granted breaks, and does not pass.
    assert verdict(Assertion("not-python", "'secret' in output"), None, tool_calls=calls).outcome is ERROR


# -- files -----------------------------------------------------------------------------------------------------------


def test_functions_from_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "words.py").write_text("WORDS = ['hello']\n")
    (tmp_path / "sub" / "checks.py").write_text(
        "from dataclasses import dataclass\nfrom words import WORDS\n"
        "def get_assert(output, context):\n    return output in WORDS and context['vars']['who'] == 'Ada'\n"
        "def short(output):\n    return len(output) < 3\n"
        "@dataclass\nclass Result:\n    pass_: bool\n"
        "def result(output, context=None):\n    return Result(context is not None)\n"
        "def keyword(output, *, strict=False):\n    return True\n"
    )
    assert of("file://sub/checks.py").outcome is PASS
    assert of("file://sub/checks.py:short").outcome is FAIL
    assert of("file://sub/checks.py:result").outcome is PASS
    assert of("file://sub/checks.py:keyword").outcome is PASS
    assert of(f"file://{tmp_path}/sub/checks.py:get_assert").outcome is PASS


def test_a_file_that_was_edited_is_loaded_anew(tmp_path: Path) -> None:
    path = tmp_path / "checks.py"
    path.write_text("def get_assert(output): return True")
    assert of("file://checks.py").outcome is PASS
    before = path.stat()
    path.write_text("def get_assert(output): return False")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    assert of("file://checks.py").outcome is FAIL


@pytest.mark.parametrize(
    ("content", "reference", "reason"),
    [
        (None, "checks.py", "check_missing"),
        ("", "checks.py", "check_missing"),
        ("x = 1", "checks.py:x", "check_missing"),
        ("def get_assert(): return 1 / 0", "checks.py", "assertion_crashed"),
        ("raise OSError('no')", "checks.py", "assertion_crashed"),
        ("def (", "checks.py", "assertion_crashed"),
        ("def get_assert(output): return 'yes'", "checks.py", "python_result"),
        ("def get_assert(output): return True", "checks.txt", "check_missing"),
    ],
)
def test_a_file_that_does_not_do_is_an_error(tmp_path: Path, content: str | None, reference: str, reason: str) -> None:
    if content is not None:
        (tmp_path / reference.partition(":")[0]).write_text(content)
    for _ in range(2):
        one = of(f"file://{reference}")
        assert (one.outcome, one.reason) == (ERROR, reason)
        assert one.message


# -- functions of the program ----------------------------------------------------------------------------------------


@check
def polite(output: str, context: dict[str, Any]) -> bool:
    """Tell whether it begins with a greeting."""
    return output.startswith(context["config"].get("greeting", "hello"))


def test_a_function_is_an_assertion_and_still_a_function() -> None:
    assert polite("hello", {"config": {}})
    assert (polite.__doc__, polite.__name__) == ("Tell whether it begins with a greeting.", "polite")
    one = verdict(polite.assertion(metric="tone", weight=2, options={"greeting": "hi"}))
    assert (one.outcome, one.metric, one.weight) == (FAIL, "tone", 2.0)
    assert verdict(polite.assertion(negated=True)).outcome is FAIL
    assert verdict(Assertion("python", polite.reference)).outcome is PASS


def test_its_identity_is_its_name_and_source_and_survives_a_file() -> None:
    assert polite.reference.startswith(f"{PREFIX}{__name__}:polite@")
    case = Case({"a": 1}, [polite.assertion(threshold=0.5)])
    again = msgspec.json.decode(msgspec.json.encode(case), type=Case)
    assert again == case
    assert again.assertions[0].uid == polite.assertion(threshold=0.5).uid


def defined(source: str) -> PythonCheck:
    names: dict[str, Any] = {"__name__": "notebook"}
    exec(source, names)
    return check(names["f"])


def test_other_source_is_another_check() -> None:
    one, same, other = (defined(f"def f(output): return {value}") for value in ("1", "1", "2"))
    assert one.reference == same.reference != other.reference


def test_functions_that_a_function_makes_are_kept_apart() -> None:
    def at_least(number: int) -> PythonCheck:
        @check
        def long_enough(output: str, margin: int = number) -> bool:
            return len(output) >= number

        return long_enough

    five, six = at_least(5), at_least(6)
    assert at_least(5).reference == five.reference != six.reference
    assert [verdict(one.assertion()).outcome for one in (five, six)] == [PASS, FAIL]


def test_a_check_that_is_not_there_or_not_what_it_was_is_an_error() -> None:
    one = of(f"{PREFIX}elsewhere:f@123456789abc")
    assert (one.outcome, one.reason) == (ERROR, "check_missing")
    assert "import the module" in one.message
    assert "not what it was" in of(f"{PREFIX}{__name__}:polite@123456789abc").message


@given(st.text(max_size=30))
def test_any_text_is_refused_or_judged_and_nothing_else_happens(source: str) -> None:
    python.allow()
    try:
        assertion = Assertion("python", f"# {source}\nreturn output == {source!r}")
    except CardError:
        return
    one = verdict(assertion, source)
    assert one.outcome in (PASS, ERROR)


def test_python_from_a_workspace_runs_only_after_its_reader_has_said_so(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text("def get_assert(output): return True")
    function = check(lambda output: True)
    inline, file = Assertion("python", "len(output) == 5"), Assertion("not-python", "file://theirs.py")
    inside = Assertion("assert-set", assertions=(inline, file))
    python.distrust([inside, function.assertion()])
    try:
        for one in (inline, file, msgspec.structs.replace(inline, metric="copied")):
            assert (verdict(one).outcome, verdict(one).reason) == (UNSCORED, "python_not_trusted")
        assert verdict(function.assertion()).reason != "python_not_trusted"
        assert of("len(output) == 6").outcome is FAIL
    finally:
        python.trust([inside])
    assert (verdict(inline).outcome, verdict(file).outcome) == (PASS, FAIL)
