"""A person is asked once, before the first write, and only where something would be written."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import provision.__main__
import provision.cli.build
from provision.terminal import outcome, prompts
from sandbox import Sandbox
from tests.rig.command_line import CommandLine

pytestmark = pytest.mark.usefixtures("one_look")


@pytest.fixture
def deployment(sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommandLine]:
    with CommandLine(sandbox, tmp_path / "state.json", f"c{secrets.token_hex(3)}", monkeypatch) as made:
        yield made


@pytest.fixture
def asked(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each question, which is answered with yes; what had been written by then must be nothing."""
    questions: list[str] = []
    calls: list[Any] = []
    deployment.on_connect = lambda aws: calls.append(aws.calls)

    def yes(screen: object, question: str, *, flag: str) -> None:
        assert calls[-1].writes() == []
        questions.append(question)

    monkeypatch.setattr(prompts, "ask", yes)
    return questions


def test_it_is_asked_once_with_what_is_planned_and_not_where_nothing_would_change(
    deployment: CommandLine, asked: list[str]
) -> None:
    built = deployment.provision("--to", "3")
    assert built.code == outcome.DONE
    assert asked == [f"Build at {deployment.url}, which is not AWS?"]
    assert "Planned: 8 to create, by 8 calls." in built.said
    asked.clear()
    again = deployment.provision("--to", "3")
    assert again.code == outcome.DONE and again.writes == [] and asked == []
    assert "Nothing to do: all 8 resources are as the steps set them." in again.said
    part = deployment.provision("--to", "4")
    assert len(asked) == 1 and "Planned: 2 to create, by 2 calls." in part.said


def test_tests_that_never_passed_are_asked_for_too_and_then_no_more(deployment: CommandLine, asked: list[str]) -> None:
    deployment.provision("--yes", "--no-try")
    tested = deployment.provision()
    assert tested.code == outcome.DONE and len(asked) == 1 and "Planned: the tests of what is there." in tested.said
    assert len(tested.result.tests) == 5 and deployment.provision().writes == []
    assert len(asked) == 1


def test_beforehand_it_is_answered_without_a_plan(deployment: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(*arguments: object) -> None:
        raise AssertionError("nobody is asked, so nothing is planned")

    monkeypatch.setattr(provision.cli.build, "make_plan", plan)
    assert deployment.provision("--yes", "--to", "1").code == outcome.DONE


def test_without_an_answer_nothing_is_changed(deployment: CommandLine) -> None:
    ended = deployment.provision("--to", "1")
    assert ended.code == outcome.USAGE and "Nobody is there to be asked" in ended.flat
    assert ended.writes == [] and not deployment.path.exists()


def test_a_write_that_the_plan_did_not_foresee_is_refused(
    deployment: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provision.cli.build, "make_plan", lambda *arguments: [])
    ended = deployment.provision("--to", "1")
    assert ended.code == outcome.LEFT
    assert "CreatePolicy was about to be sent, and nobody has agreed to a change." in ended.flat
    assert ended.writes == [] and not deployment.path.exists()


def test_what_is_to_be_taken_over_is_asked_before_the_first_write_too_and_only_once(
    deployment: CommandLine, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment.provision("--yes", "--to", "2")
    name = deployment.settings.table
    deployment.aws.dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    monkeypatch.setattr(provision.cli.build, "asks_for_adoption", lambda options: True)
    ended = deployment.provision("--adopt", "--to", "3")
    assert ended.code == outcome.DONE, ended.said
    assert [question.partition("(")[0] for question in asked] == [
        f"Table {name} exists already ",
        f"Build at {deployment.url}, which is not AWS?",
    ]
    assert "1 to take over and update" in ended.said
