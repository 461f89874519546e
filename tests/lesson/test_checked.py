"""The lesson has a word for each attribute that can be checked, and for each usual mistake."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from provision import STEPS
from provision.check.leeway import row_of
from provision.check.mistakes import MISTAKES
from provision.check.verdicts import FAIL, PASS, Finding, check
from provision.exercise.exercise import MESSAGES
from provision.lesson.checked import explained, read_mistakes, row_for
from provision.lesson.page import BadPage, names, read
from provision.settings import AccountRules, Settings
from sandbox import Sandbox
from tests.rig import CHECKOUT
from tests.rig.deployment import ACCOUNT, REGION, Deployment

NAMES = names(Settings(), account=ACCOUNT, region=REGION)
PAGES = {step.name: read(step.name, NAMES) for step in STEPS}

# What the steps compare only where it is missing.
MISSING = ("resource /dynamodbmanager", *(f"POST /dynamodbmanager {part}" for part in ("method", "integration")))
RESPONSES = ("POST /dynamodbmanager method response 200", "POST /dynamodbmanager integration response 200")


@pytest.fixture(scope="module")
def findings(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Finding]]:
    """Each attribute of an account in which all is there, an API key too, and of one in which nothing is."""
    found = []
    path, with_key = tmp_path_factory.mktemp("checked") / "state.json", Settings(rules=AccountRules(auth="api-key"))
    with Deployment(sandbox.id, sandbox.url, path, with_key) as made:
        found += check(made.connect(), made.settings)
        made.build()
        found += check(made.connect(), made.settings)
    yield found


def test_each_attribute_that_can_be_checked_has_a_row(findings: list[Finding]) -> None:
    api = next(one for one in findings if one.key == "api")
    more = [Finding(api.key, "api", api.noun, api.name, attribute, FAIL) for attribute in (*MISSING, *RESPONSES)]
    for one in [*findings, *more]:
        why, todo = row_for(PAGES[one.step], one)
        assert why and todo, f"lessons/{one.step}.md has no row for {one.noun}, {row_of(one.attribute)}"


def test_each_row_is_of_an_attribute_that_can_be_checked(findings: list[Finding]) -> None:
    known = {(one.noun, row_of(one.attribute)) for one in findings}
    known |= {("REST API", row_of(attribute)) for attribute in (*MISSING, *RESPONSES)}
    known.add(("queue", MESSAGES))  # while an exercise is open
    rows = {row for page in PAGES.values() for row in page.checks}
    assert rows - known == set()


def test_each_usual_mistake_has_its_words_and_no_other_has() -> None:
    assert set(read_mistakes(NAMES)) == {one.name for one in MISTAKES}


def test_what_passes_says_why_it_matters_and_nothing_to_do(findings: list[Finding]) -> None:
    for one in explained(findings, NAMES):
        assert one.why
        assert bool(one.todo) == (one.outcome != PASS)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("## A mistake\n\nIt is one.\n\nWhat to do: Nothing.\n", "does not end with the mistake's name"),
        ("## A mistake (fifo-queue)\n\nIt is one.\n", "does not begin with 'What to do:'"),
        ("## A mistake (fifo-queue)\n\nIt is {nobody}.\n\nWhat to do: Nothing.\n", "nothing is called {nobody}"),
    ],
)
def test_a_page_of_mistakes_that_cannot_be_read_names_the_place(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mistakes.md").write_text(text, encoding="utf-8")
    with pytest.raises(BadPage, match=r"mistakes\.md") as refused:
        read_mistakes(NAMES, folder=tmp_path)
    assert said in refused.value.what


def test_a_table_of_another_width_is_refused(tmp_path: Path) -> None:
    text = (CHECKOUT / "lessons" / "table.md").read_text(encoding="utf-8")
    text = text.partition("| resource | attribute |")[0]
    text += "| resource | attribute | why |\n| --- | --- | --- |\n| table | key | it matters |\n"
    (tmp_path / "table.md").write_text(text, encoding="utf-8")
    with pytest.raises(BadPage, match="has a row without four cells"):
        read("table", NAMES, folder=tmp_path)
