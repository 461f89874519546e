"""The lesson's pages say what the code does: every writing call has its face, with the call's own values."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from provision import STEPS
from provision.errata import ERRATA
from provision.lesson import terms
from provision.lesson.call import faces
from provision.lesson.page import REQUIRED, BadPage, ConsoleFace, Page, names, read
from provision.lesson.picture import as_text
from provision.record.transcript import Transcript
from provision.settings import AccountRules, Settings
from provision.state.state import State
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.deployment import ACCOUNT, REGION, Deployment

VARIANTS = {
    "corrected": Settings(),
    "learner": Settings(learner="anna"),
    "as-written": Settings(as_written=True, learner="faithful"),
    "with-a-key": Settings(learner="keyed", rules=AccountRules(auth="api-key")),
}
LESSONS = CHECKOUT / "lessons"


def pages(settings: Settings, folder: Path | None = None) -> dict[str, Page]:
    filled = names(settings, account=ACCOUNT, region=REGION)
    return {step.name: read(step.name, filled, folder=folder) for step in STEPS}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[dict[str, Any]]]]:
    """By variant, the writing calls of a build, as the transcript has them."""
    calls = {}
    with Sandbox() as sandbox:
        for variant, settings in VARIANTS.items():
            path = tmp_path_factory.mktemp(variant) / "ledger.json"
            calls[variant] = writes(Deployment(sandbox.id, sandbox.url, path, settings))
    yield calls


def writes(deployment: Deployment) -> list[dict[str, Any]]:
    with deployment:
        heard: list[list[dict[str, Any]]] = []

        def prepare(aws: Any, state: State) -> None:
            transcript = Transcript(aws.waiting)
            aws.calls.listeners.append(transcript.call)
            transcript.begin("provision", state)
            heard.append(transcript.events)

        deployment.prepare = prepare
        deployment.build()
    return [event for event in heard[0] if event["type"] == "call" and not event["read"]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_writing_call_has_a_face_with_its_own_values(
    recorded: dict[str, list[dict[str, Any]]], variant: str
) -> None:
    lesson = pages(VARIANTS[variant])
    assert len(recorded[variant]) > 15
    for call in recorded[variant]:
        face = lesson[call["step"]].console_face(call["operation"], call["parameters"])
        assert face is not None, f"{call['step']}.md says nothing true of {call['operation']} {call['parameters']}"
        assert covered_by(face) == set(call["parameters"]), call["operation"]
        shown = faces(call, lesson[call["step"]], region=REGION)
        assert shown.console == face.lines() and shown.aws.startswith("aws ") and shown.boto3


def covered_by(face: ConsoleFace) -> set[str]:
    """The names of the call's parameters that the rows name."""
    return {re.split(r"[.\[ ]", parameter, maxsplit=1)[0] for _, _, parameter in face.rows if parameter}


def test_what_the_pages_say_of_an_answer_is_in_the_answer(recorded: dict[str, list[dict[str, Any]]]) -> None:
    lesson = pages(VARIANTS["corrected"])
    is_recorded = seen = 0
    for call in recorded["corrected"]:
        face = lesson[call["step"]].console_face(call["operation"], call["parameters"])
        assert face is not None
        is_recorded += len(face.answer)
        seen += len(faces(call, lesson[call["step"]]).answer)
    assert is_recorded >= 15
    assert is_recorded == seen


def test_the_names_of_a_learner_are_in_the_text() -> None:
    for name, page in pages(Settings(learner="anna")).items():
        text = " ".join([page.purpose, page.console, *(line for face in page.console_faces for line in face.lines())])
        assert "anna" in text, name
        bare = r"(POC-Queue|POC-Lambda-1|POC-API|DynamoDB-Role|APIGateway-SQS)(?!-anna|-DLQ-anna|-invoke)\b"
        assert not re.search(bare, text), name


@pytest.mark.parametrize(
    ("step", "guess", "said", "local", "lines"),
    [
        ("table", "b", "ACTIVE", True, ["It is ready (ACTIVE).", "On AWS: CREATING, as", "For AWS you were right."]),
        ("table", "a", "ACTIVE", True, ["It is ready (ACTIVE).", "On AWS: CREATING, as", "You were right."]),
        ("table", "a", "CREATING", True, ["It is being made (CREATING)."]),
        ("table", "b", "CREATING", False, ["It is being made (CREATING).", "You were right."]),
        ("roles", "b", "nothing", True, ["Yes, the call is accepted."]),
        ("api", "a", '{"Sid": "one"}', False, ["In a statement of the function's own policy.", "You were right."]),
        ("trigger", "b", "Creating", True, ["Creating: it will poll soon.", "You were right."]),
    ],
)
def test_a_guess_is_judged_in_sentences_by_what_was_said_and_by_what_aws_says(
    step: str, guess: str, said: str, local: bool, lines: list[str]
) -> None:
    prediction = pages(Settings())[step].prediction
    assert prediction is not None
    told = prediction.verdict(guess, said, local=local)
    assert told[0] == f"{'The local AWS' if local else 'AWS'} answered: {lines[0]}"
    assert len(told) == len(lines) and all(map(str.startswith, told[1:], lines[1:]))


@pytest.mark.parametrize("learner", [None, "anna", "a" * 39])
@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_picture_keeps_to_its_width_and_goes_on_below_where_it_began(learner: str | None, width: int) -> None:
    drawn = as_text(Settings(learner=learner), ["queue"], width=width).plain.splitlines()
    for line in drawn:
        assert len(line) <= max(width, len("      (SQS-Lambda-DynamoDB-Role-)") + 39) and line == line.rstrip()
    assert {len(line) - len(line.lstrip()) for line in drawn} <= {0, 2, 5, 6}


