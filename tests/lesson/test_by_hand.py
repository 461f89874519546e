"""A lesson in which the learner does each step by hand, with the real `aws` command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision import STEPS
from provision.settings import Settings
from provision.terminal import outcome
from tests.rig.handmade import Aws, document, steps_with_aws
from tests.rig.lesson import MENU, PAUSE, QUESTION, Lesson
from tests.rig.programs import Folder
from tests.rig.warm_aws import WarmAws

pytestmark = pytest.mark.once_more


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    with Folder(tmp_path) as made:
        yield made


@pytest.mark.slow
def test_what_is_made_by_hand_is_seen_taken_over_tested_and_torn_down(folder: Folder, warm_aws: WarmAws) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        typed = steps_with_aws(person, Settings())
        for step in STEPS:
            page = lesson.turn(f"{step.number}\n")
            assert "h: by hand" in page
            lesson.ask("h\n", PAUSE)
            lesson.ask("s\n", PAUSE)
            next(typed)
            lesson.read_until(QUESTION)
            assert f"Step {step.number} is done, by hand." in lesson.text
            lesson.turn("\n")
        assert lesson.turn("9\n") and "Invoke URL" in lesson.turn("r\n")
        lesson.ask("n\n", None)
    origins = {entry["key"]: entry["origin"] for entry in folder.state()["resources"]}
    assert {origins[key] for key in ("table", "queue", "function", "trigger", "api", "function-role")} == {"by hand"}
    place = json.loads((folder.path / ".provision" / "sandbox-us-east-1.lesson.json").read_text())
    assert {place["done"][step.name]["how"] for step in STEPS} == {"by hand"}
    status = folder.run("provision", "status", "--sandbox")
    assert status.returncode == outcome.DONE, status.stdout
    torn = folder.run("teardown", "--sandbox")
    assert torn.returncode == outcome.DONE and "and none is there" in torn.stderr


def test_the_lesson_looks_while_the_learner_works_and_says_what_is_wrong(folder: Folder, warm_aws: WarmAws) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        lesson.turn("3\n")
        shown = lesson.ask("h\n", "Call 1 of 1")
        lesson.read_until(PAUSE)
        assert "poc-deployment" not in shown and "Table name" in shown
        boto3 = lesson.ask("f\n", "f: aws")
        lesson.read_until(PAUSE)
        assert "dynamodb.create_table(" in boto3 and "Tags" not in boto3
        assert "0 of 1 right" in lesson.ask("\n", PAUSE)
        assert "'x' is not a choice" in lesson.ask("x\n", PAUSE)
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        create = ("dynamodb", "create-table", "--table-name", "name", "--billing-mode", "PAY_PER_REQUEST")
        number = ("--attribute-definitions", "AttributeName=id,AttributeType=N")
        person(*create, *number, "--key-schema", "AttributeName=id,KeyType=HASH")
        seen = lesson.ask("", "4 of 5 right")  # it looks by itself
        lesson.read_until(PAUSE)
        assert "right    table name, billing mode" in seen
        told = lesson.ask("\n", "4 of 5 right")
        lesson.read_until(PAUSE)
        assert "The partition key is no string" in told and "What to do: A key cannot be changed." in told
        person("dynamodb", "delete-table", "--table-name", "name")
        lesson.read_until("wrong    table name\n")
        string = ("--attribute-definitions", "AttributeName=id,AttributeType=S")
        lesson.written = b""
        person(*create, *string, "--key-schema", "AttributeName=id,KeyType=HASH")
        lesson.read_until(QUESTION)
        assert "All of it is right" in lesson.text and "Step 3 is done, by hand." in lesson.text
        lesson.turn("\n")
        lesson.quit()
    place = json.loads((folder.path / ".provision" / "sandbox-us-east-1.lesson.json").read_text())
    assert (place["done"]["table"]["how"], place["done"]["table"]["tries"]) == ("by hand", 2)
    (entry,) = folder.state()["resources"]
    assert entry["origin"] == "by hand" and entry["status"] == "created"


def test_at_a_word_what_is_there_is_taken_over_and_updated_or_the_program_does_the_step(
    folder: Folder, warm_aws: WarmAws
) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        lesson.turn("1\n")
        lesson.ask("h\n", PAUSE)
        lesson.ask("s\n", "t: take it over as it is")
        lesson.read_until(PAUSE)
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        empty = document({"Effect": "Allow", "Action": "dynamodb:PutItem", "Resource": "*"})
        person("iam", "create-policy", "--policy-name", "Lambda-Write-DynamoDB", "--policy-document", empty)
        lesson.read_until("1 of ")
        taken = lesson.ask("t\n", QUESTION)
        assert "Step 1 is done, by hand." in taken
        lesson.turn("\n")
        lesson.turn("3\n")
        lesson.ask("h\n", PAUSE)
        lesson.ask("s\n", PAUSE)
        assert "Step 3 is done (" in lesson.turn("r\n")
        assert lesson.text.endswith(MENU)
        lesson.quit()
    origins = {entry["key"]: entry["origin"] for entry in folder.state()["resources"]}
    assert origins == {"write-policy": "by hand", "read-policy": "created", "table": "created"}
    assert folder.run("teardown", "--sandbox").returncode == outcome.DONE


def test_what_was_there_before_is_taken_over_at_a_word_only(folder: Folder, warm_aws: WarmAws) -> None:
    with Lesson(folder, 100, rows=60) as lesson:
        lesson.turn()
        lesson.turn("3\n")
        person = Aws(folder.sandbox["url"], warm_aws.command, folder.path, folder.sandbox["key"])
        person(
            *("dynamodb", "create-table", "--table-name", "name", "--billing-mode", "PAY_PER_REQUEST"),
            *("--attribute-definitions", "AttributeName=id,AttributeType=S"),
            *("--key-schema", "AttributeName=id,KeyType=HASH"),
        )
        asked = lesson.ask("h\n", "[y/N] ")
        assert "There already, before you begin: table name." in asked and "a teardown deletes it" in asked
        assert "done, by hand" not in lesson.ask("n\n", MENU)
        assert not (folder.path / ".provision" / "sandbox-us-east-1.json").exists()
        lesson.ask("h\n", "[y/N] ")
        assert "Step 3 is done, by hand." in lesson.ask("y\n", QUESTION)
        lesson.turn("\n")
        lesson.quit()
    (entry,) = folder.state()["resources"]
    assert entry["origin"] == "by hand"