def test_each_variant_has_its_own_sentences() -> None:
    corrected, as_written = pages(Settings())["queue"], pages(Settings(as_written=True))["queue"]
    assert "POC-Queue-DLQ" in corrected.purpose and "POC-Queue-DLQ" not in as_written.purpose
    assert ">" not in corrected.purpose and "Corrected:" not in corrected.purpose
    assert "POC-API-Key" in pages(VARIANTS["with-a-key"])["stage"].console
    assert "POC-API-Key" not in pages(Settings())["stage"].console


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.name)
def test_every_write_in_the_code_of_a_step_has_a_heading_in_its_page(step: Any) -> None:
    """Updates, too, which a fresh build does not make."""
    source = Path(step.load().__file__).read_text(encoding="utf-8")
    written = {
        method
        for method in re.findall(r"aws\.(?!waiting|listener)[a-z_]+\.([a-z_]+)\(", source)
        if not method.startswith(("get_", "list_", "describe_"))
    }
    page = pages(VARIANTS["with-a-key"])[step.name]
    headings = {re.sub(r"(?<!^)(?=[A-Z])", "_", face.operation).lower() for face in page.console_faces}
    assert written == headings
    assert page.title == step.title
    assert f"lessons/{step.name}.md" in step.load().__doc__.splitlines()[0]  # the lesson stands once, and there


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_fresh_build_makes_the_calls_that_the_page_has_first(
    recorded: dict[str, list[dict[str, Any]]], variant: str
) -> None:
    for step, page in pages(VARIANTS[variant]).items():
        calls = [call for call in recorded[variant] if call["step"] == step]
        made = [page.console_face(call["operation"], call["parameters"]) for call in calls]
        assert [face for face in page.console_faces if not face.updates and face not in made] == [], step
        assert not any(face is not None and face.updates for face in made), step


def test_a_page_whose_value_is_not_the_calls_has_no_face_for_it(
    recorded: dict[str, list[dict[str, Any]]], tmp_path: Path
) -> None:
    for path in LESSONS.glob("*.md"):
        (tmp_path / path.name).write_text(path.read_text())
    table = tmp_path / "table.md"
    (create,) = [call for call in recorded["corrected"] if call["operation"] == "CreateTable"]
    assert pages(Settings(), tmp_path)["table"].console_face("CreateTable", create["parameters"])
    table.write_text(table.read_text().replace("BillingMode = PAY_PER_REQUEST", "BillingMode = PROVISIONED"))
    assert pages(Settings(), tmp_path)["table"].console_face("CreateTable", create["parameters"]) is None


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        ("{table}", "{tabel}", "nothing is called {tabel}"),
        ("## Why now", "## Why", "'Why now' is missing. Line 8 has 'Why'."),
        ("`CreateTable`: `[0]", "CreateTable: `[0]", "the section of line 23, 'Prediction', has no last line like"),
        ("TableStatus`\n", "[TableStatus`\n", "is no JMESPath"),
        ("## Question\n", "", "'Question' is missing"),
        ("| Table name | {table} | TableName |", "| Table name | {table} | Table[Name |", "is no JMESPath"),
        ("### UpdateTable", "### UpdateTable (maybe)", "has the mark 'maybe'"),
        ("DynamoDB > Tables > Create table\n\n|", "\n\n|", "does not say where in the console CreateTable is"),
    ],
)
def test_a_page_that_a_trainer_spoiled_says_where(tmp_path: Path, was: str, now: str, why: str) -> None:
    for path in LESSONS.glob("*.md"):
        (tmp_path / path.name).write_text(path.read_text())
    table = tmp_path / "table.md"
    text = table.read_text()
    assert was in text
    table.write_text(text.replace(was, now))
    with pytest.raises(BadPage, match=r"table\.md") as refused:
        pages(Settings(), tmp_path)
    assert why in refused.value.what


def test_a_page_that_is_not_there_says_so(tmp_path: Path) -> None:
    (tmp_path / "policies.md").mkdir()
    with pytest.raises(BadPage, match=r"policies\.md: it cannot be read"):
        pages(Settings(), tmp_path)


def test_a_page_is_short_enough_to_be_read() -> None:
    for name, page in pages(Settings()).items():
        for section in (page.purpose, page.why_now, page.console, page.question, page.answer, page.presenter):
            assert 40 < len(section) < 1500, name
    assert len(REQUIRED) == 7 and all(erratum.step in pages(Settings()) for erratum in ERRATA if erratum.step)


def test_the_lesson_knows_nothing_of_what_is_made_of_it() -> None:
    """`replay` stands on `lesson`; what a lesson shows of earlier runs is handed to it."""
    imported = set()
    for path in (LESSONS.parent / "provision" / "lesson").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or "")
    assert "provision.lesson.page" in imported and "provision.terminal.screen" in imported
    assert not {name for name in imported if name.startswith("provision.replay")}


def words_asked_for() -> set[str]:
    """What the lesson's code passes to the words of a trainer's terms.md, by literals."""
    asked = set()
    for path in sorted((CHECKOUT / "provision" / "lesson").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(node.func, "attr", getattr(node.func, "id", "")) if isinstance(node, ast.Call) else ""
            if isinstance(node, ast.Call) and (name in ("words", "stop") or ast.unparse(node.func) == "say"):
                asked |= {str(one.value) for one in node.args if isinstance(one, ast.Constant)}
    return asked


def test_the_german_words_have_all_that_the_lesson_says_by_itself() -> None:
    asked = words_asked_for()
    assert len(asked) > 40
    assert asked - terms.read(CHECKOUT / "lessons" / "de").here.keys() == set()
